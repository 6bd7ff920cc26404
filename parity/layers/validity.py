"""Whether an engine that shows its tensors still is the engine that ships: both are held against the reference."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from parity.compare import TensorComparison
from parity.judge import judge
from parity.tolerance import NOISE_FLOOR_DB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parity.difference import TensorDifference
    from parity.tolerance import Precision, Tolerance

    Tensors = Mapping[str, np.ndarray]

ALLOWED_DB = 3.0
"""How far apart two engines' distances from the reference may lie: a factor of 1.4, as two builds of one model."""


@dataclass
class OutputPair:
    """One output of both engines, over the feeds seen."""

    tolerance: Tolerance
    precision: Precision
    mask_count: int = 0
    is_float: bool = False
    plain: TensorComparison = field(init=False)
    observed: TensorComparison = field(init=False)

    def __post_init__(self) -> None:
        self.plain = TensorComparison(self.tolerance, self.precision, same_dtype=False)
        self.observed = TensorComparison(self.tolerance, self.precision, same_dtype=False)

    def update(self, expected: np.ndarray, plain: np.ndarray, observed: np.ndarray) -> None:
        """Add one feed.

        Raises
        ------
        StructureError
            The arrays differ in shape or in kind.
        """
        self.plain.update(plain, expected)
        self.observed.update(observed, expected)
        # Whole numbers, as indices are, differ by any amount where two scores are nearly equal.
        self.is_float = plain.dtype.kind in "fV"
        if self.is_float:
            same = np.isfinite(plain.astype(np.float64)) == np.isfinite(observed.astype(np.float64))
            self.mask_count += int(np.count_nonzero(~same))

    def reason(self) -> str:
        """Return how the engine that shows its tensors differs, or nothing."""
        plain, observed = self.plain.result(), self.observed.result()
        verdicts = [judge(one, self.tolerance).verdict for one in (plain, observed)]
        told = [
            f"{self.mask_count} elements are finite in one of the two engines only" if self.mask_count else "",
            f"verdict {verdicts[0]} plain, {verdicts[1]} observed" if verdicts[0] != verdicts[1] else "",
            _apart(plain, observed, NOISE_FLOOR_DB[self.precision]) if self.is_float else "",
        ]
        return "; ".join(part for part in told if part)

    def is_nearer(self) -> bool:
        """Whether the engine that shows its tensors is nearer the reference, by more than two builds differ."""
        plain, observed = self.plain.result(), self.observed.result()
        if observed.nonfinite_mismatch_count != plain.nonfinite_mismatch_count:
            return observed.nonfinite_mismatch_count < plain.nonfinite_mismatch_count
        return observed.sqnr_db - plain.sqnr_db > ALLOWED_DB


class OutputPairs:
    """All outputs of a plain engine and of one that shows its tensors.

    Parameters
    ----------
    tolerances
        By output, with atol in the output's own unit.
    """

    def __init__(self, tolerances: Mapping[str, Tolerance], precision: Precision) -> None:
        self._pairs = {name: OutputPair(tolerance, precision) for name, tolerance in tolerances.items()}

    def update(self, expected: Tensors, plain: Tensors, observed: Tensors) -> None:
        """Add one feed.

        Raises
        ------
        StructureError
            An output's arrays differ in shape or in kind.
        """
        for name, pair in self._pairs.items():
            if expected[name].size:
                pair.update(expected[name], plain[name], observed[name])

    def reasons(self) -> tuple[str, ...]:
        """Return a sentence for each output that the two engines do not share; empty where they agree."""
        told = {name: pair.reason() for name, pair in self._pairs.items()}
        return tuple(f"{name}: {reason}" for name, reason in told.items() if reason)

    def are_nearer(self) -> bool:
        """Whether the two engines differ, and where they do the one that shows its tensors is nearer the reference."""
        differing = [pair for pair in self._pairs.values() if pair.reason()]
        return bool(differing) and all(pair.is_nearer() for pair in differing)


def _apart(plain: TensorDifference, observed: TensorDifference, floor_db: float) -> str:
    # Beyond what the precision can show, one bit decides.
    ratios = [min(one.sqnr_db, floor_db) if one.sqnr_db == one.sqnr_db else math.nan for one in (plain, observed)]
    if all(map(math.isnan, ratios)) or abs(ratios[0] - ratios[1]) <= ALLOWED_DB:
        return ""
    return f"SQNR {plain.sqnr_db:.1f} dB plain, {observed.sqnr_db:.1f} dB observed"
