"""How equal two answers of one engine are: bit by bit, or above a floor that other kernels explain."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from parity.compare import reference_rms
from parity.tolerance import NOISE_FLOOR_DB, Precision

if TYPE_CHECKING:
    from parity.backends import Tensors

# Another batch size or place in the batch may meet another kernel, which sums in another order. FP16 and its like:
# clean engines lay 24 dB under the format's floor (FP16 50 of 73.7 dB, TF32 42.7 of 66.7), two independent roundings
# differ by 3 dB more, and 3 are margin. FP32: Winograd and split sums lose some 20 dB more than that. INT8 and FP8:
# kernels differ only where a value stands at the edge of a step, so far fewer elements than quantization itself moves.
ALLOWANCE_DB: dict[Precision, float] = {
    Precision.FP32: 50.0,
    Precision.TF32: 30.0,
    Precision.FP16: 30.0,
    Precision.BF16: 30.0,
    Precision.INT8: 20.0,
    Precision.FP8: 20.0,
}


def floor_db(precision: Precision) -> float:
    """Return the SQNR that two answers on the same rows must reach where bit equality is not asked."""
    return round(NOISE_FLOOR_DB[precision] - ALLOWANCE_DB[precision], 1)


@dataclass(frozen=True, slots=True)
class Sameness:
    """How equal two answers are.

    Attributes
    ----------
    problem
        What keeps them from being compared, or a NaN or infinity in one only; empty where there is none.
    differing
        Elements whose bits differ: -0 differs from 0.
    max_absolute
        In the output's own unit, over all outputs.
    sqnr_db
        Of the worst row of the worst output: the output's rms over the row's rms difference. Infinite where nothing
        differs.
    where
        The output and row with the lowest ``sqnr_db``.
    """

    problem: str = ""
    differing: int = 0
    max_absolute: float = 0.0
    sqnr_db: float = math.inf
    where: str = ""

    def at(self, place: str) -> Sameness:
        """Return the same, told of a place."""
        problem = f"{place}: {self.problem}" if self.problem else ""
        return replace(self, problem=problem, where=f"{place}: {self.where}" if self.where else "")

    def worse(self, other: Sameness) -> Sameness:
        """Return both as one: counts added, the worse of everything else."""
        low = self if self.sqnr_db <= other.sqnr_db else other
        return Sameness(
            self.problem or other.problem,
            self.differing + other.differing,
            max(self.max_absolute, other.max_absolute),
            low.sqnr_db,
            low.where,
        )


def compare_answers(actual: Tensors, expected: Tensors) -> Sameness:
    """Compare two answers, output by output and row by row."""
    if actual.keys() != expected.keys():
        return Sameness(problem=f"outputs {', '.join(actual)} where {', '.join(expected)} were expected")
    total = Sameness()
    for name, array in expected.items():
        total = total.worse(_compare(name, actual[name], array))
    return total


def _compare(name: str, actual: np.ndarray, expected: np.ndarray) -> Sameness:
    if (actual.shape, actual.dtype) != (expected.shape, expected.dtype):
        found = f"{actual.dtype.name} {actual.shape} where {expected.dtype.name} {expected.shape} was expected"
        return Sameness(problem=f"{name} is {found}")
    differing = _differing_bits(actual, expected)
    if not differing:
        return Sameness()
    with np.errstate(invalid="ignore"):
        # A signalling NaN, which a buffer nobody wrote may hold, warns when it is converted.
        left, right = actual.astype(np.float64), expected.astype(np.float64)
    is_finite = np.isfinite(left) & np.isfinite(right)
    lost = int(np.count_nonzero(~is_finite & (left != right) & ~(np.isnan(left) & np.isnan(right))))
    problem = f"{name}: {lost} elements are NaN or infinite in one answer only" if lost else ""
    signal = np.where(is_finite, right, 0.0)
    error = np.where(is_finite, left, 0.0) - signal
    sqnr, row = _worst_row(error, signal)
    largest = float(np.max(np.abs(error), initial=0.0))
    return Sameness(problem, differing, largest, sqnr, f"{name}, row {row}")


def _differing_bits(actual: np.ndarray, expected: np.ndarray) -> int:
    bits = f"u{actual.dtype.itemsize}"
    left, right = (np.ascontiguousarray(array).view(bits) for array in (actual, expected))
    return int(np.count_nonzero(left != right))


def _worst_row(error: np.ndarray, expected: np.ndarray) -> tuple[float, int]:
    # The signal is the whole output's: a sound row near zero would else stand below any floor. What fills masked places
    # is no signal: beside it no wrong row would stand below one.
    rows = error.reshape(len(error), -1) if error.ndim else error.reshape(1, 1)
    noise = np.sqrt(np.mean(rows**2, axis=1))
    row = int(np.argmax(noise))
    if noise[row] == 0.0:
        return math.inf, row
    signal = reference_rms([expected])
    return (20 * math.log10(signal / float(noise[row])) if signal else -math.inf), row
