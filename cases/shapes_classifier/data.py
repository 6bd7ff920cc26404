"""Images of the classifier: one coloured shape on a noisy, textured background, with lines that distract.

Every image has its own seed, made of its split and its index, so image 7 is the same whether 8 or 8000 are drawn, in
whichever process. Drawing is polygons at 1/16 pixel and integer arithmetic: no filter or float resampling, whose last
bit depends on the CPU.

``python data.py FOLDER`` writes the first evaluation images there, for documentation.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

CLASSES = ("circle", "ellipse", "square", "triangle", "star", "pentagon", "cross", "ring")
SIDE = 96
TRAINING, EVALUATION, CALIBRATION = 101, 202, 303
"""Split seeds. The seed of an image is ``SeedSequence([split, index])``."""

_SHIFT = 4
_NOISE = 14
_MIN_CONTRAST = 140

Image = np.ndarray[Any, np.dtype[np.uint8]]
Contour = np.ndarray[Any, np.dtype[np.float64]]


def evaluation(count: int) -> Iterator[Image]:
    """Yield the first `count` evaluation images, (96, 96, 3) uint8 BGR."""
    return (draw(EVALUATION, index)[0] for index in range(count))


def evaluation_labels(count: int) -> list[int]:
    """Return the classes of the first `count` evaluation images, as indices into `CLASSES`."""
    return [draw(EVALUATION, index)[1] for index in range(count)]


def annotations(count: int) -> Iterator[dict[str, list[int]]]:
    """Yield what the first `count` evaluation images show: one class each."""
    return ({"classes": [label]} for label in evaluation_labels(count))


def calibration(count: int) -> Iterator[Image]:
    """Yield the first `count` calibration images, (96, 96, 3) uint8 BGR; none is an evaluation or training image."""
    return (draw(CALIBRATION, index)[0] for index in range(count))


def draw(split: int, index: int) -> tuple[Image, int]:
    """Draw one image of a split.

    Returns
    -------
    tuple
        The image, (96, 96, 3) uint8 BGR, and its class.
    """
    rng = np.random.default_rng(np.random.SeedSequence([split, index]))
    label = int(rng.integers(len(CLASSES)))
    canvas = _background(rng)
    mean = canvas.mean(axis=(0, 1))
    _lines(rng, canvas, int(rng.integers(2, 6)))
    contours = _placed(rng, _contours(rng, CLASSES[label]))
    cv2.fillPoly(canvas, contours, _contrasting(rng, mean), lineType=cv2.LINE_AA, shift=_SHIFT)
    _lines(rng, canvas, int(rng.integers(0, 3)))
    return _noisy(rng, canvas), label


def _background(rng: np.random.Generator) -> Image:
    """Return a gradient between two colours along a random axis, with a coarse block texture."""
    start, end = rng.integers(30, 226, (2, 3))
    ramp = np.arange(SIDE)[:, None]
    gradient = (start * (SIDE - 1 - ramp) + end * ramp) // (SIDE - 1)
    canvas = np.broadcast_to(gradient[:, None, :], (SIDE, SIDE, 3))
    if rng.integers(2):
        canvas = canvas.transpose(1, 0, 2)
    cell = int(rng.choice([4, 6, 8, 12]))
    blocks = rng.integers(-20, 21, (SIDE // cell, SIDE // cell, 1)).repeat(cell, axis=0).repeat(cell, axis=1)
    return np.clip(canvas + blocks, 0, 255).astype(np.uint8)


def _lines(rng: np.random.Generator, canvas: Image, count: int) -> None:
    """Draw thin lines of random colours onto `canvas`."""
    for _ in range(count):
        start, end = rng.integers(-10, SIDE + 10, (2, 2)).tolist()
        cv2.line(canvas, start, end, rng.integers(0, 256, 3).tolist(), int(rng.integers(1, 3)), cv2.LINE_AA)


def _contours(rng: np.random.Generator, name: str) -> list[Contour]:
    """Return the outlines of a shape with circumradius 1, each (k, 2); a second outline is a hole."""
    if name == "circle":
        return [_polygon(48)]
    if name == "ellipse":
        return [_polygon(48) * [1.0, rng.uniform(0.45, 0.65)]]
    if name == "ring":
        return [_polygon(48), _polygon(48) * rng.uniform(0.5, 0.65)]
    if name == "star":
        return [_polygon(10) * np.tile([1.0, 0.42], 5)[:, None]]
    if name == "cross":
        return [_cross(rng.uniform(0.25, 0.35))]
    return [_polygon({"triangle": 3, "square": 4, "pentagon": 5}[name])]


def _polygon(corners: int) -> Contour:
    """Return a regular polygon with circumradius 1, (corners, 2)."""
    turn = 2 * math.pi / corners
    return np.array([(math.cos(turn * k), math.sin(turn * k)) for k in range(corners)])


def _cross(arm: float) -> Contour:
    """Return a plus sign with circumradius 1; `arm` is the half width of its arms over their length, (12, 2)."""
    quarter = np.array([(1.0, -arm), (1.0, arm), (arm, arm)])
    turns = [np.array([(c, s), (-s, c)]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    return np.concatenate([quarter @ turn for turn in turns]) / math.hypot(1.0, arm)


def _placed(rng: np.random.Generator, contours: list[Contour]) -> list[np.ndarray[Any, np.dtype[np.int32]]]:
    """Turn, scale and move outlines to a random place inside the image, in 1/16 pixels."""
    radius = rng.uniform(17, 38)
    angle = rng.uniform(0, 2 * math.pi)
    centre = rng.uniform(radius + 2, SIDE - radius - 2, 2)
    cosine, sine = math.cos(angle) * radius, math.sin(angle) * radius
    turn = np.array([(cosine, sine), (-sine, cosine)])
    return [np.rint((contour @ turn + centre) * 2**_SHIFT).astype(np.int32) for contour in contours]


def _contrasting(rng: np.random.Generator, mean: np.ndarray[Any, Any]) -> list[int]:
    """Return a colour whose channels differ from `mean` by at least `_MIN_CONTRAST` in sum."""
    while True:
        colour = rng.integers(0, 256, 3)
        if np.abs(colour - mean).sum() >= _MIN_CONTRAST:
            return [int(channel) for channel in colour]


def _noisy(rng: np.random.Generator, canvas: Image) -> Image:
    """Return `canvas` with uniform noise on every channel."""
    noise = rng.integers(-_NOISE, _NOISE + 1, canvas.shape)
    return np.clip(canvas + noise, 0, 255).astype(np.uint8)


def write_samples(folder: Path, count: int = 4) -> None:
    """Write the first `count` evaluation images as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image, label = draw(EVALUATION, index)
        cv2.imwrite(str(folder / f"{index}-{CLASSES[label]}.png"), image, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    write_samples(Path(sys.argv[1]))
