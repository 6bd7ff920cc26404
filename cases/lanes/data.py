"""Images of the lane detector: roads with up to four lane markings, bends, textured ground and noise.

Every image has its own seed, made of its split and its index, so image 7 is the same whether 8 or 8000 are drawn, in
whichever process. Drawing is polygons at 1/16 pixel and integer arithmetic: no filter or float resampling, whose last
bit depends on the CPU.

``python data.py FOLDER`` writes the first evaluation images with their markings there, for documentation.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

LANES = 4
"""Markings: left of the lane to the left, left, right, and right of the lane to the right."""
COLOURS = ("none", "white", "yellow", "blue")
PATTERNS = ("none", "solid", "dashed", "dotted")
TRAINING, EVALUATION, CALIBRATION = 111, 222, 333
"""Split seeds. The seed of an image is ``SeedSequence([split, index])``."""

_SHIFT = 4
_NOISE = 12
_PAINTS = {"white": (235, 235, 235), "yellow": (40, 190, 235), "blue": (215, 110, 40)}
# Period in metres-like units of depth and the painted share of it.
_DASHES = {"solid": (1.0, 1.0), "dashed": (0.9, 0.5), "dotted": (0.3, 0.5)}
_NEAR, _FAR = 1.0, 8.0
_STEPS = 240
_PRESENCE = 0.75

Image = np.ndarray[Any, np.dtype[np.uint8]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Road:
    """Where the markings of one road lie.

    Attributes
    ----------
    size
        Height and width of the image.
    horizon
        The row where the road vanishes.
    vanishing
        The column where it would vanish if it were straight.
    bend
        By how many pixels the vanishing point lies beside that.
    offsets
        (4,) where the markings reach the lower edge, in pixels from `vanishing`.
    present
        (4,) whether a marking is painted.
    """

    size: tuple[int, int]
    horizon: float
    vanishing: float
    bend: float
    offsets: Floats
    present: np.ndarray[Any, np.dtype[np.bool_]]

    def columns(self, rows: Floats) -> Floats:
        """Return where the markings cross rows (n,), (4, n); NaN beyond the horizon, the image or where none is."""
        near = (rows - self.horizon) / (self.size[0] - self.horizon)
        columns = self.vanishing + self.offsets[:, None] * near + self.bend * (1 - near) ** 2
        # The farthest stretch is not painted.
        seen = (near >= _NEAR / _FAR) & (columns >= 0) & (columns < self.size[1]) & self.present[:, None]
        return np.where(seen, columns, np.nan)


@dataclass(frozen=True, slots=True)
class Scene:
    """One image with its truth.

    Attributes
    ----------
    image
        (h, w, 3) uint8 BGR.
    road
        Where the markings are.
    attributes
        (2, 4) int64: indices into `COLOURS`, then into `PATTERNS`; 0 where there is no marking.
    """

    image: Image
    road: Road
    attributes: np.ndarray[Any, np.dtype[np.int64]]


def evaluation(count: int) -> Iterator[Image]:
    """Yield the first `count` evaluation images, (h, w, 3) uint8 BGR of 200 to 260 by 640 to 800 pixels."""
    return (draw(EVALUATION, index).image for index in range(count))


def calibration(count: int) -> Iterator[Image]:
    """Yield the first `count` calibration images, (h, w, 3) uint8 BGR; none is an evaluation or training image."""
    return (draw(CALIBRATION, index).image for index in range(count))


def draw(split: int, index: int) -> Scene:
    """Draw one image of a split, with its truth."""
    rng = np.random.default_rng(np.random.SeedSequence([split, index]))
    road = _road(rng)
    attributes = np.stack([rng.integers(1, len(names), LANES) for names in (COLOURS, PATTERNS)]) * road.present
    canvas = _ground(rng, road)
    _scratches(rng, canvas, road)
    for lane in np.flatnonzero(road.present).tolist():
        _paint(rng, canvas, road, lane, attributes[:, lane].tolist())
    return Scene(_noisy(rng, canvas), road, attributes)


def _road(rng: Generator) -> Road:
    """Return a road that has at least one marking."""
    height, width = int(rng.integers(200, 261)), int(rng.integers(640, 801))
    spacing = rng.uniform(0.36, 0.5) * width
    shift = rng.uniform(-0.3, 0.3) * spacing
    present = rng.random(LANES) < _PRESENCE
    present[int(rng.integers(LANES))] = True
    return Road(
        size=(height, width),
        horizon=rng.uniform(0.08, 0.18) * height,
        vanishing=rng.uniform(0.4, 0.6) * width,
        bend=rng.uniform(-0.2, 0.2) * width,
        offsets=(np.arange(LANES) - 1.5) * spacing + shift,
        present=present,
    )


def _ground(rng: Generator, road: Road) -> Image:
    """Return sky above the horizon and textured ground below it."""
    height, width = road.size
    horizon = int(road.horizon)
    sky, far, near = rng.integers(120, 236), rng.integers(60, 126), rng.integers(40, 106)
    ramp = np.arange(height - horizon)[:, None]
    length = max(1, height - horizon - 1)
    shade = np.concatenate([np.full((horizon, 1), sky), (far * (length - ramp) + near * ramp) // length])
    cell = int(rng.choice([8, 12, 16, 24]))
    blocks = rng.integers(-14, 15, (-(-height // cell), -(-width // cell)))
    texture = blocks.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width]
    tint = rng.integers(-12, 13, 3)
    return np.clip((shade + texture)[..., None] + tint, 0, 255).astype(np.uint8)


def _scratches(rng: Generator, canvas: Image, road: Road) -> None:
    """Draw thin dark and light lines that are no markings, and a few patches that look like shadows."""
    height, width = road.size
    for _ in range(int(rng.integers(2, 7))):
        start, end = (rng.uniform(-0.1, 1.1, (2, 2)) * [width, height]).astype(int).tolist()
        cv2.line(canvas, start, end, [int(rng.integers(20, 190))] * 3, 1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 3))):
        left, top = (rng.uniform(0, 0.9, 2) * [width, height]).astype(int).tolist()
        right, bottom = left + int(rng.integers(30, 160)), top + int(rng.integers(8, 40))
        patch = canvas[top:bottom, left:right]
        patch[:] = patch // 2 + patch // 4


def _paint(rng: Generator, canvas: Image, road: Road, lane: int, kinds: list[int]) -> None:
    """Paint one marking of a colour and a pattern onto `canvas`."""
    colour, pattern = _PAINTS[COLOURS[kinds[0]]], _DASHES[PATTERNS[kinds[1]]]
    faded = rng.uniform(0.75, 1.0)
    paint = [int(faded * channel) for channel in colour]
    half = rng.uniform(4.0, 6.5)
    for near, far in _stretches(pattern, rng.uniform(0, 1)):
        outline = _outline(road, lane, near, far, half)
        cv2.fillPoly(canvas, [outline], paint, lineType=cv2.LINE_AA, shift=_SHIFT)


def _stretches(pattern: tuple[float, float], phase: float) -> list[tuple[float, float]]:
    """Return where paint starts and ends, in depths from 1 at the lower edge to 8."""
    period, share = pattern
    if share == 1.0:
        return [(_NEAR, _FAR)]
    starts = _NEAR + (np.arange(int((_FAR - _NEAR) / period) + 2) - phase) * period
    spans = np.stack([starts, starts + share * period], axis=1).clip(_NEAR, _FAR)
    return [(near, far) for near, far in spans.tolist() if far > near]


def _outline(road: Road, lane: int, near: float, far: float, half: float) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Return the outline of a painted stretch, (k, 2) int32 in 1/16 pixels; `half` its half width at depth 1."""
    depth = np.linspace(near, far, max(2, int(_STEPS * (1 / near - 1 / far))))
    share = 1 / depth
    row = road.horizon + share * (road.size[0] - road.horizon)
    column = road.vanishing + road.offsets[lane] * share + road.bend * (1 - share) ** 2
    width = np.maximum(half * share, 0.8)
    left, right = (np.stack([column + side * width, row], axis=1) for side in (-1, 1))
    # OpenCV's whole numbers are pixel centres, hence the half.
    return np.rint((np.concatenate([left, right[::-1]]) - 0.5) * 2**_SHIFT).astype(np.int32)


def _noisy(rng: Generator, canvas: Image) -> Image:
    """Return `canvas` with uniform noise on every channel."""
    noise = rng.integers(-_NOISE, _NOISE + 1, canvas.shape, dtype=np.int16)
    return np.clip(canvas + noise, 0, 255).astype(np.uint8)


def write_samples(folder: Path, count: int = 4, width: int = 240) -> None:
    """Write the first `count` evaluation images with dots on their markings as PNG files, `width` pixels wide."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        scene = draw(EVALUATION, index)
        scale = width / scene.image.shape[1]
        thumbnail = cv2.resize(scene.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        rows = np.linspace(0.2, 0.98, 16) * scene.image.shape[0]
        for lane in scene.road.columns(rows):
            for column, row in zip(lane, rows, strict=True):
                if np.isfinite(column):
                    cv2.circle(thumbnail, (int(column * scale), int(row * scale)), 1, (0, 0, 255), -1)
        cv2.imwrite(str(folder / f"{index}.png"), thumbnail & 0xF0, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    write_samples(Path(sys.argv[1]))
