"""Measures one block of two tensors after the other into a tally. Skips only work that cannot change a figure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.blocks import BLOCK_SIZE, Pair, Region, View, boxes, read, read_wide_difference
from parity.difference import Element
from parity.fill import BELOW, LEAST_FILL, by_level
from parity.sums import Normal, derived_product, normal, peak

if TYPE_CHECKING:
    import numpy.typing as npt

    from parity.sums import Wide
    from parity.tally import SideTally, Tally
    from parity.tolerance import Tolerance

    Doubles = npt.NDArray[np.float64]

# Gathering up to this share of a block is cheaper than computing all of it.
_FEW = 1 / 16

# Wider than the rounding of a few quotients.
_SLACK = 1.0 + 1e-9

_EXPONENT_BITS = np.int64(0x7FF0000000000000)


@dataclass(frozen=True, slots=True)
class Gauge:
    """What the blocks of one update are measured with.

    Attributes
    ----------
    smallest_normal
        Of the judged precision: the unit of the last place does not shrink below it. None where no ulp is counted.
    """

    tensors: Pair
    feed: int
    tolerance: Tolerance
    smallest_normal: float | None


@dataclass(frozen=True, slots=True)
class _Block:
    """Elements of a box, 1-D.

    ``reference`` are the expected values where they are read fastest: in float32 itself, or ``expected``.
    ``difference`` is ``actual - expected`` at first and its magnitude later; ``work`` and ``ratio`` are scratch.
    ``positions`` are the flat places in the box of the elements that were kept, None where all were.
    """

    box: Region
    actual: Doubles
    expected: Doubles
    reference: npt.NDArray[Any]
    difference: Doubles
    work: Doubles
    ratio: Doubles
    positions: npt.NDArray[np.intp] | None = None


def measure(gauge: Gauge, tally: Tally, first: int, step: int) -> None:
    """Measure every ``step``-th block, from ``first`` on, into a tally."""
    array = gauge.tensors.actual.array
    buffers = np.empty((5, min(BLOCK_SIZE, array.size)))
    # Overflow, 0 / 0 and x / 0 are met on purpose and looked at where they can matter.
    with np.errstate(all="ignore"):
        for box in islice(boxes(array.shape), first, None, step):
            _measure_block(gauge, tally, _read_block(gauge.tensors, box, buffers))


def add_side(tally: SideTally, values: Doubles) -> None:
    """Add finite values to what was seen of a side."""
    if values.size:
        extremes = _extremes(values)
        tally.add(values.size, extremes, normal(values, _peak(extremes)).squares())


def _read_block(tensors: Pair, box: Region, buffers: Doubles) -> _Block:
    actual = read(tensors.actual, box, buffers[0])
    expected = read(tensors.expected, box, buffers[1])
    size = actual.size
    difference = buffers[2, :size]
    if tensors.is_wide:
        read_wide_difference(tensors, box, difference)
    else:
        np.subtract(actual, expected, out=difference)
    reference = _narrow(tensors.expected, box, expected)
    return _Block(box, actual, expected, reference, difference, buffers[3, :size], buffers[4, :size])


def _measure_block(gauge: Gauge, tally: Tally, block: _Block) -> None:
    size = block.actual.size
    tally.element_count += size
    actual = _extremes(_narrow(gauge.tensors.actual, block.box, block.actual))
    expected = _extremes(block.reference)
    # A NaN or an infinity anywhere shows in the extremes.
    if not all(map(math.isfinite, (*actual, *expected))):
        _measure_nonfinite(gauge, tally, block)
        return
    actual_square, expected_square = _measure_pairs(gauge, tally, block, actual, expected)
    tally.actual.add(size, actual, actual_square)
    tally.expected.add(size, expected, expected_square)


def _measure_nonfinite(gauge: Gauge, tally: Tally, block: _Block) -> None:
    actual, expected = block.actual, block.expected
    both = _count_nonfinite(tally.actual, actual) & _count_nonfinite(tally.expected, expected)
    missed = np.flatnonzero(~(both | (np.isnan(actual) & np.isnan(expected)) | (actual == expected)))
    tally.mismatch_count += missed.size
    tally.nonfinite_mismatch_count += missed.size
    if missed.size:
        tally.headroom = math.inf
        tally.note_nonfinite(_element(gauge, block, int(missed[0]), math.nan))
    if both.any():
        kept = _keep(block, both)
        _measure_pairs(gauge, tally, kept, _extremes(kept.actual), _extremes(kept.expected))


def _count_nonfinite(tally: SideTally, values: Doubles) -> npt.NDArray[np.bool_]:
    """Count a side's NaN and infinities and add its other values; returns where it is finite."""
    finite = np.isfinite(values)
    nan_count = int(np.count_nonzero(np.isnan(values)))
    tally.nan_count += nan_count
    tally.inf_count += values.size - int(np.count_nonzero(finite)) - nan_count
    add_side(tally, values[finite])
    return finite


def _keep(block: _Block, mask: npt.NDArray[np.bool_]) -> _Block:
    positions = np.flatnonzero(mask)
    size = positions.size
    expected = block.expected[mask]
    kept = (block.actual[mask], expected, expected, block.difference[mask])
    return _Block(block.box, *kept, block.work[:size], block.ratio[:size], positions)


def _measure_pairs(
    gauge: Gauge, tally: Tally, block: _Block, actual_extremes: tuple[float, float], extremes: tuple[float, float]
) -> tuple[Wide, Wide]:
    """Measure a block that is finite on both sides; returns the sums of squares of both sides.

    ``extremes`` are the reference's.
    """
    expected_peak = _peak(extremes)
    actual, expected = normal(block.actual, _peak(actual_extremes)), normal(block.expected, expected_peak)
    squares = actual.squares(), expected.squares()
    noise = _measure_difference(gauge, tally, block, expected_peak)
    if expected_peak < LEAST_FILL:
        product = derived_product(*squares, noise) or actual.dot(expected)
        tally.level(BELOW).add(block.actual.size, extremes, squares, product, noise)
    else:
        _add_levels(tally, block)
    return squares


def _add_levels(tally: Tally, block: _Block) -> None:
    """Add the sums of a block by the reference's levels."""
    for level, places in by_level(block.expected):
        part = _gather(block, places)
        extremes = _extremes(part.expected)
        actual, expected = normal(part.actual, peak(part.actual)), normal(part.expected, _peak(extremes))
        noise = _differences(part, peak(part.difference)).squares()
        squares = actual.squares(), expected.squares()
        tally.level(level).add(part.actual.size, extremes, squares, actual.dot(expected), noise)


def _measure_difference(gauge: Gauge, tally: Tally, block: _Block, expected_peak: float) -> Wide:
    """Measure the differences of a block; returns their sum of squares."""
    largest = peak(block.difference)
    if largest == 0.0:
        if tally.histogram is not None:
            tally.histogram.add_zeros(block.difference.size)
        return 0.0, 0
    noise = _add_sums(tally, _differences(block, largest))
    np.abs(block.difference, out=block.difference)
    if tally.histogram is not None:
        tally.histogram.add(block.difference)
    if largest > tally.worst:
        tally.worst_absolute = _element(gauge, block, int(block.difference.argmax()), largest)
    # Beyond a headroom of 1, elements miss the bound without setting a record: all have to be looked at.
    all_may_miss = tally.headroom > 1.0
    candidates = _candidates(gauge, tally, block, largest, expected_peak)
    missed = _measure_records(gauge, tally, candidates, expected_peak) if candidates else 0
    if all_may_miss and candidates is not block:
        missed = _count_missing(gauge.tolerance, block)
    tally.mismatch_count += missed
    return noise


def _measure_records(gauge: Gauge, tally: Tally, block: _Block, expected_peak: float) -> int:
    """Update every record with elements that may set one; returns how many of them miss the bound."""
    np.abs(block.expected, out=block.work)
    largest_ratio = _measure_relative(gauge, tally, block)
    if gauge.smallest_normal is not None and 2.0 * largest_ratio > tally.ulp:
        _measure_ulp(gauge.smallest_normal, tally, block)
    return _measure_headroom(gauge.tolerance, tally, block, expected_peak)


def _candidates(gauge: Gauge, tally: Tally, block: _Block, largest: float, expected_peak: float) -> _Block | None:
    """Return the elements that may set a record of headroom, relative error or last places; None if none can.

    Returns the block itself where they are many, where no record stands yet, or where the bound may be infinite.
    """
    tolerance = gauge.tolerance
    bounded = math.isfinite(tolerance.rtol * expected_peak + tolerance.atol)
    if not bounded or not tally.headroom or not tally.worst_ratio or (gauge.smallest_normal and not tally.ulp):
        return block
    may = _may_set_record(gauge, tally, block, largest)
    count = np.count_nonzero(may)
    if count > may.size * _FEW:
        # Zeros on both sides are many behind a ReLU.
        may &= block.difference > 0.0
        count = np.count_nonzero(may)
    if count > may.size * _FEW:
        return block
    return _gather(block, np.flatnonzero(may)) if count else None


def _may_set_record(gauge: Gauge, tally: Tally, block: _Block, largest: float) -> npt.NDArray[np.bool_]:
    """Return where a record can be set, and not at many places more.

    No difference exceeds ``largest``, so only a reference that is small enough makes a large quotient. The headroom's
    grows no further than the difference over atol.
    """
    magnitude = block.work.view(block.reference.dtype)[: block.reference.size]
    np.abs(block.reference, out=magnitude)
    # The lines are rounded to the reference's dtype: no value of that dtype lies between a line and its rounding.
    may: npt.NDArray[np.bool_] = magnitude <= _quotient_line(gauge, tally, largest)
    tolerance = gauge.tolerance
    room = largest / tally.headroom * _SLACK - tolerance.atol
    if room > 0.0:
        small = magnitude <= (room / tolerance.rtol * _SLACK if tolerance.rtol else math.inf)
        may |= small & (block.difference >= tally.headroom * tolerance.atol / _SLACK)
    return may


def _quotient_line(gauge: Gauge, tally: Tally, largest: float) -> float:
    """Return the magnitude of the reference beyond which no record of relative error or last places can be set."""
    line = largest / tally.worst_ratio
    if gauge.smallest_normal is not None:
        # A last place is a power of two above half of the reference.
        line = max(line, 2.0 * largest / tally.ulp)
    return line * _SLACK


def _gather(block: _Block, chosen: npt.NDArray[np.intp]) -> _Block:
    positions = chosen if block.positions is None else block.positions[chosen]
    expected = block.expected[chosen]
    parts = (block.actual[chosen], expected, expected, block.difference[chosen])
    return _Block(block.box, *parts, block.work[: chosen.size], block.ratio[: chosen.size], positions)


def _add_sums(tally: Tally, difference: Normal) -> Wide:
    """Add the sums of differences; returns that of their squares."""
    tally.signed.add(*difference.total())
    tally.absolute.add(*difference.magnitudes())
    return difference.squares()


def _differences(block: _Block, largest: float) -> Normal:
    """Return a block's differences; ``largest`` is the largest magnitude of what float64 holds of them."""
    if math.isfinite(largest):
        return normal(block.difference, largest)
    # Near the end of the range the plain difference overflows.
    quarters = block.actual * 0.25 - block.expected * 0.25
    values, exponent = normal(quarters, peak(quarters))
    return Normal(values, exponent + 2)


def _measure_relative(gauge: Gauge, tally: Tally, block: _Block) -> float:
    """Update the worst relative error; ``work`` holds ``|expected|``.

    Returns the largest ``|a - e| / |e|`` of the block, infinite where the reference has a zero and the other side not.
    """
    np.divide(block.difference, block.work, out=block.ratio)
    largest = bound = _largest(block.ratio)
    if math.isinf(bound):
        # x / 0 becomes NaN, which is passed over. A masked assignment is ten times slower on scattered zeros.
        np.multiply(block.ratio, block.work > 0.0, out=block.ratio)
        largest = _largest(block.ratio)
    if largest > tally.worst_ratio:
        tally.worst_relative = _element(gauge, block, int((block.ratio == largest).argmax()), largest)
    return bound


def _measure_ulp(smallest_normal: float, tally: Tally, block: _Block) -> None:
    """Update the worst ``|a - e|`` over the power of two at ``|e|``."""
    power = block.ratio
    np.bitwise_and(block.expected.view(np.int64), _EXPONENT_BITS, out=power.view(np.int64))
    np.maximum(power, smallest_normal, out=power)
    np.divide(block.difference, power, out=power)
    tally.ulp = max(tally.ulp, _largest(power))


def _measure_headroom(tolerance: Tolerance, tally: Tally, block: _Block, expected_peak: float) -> int:
    """Update the headroom; returns how many elements miss the bound. ``work`` holds ``|e|`` and becomes the bound.

    A quotient of two float64 numbers exceeds 1 exactly where the first exceeds the second.
    """
    allowed = _allow(tolerance, block.work)
    share = np.divide(block.difference, allowed, out=block.ratio)
    if not math.isfinite(tolerance.rtol * expected_peak + tolerance.atol):
        _resolve_undefined(share, block.difference, allowed)
    # What is still undefined is 0 / 0: equal elements that need no room.
    largest = _largest(share)
    tally.headroom = max(tally.headroom, largest)
    return int(np.count_nonzero(share > 1.0)) if largest > 1.0 else 0


def _count_missing(tolerance: Tolerance, block: _Block) -> int:
    """Return how many elements miss a bound that is finite everywhere."""
    allowed = _allow(tolerance, np.abs(block.expected, out=block.work))
    return int(np.count_nonzero(block.difference > allowed))


def _allow(tolerance: Tolerance, magnitude: Doubles) -> Doubles:
    """Turn ``|e|`` into ``atol + rtol * |e|``, in place."""
    np.multiply(magnitude, tolerance.rtol, out=magnitude)
    return np.add(magnitude, tolerance.atol, out=magnitude)


def _resolve_undefined(share: Doubles, difference: Doubles, allowed: Doubles) -> None:
    """Replace ``inf / inf`` and quotients by an undefined bound: 0 where NumPy calls the elements close, else inf."""
    close = (difference <= allowed) | (difference == 0.0)
    undefined = np.isnan(share)
    share[undefined & close] = 0.0
    share[undefined & ~close] = math.inf


def _largest(quotients: Doubles) -> float:
    """Return the largest of non-negative numbers, NaN passed over; 0.0 where all are NaN."""
    return float(np.fmax.reduce(quotients, initial=0.0))


def _element(gauge: Gauge, block: _Block, i: int, difference: float) -> Element:
    local = i if block.positions is None else int(block.positions[i])
    expected = float(block.expected[i])
    return Element(
        feed=gauge.feed,
        index=gauge.tensors.expected.index(block.box, local),
        actual=float(block.actual[i]),
        expected=expected,
        difference=difference,
        allowed=gauge.tolerance.atol + gauge.tolerance.rtol * abs(expected),
    )


def _extremes(values: npt.NDArray[Any]) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _narrow(view: View, box: Region, values: Doubles) -> npt.NDArray[Any]:
    """Return a box (1-D) where it is read fastest: in float32 itself, half the memory of its float64 copy."""
    source = view.array[box]
    return source.reshape(-1) if source.dtype == np.float32 and source.flags.c_contiguous else values


def _peak(extremes: tuple[float, float]) -> float:
    return max(-extremes[0], extremes[1])
