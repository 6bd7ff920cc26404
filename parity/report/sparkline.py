"""A figure over time on one line of text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCKS, ASCII = "▁▂▃▄▅▆▇█", "_.,-~=*#"
_MISSING = "?"


def sparkline(values: Sequence[float], encoding: str = "utf-8", width: int = 24) -> str:
    """Return the newest values as signs of eight heights, the least the lowest; what is NaN is a question mark.

    Parameters
    ----------
    encoding
        Of where it is printed: signs that it does not have are replaced by ASCII.
    width
        Values that are shown.
    """
    shown = list(values[-width:])
    finite = [value for value in shown if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    signs = _signs(encoding)
    return "".join(_MISSING if math.isnan(value) else signs[_height(value, low, high)] for value in shown)


def _signs(encoding: str) -> str:
    try:
        BLOCKS.encode(encoding)
    except UnicodeEncodeError:
        return ASCII
    return BLOCKS


def _height(value: float, low: float, high: float) -> int:
    top = len(BLOCKS) - 1
    if math.isinf(value):
        return top if value > 0 else 0
    # Halves, since the largest numbers lie further apart than a number can say; those of the smallest are alike.
    span = high / 2 - low / 2
    # A figure that never moved is drawn in the middle, as neither low nor high.
    return round(top * ((value / 2 - low / 2) / span)) if span > 0 else top // 2
