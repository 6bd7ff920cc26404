"""The strip below a picture that says what its marks mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.overlay.canvas import BLACK, WHITE, Canvas
from parity.overlay.lines import Stroke, draw_paths
from parity.overlay.tags import LINE_HEIGHT, TEXT_HEIGHT, put_text, text_width

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from parity.overlay.canvas import Colour, Pixels

_MARGIN = 8
_SYMBOL_WIDTH = 34
_SYMBOL_RADIUS = 6
_SPACE = 18
_MIN_WIDTH = 320


@dataclass(frozen=True, slots=True)
class Entry:
    """One sign with its meaning: a line, a mark on a line, a mark alone, or a text alone."""

    text: str
    stroke: Stroke | None = None
    mark: Callable[[Canvas, NDArray[np.float64], int, Colour], None] | None = None
    colour: Colour = BLACK


def with_legend(canvas: Canvas, entries: Sequence[Entry], caption: str = "") -> Pixels:
    """Return the picture with a strip below it, as many lines high as its entries need."""
    width = max(canvas.width, _MIN_WIDTH)
    lines = _lines(entries, width)
    strip = Canvas(np.full(((len(lines) + bool(caption)) * LINE_HEIGHT + 2 * _MARGIN, width, 3), 255, np.uint8), 1.0)
    top = _MARGIN
    if caption:
        put_text(strip.pixels, caption, _MARGIN, top + TEXT_HEIGHT, BLACK)
        top += LINE_HEIGHT
    for number, line in enumerate(lines):
        _draw_line(strip, line, top + number * LINE_HEIGHT)
    ground = np.full((canvas.height, width - canvas.width, 3), WHITE, np.uint8)
    return np.concatenate([np.concatenate([canvas.pixels, ground], axis=1), strip.pixels])


def _lines(entries: Sequence[Entry], width: int) -> list[list[Entry]]:
    lines: list[list[Entry]] = []
    used = width
    for entry in entries:
        needed = _width(entry)
        if used + needed > width - _MARGIN:
            lines.append([])
            used = _MARGIN
        lines[-1].append(entry)
        used += needed
    return lines


def _width(entry: Entry) -> int:
    return text_width(entry.text) + _SPACE + (_SYMBOL_WIDTH if entry.stroke or entry.mark else 0)


def _draw_line(strip: Canvas, entries: Sequence[Entry], top: int) -> None:
    x = _MARGIN
    middle = top + TEXT_HEIGHT / 2 + 1
    for entry in entries:
        if entry.stroke:
            draw_paths(strip, [np.array([[x, middle], [x + _SYMBOL_WIDTH - 6.0, middle]])], entry.stroke)
        if entry.mark:
            entry.mark(strip, np.array([[x + _SYMBOL_WIDTH / 2 - 3, middle]]), _SYMBOL_RADIUS, entry.colour)
        indent = _SYMBOL_WIDTH if entry.stroke or entry.mark else 0
        put_text(strip.pixels, entry.text, x + indent, top + TEXT_HEIGHT, BLACK)
        x += _width(entry)
