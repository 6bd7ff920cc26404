"""Measures how far two tensors are apart: one pass in blocks, everything in float64, nothing judged.

Extra memory does not grow with the tensors: some 15 MiB for each of two threads.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.blocks import BLOCK_SIZE, boxes, kind_of, pair, read, single
from parity.errors import ParityError
from parity.fill import BELOW, LEAST_FILL, by_level, fill_levels
from parity.kernel import Gauge, add_side, measure
from parity.tally import SideTally, Tally
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from parity.blocks import Region
    from parity.difference import TensorDifference
    from parity.tolerance import Tolerance

# NumPy releases the interpreter lock inside its loops. Two threads, because test runs are parallel already.
_THREAD_COUNT = 2
_THREADING_THRESHOLD = 8 * BLOCK_SIZE

# (stored mantissa bits, smallest normal exponent); fp8 is E4M3. int8 has no exponent: see ``_steps``.
_FORMATS: dict[Precision, tuple[int, int]] = {
    Precision.FP32: (23, -126),
    Precision.TF32: (10, -126),
    Precision.FP16: (10, -14),
    Precision.BF16: (7, -126),
    Precision.FP8: (3, -6),
}
_INT8_LARGEST = 127


class TensorComparison:
    """Collects the difference of one output over all feeds.

    Parameters
    ----------
    tolerance
        The bound that elements are counted against, with atol in the output's own unit (``Tolerance.absolute``).
    precision
        The precision whose last place ``max_ulp`` counts in.
    same_dtype
        Whether both sides must have one dtype. Where not, they must still be both floats, both integers or both
        booleans.
    percentiles
        Whether to count for percentiles, which takes 4 MiB for each thread; they are NaN where not.

    Raises
    ------
    ParityError
        The tolerance is in units of the reference's rms, negative or NaN.
    """

    def __init__(
        self, tolerance: Tolerance, precision: Precision, *, same_dtype: bool = True, percentiles: bool = True
    ) -> None:
        _check_tolerance(tolerance)
        self._tolerance = tolerance
        self._precision = precision
        self._same_dtype = same_dtype
        self._percentiles = percentiles
        self._kind: str | None = None
        self._tallies: list[Tally] = []

    def update(
        self, actual: npt.NDArray[Any], expected: npt.NDArray[Any], *, feed: int = 0, region: Region = ()
    ) -> None:
        """Add one feed, or a region of it; a set of disjoint regions may be added one after the other.

        Parameters
        ----------
        actual, expected
            Two arrays of one shape, of booleans, integers or floats (half, bfloat16 and 8-bit floats included); any
            strides, read-only and memory-mapped ones too. They are not changed.
        feed
            The number of the feed, told with the worst elements.
        region
            One slice for each leading axis.

        Raises
        ------
        StructureError
            The tensors cannot be compared, or the region holds nothing.
        """
        tensors = pair(actual, expected, region, same_dtype=self._same_dtype)
        self._kind = kind_of(tensors.expected.array.dtype)
        smallest_normal = 2.0 ** _FORMATS[self._precision][1] if self._counts_ulp else None
        gauge = Gauge(tensors, feed, self._tolerance, smallest_normal)
        thread_count = _THREAD_COUNT if tensors.actual.array.size >= _THREADING_THRESHOLD else 1
        self._tallies += [self._blank() for _ in range(thread_count - len(self._tallies))]
        if thread_count == 1:
            measure(gauge, self._tallies[0], 0, 1)
        else:
            _measure_in_threads(gauge, self._tallies)

    def result(self) -> TensorDifference:
        """Return the difference over everything added so far.

        Means, percentiles, SQNR and cosine are NaN where no element is finite on both sides.
        """
        total = self._total
        return total.difference(self._steps(total))

    @property
    def scale(self) -> float:
        """Root mean square of the reference, as ``reference_rms``, over the elements that are finite on both sides."""
        return self._total.unmasked.expected.side().rms

    def _blank(self) -> Tally:
        return Tally() if self._percentiles else Tally(histogram=None)

    @property
    def _total(self) -> Tally:
        if len(self._tallies) == 1:
            return self._tallies[0]
        total = self._blank()
        for tally in self._tallies:
            total.merge(tally)
        return total

    @property
    def _counts_ulp(self) -> bool:
        return self._kind == "float" and self._precision in _FORMATS

    def _steps(self, total: Tally) -> float:
        """Return the largest error in last places: of the format, of int8's 127 levels, or of whole numbers."""
        if self._counts_ulp:
            return total.ulp * 2.0 ** _FORMATS[self._precision][0]
        if self._kind != "float" or not total.worst:
            return total.worst
        # A grid that reached masked places would have one step for all others.
        peak = total.unmasked.expected.peak if total.fill else 0.0
        peak = peak or total.expected.peak
        return total.worst / peak * _INT8_LARGEST if peak else math.inf


def compare_tensors(
    actual: npt.ArrayLike,
    expected: npt.ArrayLike,
    *,
    tolerance: Tolerance,
    precision: Precision = Precision.FP32,
    same_dtype: bool = True,
) -> TensorDifference:
    """Measure how far two tensors are apart.

    Parameters
    ----------
    actual, expected
        Of one shape; ``expected`` is the reference.
    tolerance
        The bound that mismatches are counted against; in either unit.
    precision
        The precision whose last place ``max_ulp`` counts in.
    same_dtype
        Whether both must have one dtype.

    Raises
    ------
    StructureError
        The tensors cannot be compared.
    ParityError
        The tolerance is negative or NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from parity import Tolerance, compare_tensors
    >>> reference = np.array([1.0, 2.0, 4.0])
    >>> difference = compare_tensors(reference + 0.5, reference, tolerance=Tolerance(0.0, 0.1, "an example"))
    >>> difference.mismatch_count, difference.bias
    (3, 0.5)
    """
    actual, expected = np.asanyarray(actual), np.asanyarray(expected)
    scale = reference_rms([expected]) if tolerance.atol_unit == "rms" else 1.0
    comparison = TensorComparison(tolerance.absolute(scale), precision, same_dtype=same_dtype)
    comparison.update(actual, expected)
    return comparison.result()


def reference_rms(arrays: Iterable[npt.NDArray[Any]], region: Region = ()) -> float:
    """Return the root mean square of the finite elements of a region over all arrays; 0.0 where none is finite.

    Values that fill masked places, such as -1e9 or float32's lowest, are left out: with them no tolerance in units of
    it would ever be missed (``parity.fill``).

    Raises
    ------
    StructureError
        An array holds no plain numbers, or the region holds nothing.
    """
    levels: dict[int, SideTally] = {}
    for array in arrays:
        view = single(array, region)
        buffer = np.empty(min(BLOCK_SIZE, view.array.size))
        for box in boxes(view.array.shape):
            values = read(view, box, buffer)
            _add_values(levels, values[np.isfinite(values)])
    total, fill = SideTally(), fill_levels(levels)
    for level in sorted(levels.keys() - fill):
        total.merge(levels[level])
    return total.side().rms


def _add_values(levels: dict[int, SideTally], values: npt.NDArray[np.float64]) -> None:
    """Add finite values, 1-D, to the tallies of their levels."""
    if not values.size:
        return
    if np.abs(values).max() < LEAST_FILL:
        add_side(levels.setdefault(BELOW, SideTally()), values)
        return
    for level, places in by_level(values):
        add_side(levels.setdefault(level, SideTally()), values[places])


def _measure_in_threads(gauge: Gauge, tallies: list[Tally]) -> None:
    """Give every thread its tally and every n-th block, so that figures do not depend on which thread is faster."""
    count = len(tallies)
    with ThreadPoolExecutor(count) as pool:
        jobs = [pool.submit(measure, gauge, tally, i, count) for i, tally in enumerate(tallies)]
    for job in jobs:
        job.result()


def _check_tolerance(tolerance: Tolerance) -> None:
    if tolerance.atol_unit != "absolute":
        raise ParityError("atol is in units of the reference's rms; scale it by tolerance.absolute(reference_rms(...))")
    for name, value in (("rtol", tolerance.rtol), ("atol", tolerance.atol)):
        if not value >= 0.0:
            raise ParityError(f"{name} is {value}; expected a number of at least 0")
