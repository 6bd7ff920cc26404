"""A class for each pixel, of both sides: image, both maps, and where they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from parity.overlay.canvas import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    VERMILLION,
    WHITE,
    YELLOW,
    Canvas,
)
from parity.overlay.legend import Entry
from parity.overlay.lines import filled_square
from parity.overlay.panels import beside, fitted, resized, same_width, titled
from parity.overlay.tags import class_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parity.decoded import LabelMap
    from parity.overlay.canvas import Pixels

    Labels = NDArray[np.int64]

_COLOURS = np.array([BLACK, ORANGE, SKY_BLUE, GREEN, YELLOW, BLUE, VERMILLION, PURPLE, GREY, WHITE], np.uint8)
"""Of classes by their number; after the last the first again."""
_MAX_SIDE = 640
_MAX_CLASSES = 12
_SAME_PROPORTIONS = 0.02
_FADED = 0.35
"""How much of the image is left where the panel of differences shows agreement."""


def draw_label_maps(
    canvas: Canvas, reference: LabelMap, candidate: LabelMap, class_names: tuple[str, ...]
) -> tuple[Canvas, list[Entry]]:
    """Return image, reference, candidate and their difference as one picture, and what its colours mean.

    Maps keep their own proportions, those of the input tensor; maps of different shapes differ everywhere. Where the
    sides differ the last panel is white, over the faded image if that has the maps' proportions.
    """
    image = fitted(canvas.pixels, _MAX_SIDE, _MAX_SIDE)
    panel = _panel(reference.labels, image.shape[0])
    first, second = (_coloured(side.labels, panel) for side in (reference, candidate))
    differs = _difference(reference.labels, candidate.labels)
    white = _resized(differs.astype(np.uint8), panel)[:, :, None] > 0
    shown = np.where(white, 255, _ground(image, panel)).astype(np.uint8)
    upper = beside([titled("image", image), titled("reference", first)])
    lower = beside([titled("candidate", second), titled(f"differs: {_share(differs)} of pixels", shown)])
    picture = np.concatenate(same_width([upper, lower]))
    return Canvas(picture, canvas.scale), _legend(reference, candidate, differs, class_names)


def _panel(labels: Labels, height: int) -> tuple[int, int]:
    """Return the height and the width of the panels of maps, in pixels."""
    width = round(labels.shape[1] * height / labels.shape[0])
    return height, min(max(width, 1), 2 * _MAX_SIDE)


def _ground(image: Pixels, panel: tuple[int, int]) -> Pixels:
    """Return the faded image, or darkness where its proportions are not those of the panel."""
    if abs(image.shape[1] - panel[1]) > _SAME_PROPORTIONS * panel[1]:
        return np.zeros((*panel, 3), np.uint8)
    return np.asarray(resized(image, panel) * _FADED, np.uint8)


def _coloured(labels: Labels, panel: tuple[int, int]) -> Pixels:
    return np.asarray(_COLOURS[_resized((labels % len(_COLOURS)).astype(np.uint8), panel)], np.uint8)


def _resized(numbers: NDArray[np.uint8], panel: tuple[int, int]) -> NDArray[np.uint8]:
    """Return (h, w) numbers at the size of a panel, none of them mixed."""
    import cv2

    return np.asarray(cv2.resize(numbers, panel[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


def _difference(reference: Labels, candidate: Labels) -> NDArray[np.bool_]:
    if reference.shape != candidate.shape:
        return np.ones(reference.shape, np.bool_)
    return np.asarray(reference != candidate)


def _share(differs: NDArray[np.bool_]) -> str:
    share = 100 * np.count_nonzero(differs) / max(differs.size, 1)
    return f"{share:.3g} %"


def _legend(
    reference: LabelMap, candidate: LabelMap, differs: NDArray[np.bool_], class_names: tuple[str, ...]
) -> list[Entry]:
    """Return the largest classes, with how many pixels of each differ."""
    same_shape = reference.labels.shape == candidate.labels.shape
    sides = [reference.labels, candidate.labels] if same_shape else [reference.labels]
    numbers, counts = np.unique(np.stack(sides), return_counts=True)
    chosen = numbers[np.argsort(-counts, kind="stable")][:_MAX_CLASSES]
    entries = [_entry(int(number), sides, differs, class_names) for number in chosen]
    if len(numbers) > len(chosen):
        entries.append(Entry(f"{len(numbers) - len(chosen)} classes more"))
    return entries


def _entry(number: int, sides: list[Labels], differs: NDArray[np.bool_], class_names: tuple[str, ...]) -> Entry:
    involved = np.logical_or.reduce([labels == number for labels in sides])
    blue, green, red = (int(part) for part in _COLOURS[number % len(_COLOURS)])
    text = f"{class_name(class_names, number)}, {np.count_nonzero(involved & differs):,} differ"
    return Entry(text, None, filled_square, (blue, green, red))
