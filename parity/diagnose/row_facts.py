"""What the rows of a layer report say together: the sources in their order, what reaches a row, and what reads it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from parity.diagnose.evidence import Evidence
    from parity.layer_table import LayerReport, LayerRow
    from parity.results import EngineRecord, TensorOutcome


def is_failed(evidence: Evidence) -> bool:
    """Whether a check other than the layers' failed: a variant that passes has no cause to be found."""
    return any(outcome.verdict is Verdict.FAIL for check, outcome in evidence.outcomes.items() if check != "layers")


def failed_tensors(evidence: Evidence) -> tuple[TensorOutcome, ...]:
    """Return the outputs, or slices of outputs, that failed and were compared."""
    outcome = evidence.outcomes.get("outputs")
    tensors = outcome.tensors if outcome else ()
    return tuple(one for one in tensors if one.verdict is Verdict.FAIL and one.difference is not None)


def engine_of(evidence: Evidence) -> EngineRecord | None:
    """Return the engine that was judged; None where it was a forecast."""
    return next((outcome.engine for outcome in evidence.outcomes.values() if outcome.engine is not None), None)


def blamed_tensors(evidence: Evidence) -> tuple[TensorOutcome, ...]:
    """Return the failed outputs that are worse than the forecast by more than clean engines are."""
    return tuple(one for one in failed_tensors(evidence) if one.triangulation and one.triangulation.blames_engine)


def magnitude(row: LayerRow) -> float:
    """Return the largest finite magnitude of the reference's tensor; 0 where nothing is finite."""
    return max((abs(end) for end in row.reference_range if math.isfinite(end)), default=0.0)


def is_sick(row: LayerRow) -> bool:
    """Whether the variant has NaN or infinities where the reference has none."""
    return row.nonfinite_candidate > row.nonfinite_reference


class RowFacts:
    """The rows of a report, looked up by tensor; ``sources`` are in the report's order, the worst first."""

    def __init__(self, report: LayerReport | None) -> None:
        self.rows = report.rows if report else ()
        self.by_tensor = {row.tensor: row for row in self.rows}
        by_position = {row.position: row for row in self.rows}
        self.sources = tuple(by_position[place] for place in (report.sources if report else ()) if place in by_position)
        self._readers: dict[str, list[LayerRow]] = {}
        for row in self.rows:
            for tensor in row.inputs:
                self._readers.setdefault(tensor, []).append(row)

    def inputs(self, row: LayerRow) -> list[LayerRow]:
        """Return the rows that a row reads."""
        return [self.by_tensor[name] for name in row.inputs if name in self.by_tensor]

    def readers(self, row: LayerRow) -> list[LayerRow]:
        """Return the rows that read a row."""
        return self._readers.get(row.tensor, [])

    def behind_sick(self, row: LayerRow) -> bool:
        """Whether non-finite values reach a row."""
        return any(is_sick(other) for other in self.upstream([row], lambda _: True) if other is not row)

    def upstream(self, rows: Iterable[LayerRow], goes_on: Callable[[LayerRow], bool]) -> list[LayerRow]:
        """Return rows and all that reaches them through rows that ``goes_on`` is true of, in topological order."""
        found = {row.position: row for row in rows}
        pending = list(found.values())
        while pending:
            for other in self.inputs(pending.pop()):
                if other.position not in found and goes_on(other):
                    found[other.position] = other
                    pending.append(other)
        return [found[place] for place in sorted(found)]

    def island(self, seeds: Iterable[LayerRow], belongs: Callable[[LayerRow], bool]) -> tuple[str, ...]:
        """Return the nodes that give or read the tensors around ``seeds`` that ``belongs`` is true of.

        A tensor is held at a higher precision only where both its producer and its readers compute at it.
        """
        inside = {row.position: row for row in seeds}
        pending = list(inside.values())
        while pending:
            row = pending.pop()
            for other in (*self.inputs(row), *(self.readers(row) if belongs(row) else ())):
                is_reader = row.tensor in other.inputs
                if other.position not in inside and (is_reader or belongs(other)):
                    inside[other.position] = other
                    pending.append(other)
        return tuple(dict.fromkeys(name for place in sorted(inside) for name in inside[place].nodes))
