"""Values that fill masked places, such as -1e9 or float32's lowest: told from what a model computes.

A value is taken for one where it is at least ``2**23``, nothing else lies within 20 powers of two below it, and nothing
is near it but itself. That shows when all values were seen, so until then they are kept apart by their power of two.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from parity.tally import SideTally

LEAST_FILL = 2.0**23
"""From here on float32 has no fractions left, and 20 powers of two further down hardly a digit in a common sum."""
_GAP = 20
# A mask is often added to what it masks.
_SPREAD = 1e-5

BELOW = 0
"""The level of all values below ``LEAST_FILL``; the power of two of any other value is larger."""


def by_level(values: npt.NDArray[np.float64]) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Yield each level that finite values are on, with their places; levels are ``BELOW`` or a power of two.

    Parameters
    ----------
    values
        1-D.
    """
    is_large = np.abs(values) >= LEAST_FILL
    large = np.flatnonzero(is_large)
    if large.size < values.size:
        yield BELOW, np.flatnonzero(~is_large)
    powers = np.frexp(values[large])[1]
    for power in np.flatnonzero(np.bincount(powers)).tolist():
        yield power, large[powers == power]


def fill_levels(seen: Mapping[int, SideTally]) -> frozenset[int]:
    """Return the levels of values that fill masked places: those above a gap, where each of them is one value.

    Parameters
    ----------
    seen
        Everything that was seen, by its level; none is empty.
    """
    beyond: list[int] = []
    peak: float | None = None
    for level in sorted(seen):
        side = seen[level]
        if beyond or (peak is not None and level - math.frexp(peak)[1] > _GAP):
            if side.maximum - side.minimum > _SPREAD * side.peak:
                return frozenset()
            beyond.append(level)
        else:
            peak = side.peak
    return frozenset(beyond)
