"""Percentiles of non-negative errors from a full histogram on their float64 bits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

_MANTISSA_BITS = 7
_SHIFT = 52 - _MANTISSA_BITS
_BIN_COUNT = 1 << (11 + _MANTISSA_BITS)
# Keys wait until they fill a block: each count allocates and adds an array of up to 2 MiB. Where more of them wait,
# they have left the cache when they are counted.
_PENDING_LIMIT = 1 << 18
# Sorting so few is faster than touching an array of all bins.
_FEW_KEYS = 1 << 12

_INFINITE = (1 << 11) - 1  # The exponent of infinities as it is stored.
_SMALLEST_EXPONENT = -1022  # Of normal numbers: the bins before them are subnormal.

BIN_ERROR = 2.0**-_MANTISSA_BITS
"""The largest relative excess of a percentile over the exact one."""


class ErrorHistogram:
    """Counts errors by exponent and leading mantissa bits: the float64 bits of non-negative numbers sort as they do.

    Nothing is sampled. A percentile is the largest value of the bin that holds the exact one, so it is never below and
    at most ``BIN_ERROR`` (relative) above it. In the subnormal range (under 2.2e-308) bins are 2**-1029 wide instead,
    and what falls in the first of them counts as zero.
    """

    def __init__(self) -> None:
        # All bins together take 2 MiB, which most comparisons never fill: they wait for more errors than are sorted.
        self._counts: npt.NDArray[np.int64] | None = None
        self._keys = np.empty(_PENDING_LIMIT, np.int64)
        self._pending = 0
        self._zeros = 0
        self._count = 0

    def add(self, errors: npt.NDArray[np.float64]) -> None:
        """Count a contiguous block of at most 2**18 errors, none negative and none NaN."""
        if self._pending + errors.size > _PENDING_LIMIT:
            self._flush()
        keys = self._keys[self._pending : self._pending + errors.size]
        np.right_shift(errors.view(np.uint64), np.uint64(_SHIFT), out=keys.view(np.uint64))
        self._pending += errors.size
        self._count += errors.size

    def add_zeros(self, count: int) -> None:
        """Count errors that are exactly zero."""
        self._zeros += count
        self._count += count

    def merge(self, other: ErrorHistogram) -> None:
        """Add the counts of another histogram."""
        used, counts = other._used()
        self._all_bins()[used] += counts
        self._count += other._count

    def percentiles(self, per_mille: Sequence[int], maximum: float) -> list[float]:
        """Return the smallest errors that so many of 1000 do not exceed, NaN where nothing was counted.

        ``maximum`` is the exact largest error, which no percentile can exceed.
        """
        if not self._count:
            return [math.nan for _ in per_mille]
        used, counts = self._used()
        ranks = [-(-self._count * share // 1000) for share in per_mille]
        keys = used[np.searchsorted(np.cumsum(counts), ranks)]
        return [min(_largest_of_bin(int(key)), maximum) for key in keys]

    def octaves(self) -> tuple[tuple[int, int], ...]:
        """Return how many errors lie from ``2**e`` to below ``2**(e + 1)``, as (e, count), for each e that has some.

        Zeros, subnormal numbers and infinities are in none.
        """
        used, counts = self._used()
        # Exponents from 1: that of 0 is of zeros and subnormal numbers, the largest of infinities.
        biased, firsts = np.unique(used >> _MANTISSA_BITS, return_index=True)
        sums = np.add.reduceat(counts, firsts) if used.size else counts
        return tuple(
            (int(place) - 1 + _SMALLEST_EXPONENT, int(count))
            for place, count in zip(biased, sums, strict=True)
            if 0 < place < _INFINITE
        )

    def _used(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the bins that hold an error, in order, and how many each of them holds."""
        if self._counts is None and self._pending <= _FEW_KEYS:
            used, counts = np.unique(self._keys[: self._pending], return_counts=True)
        else:
            bins = self._flush()
            used = np.flatnonzero(bins)
            counts = bins[used]
        if self._zeros and not (used.size and used[0] == 0):
            used, counts = np.concatenate([[0], used]), np.concatenate([[0], counts])
        counts[:1] += self._zeros
        return used, counts

    def _all_bins(self) -> npt.NDArray[np.int64]:
        """Return the counts of all bins but for what still waits."""
        if self._counts is None:
            self._counts = np.zeros(_BIN_COUNT, np.int64)
        return self._counts

    def _flush(self) -> npt.NDArray[np.int64]:
        """Return the counts of all bins once what waits is counted."""
        bins, keys = self._all_bins(), self._keys[: self._pending]
        if keys.size <= _FEW_KEYS:
            distinct, counts = np.unique(keys, return_counts=True)
            bins[distinct] += counts
        else:
            counts = np.bincount(keys)
            bins[: counts.size] += counts
        self._pending = 0
        return bins


def _largest_of_bin(key: int) -> float:
    if key == 0:
        return 0.0
    largest = float(np.int64(((key + 1) << _SHIFT) - 1).view(np.float64))
    # The bin of infinity reaches into the bit patterns of NaN.
    return math.inf if math.isnan(largest) else largest
