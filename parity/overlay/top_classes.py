"""The strongest classes of both sides beside their image, as bars with names and scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from parity.overlay.canvas import BLACK, GREEN, YELLOW, Canvas
from parity.overlay.legend import Entry
from parity.overlay.lines import Stroke, draw_outline, draw_paths, filled_diamond
from parity.overlay.panels import beside, fitted
from parity.overlay.tags import LINE_HEIGHT, TEXT_HEIGHT, class_name, put_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from parity.decoded import Classification
    from parity.overlay.canvas import Pixels

    Floats = NDArray[np.float64]

_TOP = 5
_PANEL_WIDTH = 400
_MAX_SIDE = 640
_MARGIN = 12
_BAR = 8.0
_ROW_HEIGHT = 2 * LINE_HEIGHT - 2
_PANEL_HEIGHT = 2 * (_TOP * _ROW_HEIGHT + LINE_HEIGHT) + 3 * _MARGIN


def draw_top_classes(
    canvas: Canvas, reference: Classification, candidate: Classification, class_names: tuple[str, ...]
) -> tuple[Canvas, list[Entry]]:
    """Return the image with both sides' five strongest classes beside it, and what the bars mean."""
    panel = Canvas(np.full((_PANEL_HEIGHT, _PANEL_WIDTH, 3), 255, np.uint8), 1.0)
    sides = [("reference", reference.scores), ("candidate", candidate.scores)]
    bounds = _bounds([scores for _, scores in sides])
    flipped = _top(reference.scores)[:1].tolist() != _top(candidate.scores)[:1].tolist()
    for number, (title, scores) in enumerate(sides):
        top = _MARGIN + number * (_PANEL_HEIGHT - _MARGIN) // 2
        put_text(
            panel.pixels,
            f"{title}{', top class differs' if flipped and number else ''}",
            _MARGIN,
            top + TEXT_HEIGHT,
            BLACK,
        )
        _draw_bars(panel, scores, class_names, bounds, top + LINE_HEIGHT, is_candidate=bool(number), is_flip=flipped)
    image = fitted(canvas.pixels, _MAX_SIDE, _MAX_SIDE)
    height = max(_PANEL_HEIGHT, image.shape[0])
    picture = Canvas(beside([_padded(image, height), _padded(panel.pixels, height)]), canvas.scale)
    return picture, _legend(flipped)


def _draw_bars(
    panel: Canvas,
    scores: Floats,
    class_names: tuple[str, ...],
    bounds: tuple[float, float],
    top: int,
    *,
    is_candidate: bool,
    is_flip: bool,
) -> None:
    low, high = bounds
    room = _PANEL_WIDTH - 3 * _MARGIN
    for rank, number in enumerate(_top(scores)):
        y = top + rank * _ROW_HEIGHT
        text = f"{class_name(class_names, int(number))} {scores[number]:.4g}"
        put_text(panel.pixels, text, _MARGIN, y + TEXT_HEIGHT, BLACK)
        end = _MARGIN + max(room * _fraction(float(scores[number]), low, high), 1.0)
        _draw_bar(panel, y + TEXT_HEIGHT + 6.0, end, is_candidate=is_candidate)
        if is_flip and rank == 0:
            filled_diamond(panel, np.array([[end + _MARGIN, y + TEXT_HEIGHT + 6 + _BAR / 2]]), 6, YELLOW)


def _draw_bar(panel: Canvas, top: float, end: float, *, is_candidate: bool) -> None:
    corners = np.array([[_MARGIN, top], [end, top], [end, top + _BAR], [_MARGIN, top + _BAR]])
    if not is_candidate:
        middle = top + _BAR / 2
        draw_paths(panel, [np.array([[_MARGIN, middle], [end, middle]])], Stroke(GREEN, int(_BAR), has_halo=False))
    draw_outline(panel, corners, Stroke(BLACK if is_candidate else GREEN, 1, is_dashed=is_candidate, has_halo=False))


def _top(scores: Floats) -> NDArray[np.int64]:
    """Return the numbers of the strongest classes; NaN is no score."""
    order = np.argsort(-np.where(np.isfinite(scores), scores, -np.inf), kind="stable")[:_TOP]
    return np.asarray(order[np.isfinite(scores[order])], np.int64)


def _bounds(sides: Sequence[Floats]) -> tuple[float, float]:
    """Return what the shortest and the longest bar stand for: 0 and 1 of probabilities, else the range shown."""
    shown = np.concatenate([scores[_top(scores)] for scores in sides])
    if not shown.size or (shown.min() >= 0 and shown.max() <= 1):
        return 0.0, 1.0
    low, high = min(float(shown.min()), 0.0), float(shown.max())
    return low, max(high, low + 1e-9)


def _fraction(score: float, low: float, high: float) -> float:
    # Halves: the distance of the largest numbers there are would overflow.
    return (score / 2 - low / 2) / (high / 2 - low / 2)


def _padded(pixels: Pixels, height: int) -> Pixels:
    ground = np.full((height - pixels.shape[0], pixels.shape[1], 3), 255, np.uint8)
    return np.concatenate([pixels, ground])


def _legend(flipped: bool) -> list[Entry]:
    entries = [
        Entry("reference", Stroke(GREEN, int(_BAR), has_halo=False)),
        Entry("candidate", Stroke(BLACK, is_dashed=True, has_halo=False)),
    ]
    return [*entries, Entry("top class differs", None, filled_diamond, YELLOW)] if flipped else entries
