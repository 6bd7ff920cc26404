"""One output of the ``outputs`` check over all feeds, in the regions that judge it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from parity.compare import TensorComparison
from parity.judge import judge
from parity.verdict import Verdict

if TYPE_CHECKING:
    import numpy as np

    from parity.case.regions import RegionTolerance
    from parity.checks.triangulation import Triangle
    from parity.difference import Element
    from parity.results import TensorOutcome
    from parity.tolerance import Precision, Tolerance


@dataclass(slots=True)
class Part:
    """One region of an output; ``places`` has the region as it was cut and the whole shape, for each feed."""

    tolerance: Tolerance
    comparison: TensorComparison
    triangle: Triangle
    places: dict[int, tuple[RegionTolerance, tuple[int, ...]]] = field(default_factory=dict)

    def update(
        self, region: RegionTolerance, feed: int, actual: np.ndarray, expected: np.ndarray, rounded: np.ndarray | None
    ) -> None:
        """Add one feed; the arrays are whole outputs.

        Raises
        ------
        StructureError
            An array holds no plain numbers.
        """
        left, right = region.select(actual), region.select(expected)
        self.comparison.update(left, right, feed=feed)
        self.places[feed] = region, expected.shape
        if rounded is not None:
            self.triangle.update(left, right, region.select(rounded), feed)

    def outcome(self, empty: TensorOutcome) -> TensorOutcome:
        """Return the judgement; ``empty`` has everything that was known before."""
        difference = self.comparison.result()
        judgement = judge(difference, self.tolerance)
        placed = replace(
            difference,
            worst_absolute=self._whole(difference.worst_absolute),
            worst_relative=self._whole(difference.worst_relative),
            first_nonfinite=self._whole(difference.first_nonfinite),
        )
        outcome = replace(
            empty, verdict=judgement.verdict, reasons=judgement.reasons, notes=judgement.notes, difference=placed
        )
        # Distances over other feeds than the verdict's could not be held against each other.
        return self._triangulated(outcome) if self.triangle.feed_count == len(self.places) else outcome

    def _triangulated(self, outcome: TensorOutcome) -> TensorOutcome:
        assert outcome.difference is not None
        triangulation, sentence = self.triangle.result(outcome.difference, outcome.verdict)
        outcome = replace(outcome, triangulation=triangulation)
        if not sentence:
            return outcome
        if outcome.verdict is Verdict.FAIL:
            return replace(outcome, reasons=(*outcome.reasons, sentence))
        return replace(outcome, notes=(*outcome.notes, sentence))

    def _whole(self, element: Element | None) -> Element | None:
        """Return an element of the region with its index in the whole tensor."""
        if element is None:
            return None
        region, shape = self.places[element.feed]
        return replace(element, index=region.whole_index(shape, element.index))


@dataclass(slots=True)
class Output:
    """One output over all feeds: its structure, or else its parts; ``unwritten_count`` sums over the feeds.

    ``notes`` are sentences by subject, each told once whatever the number of feeds.
    """

    shape: tuple[int, ...]
    dtype: str
    structure_reason: str | None = None
    parts: dict[str, Part] = field(default_factory=dict)
    unwritten_count: int = 0
    notes: dict[str, str] = field(default_factory=dict)


def comparison(tolerance: Tolerance, precision: Precision) -> TensorComparison:
    """Return a comparison of outputs whose dtypes were looked at before."""
    # A half output against its float32 reference is meant to differ in dtype.
    return TensorComparison(tolerance, precision, same_dtype=False)


def with_unwritten(outcome: TensorOutcome, count: int) -> TensorOutcome:
    """Return the outcome failed where elements of its output kept the pattern that their buffer was filled with."""
    if not count:
        return outcome
    reason = f"{count} element{'' if count == 1 else 's'} never written: they kept what their buffer was filled with."
    return replace(outcome, verdict=Verdict.FAIL, reasons=(reason, *outcome.reasons), unwritten_count=count)
