"""A kernel or a fusion that computes something else: the engine is far worse than its precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.diagnose.certainty import FITS, POSSIBLE, SHOWN
from parity.diagnose.row_facts import RowFacts, blamed_tensors, engine_of
from parity.diagnose.trial import decibels
from parity.diagnosis import Diagnosis
from parity.layer_table import Validity
from parity.verdict import Verdict

if TYPE_CHECKING:
    from parity.diagnose.evidence import Evidence
    from parity.results import TensorOutcome

CAUSE = "fusion-or-tactic"
_PROBE = (
    "build again at a lower builder optimisation level, with other tactic sources, or with the suspect tensors marked "
    "as outputs, which breaks the fusions around them; if the error goes, a fusion or a tactic has it"
)
_REMEDY = (
    "build with the setting that mends it, or break the fusion in the model, and report the engine with its model to "
    "TensorRT's maintainers; another release may have it mended"
)


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return an engine that no forecast explains, and whether its error goes away when it is observed."""
    blamed = blamed_tensors(evidence)
    if engine_of(evidence) is None or not blamed:
        return ()
    rows = _engine_rows(evidence)
    gone, told = _when_observed(evidence)
    laws = [
        f"the engine breaks a law that needs no reference ({one.name}): {one.detail}"
        for outcome in evidence.outcomes.values()
        for one in outcome.invariants
        if one.verdict is Verdict.FAIL
    ]
    # An engine that does not even agree with itself has a cause of its own, which explains this, too.
    certainty = POSSIBLE if laws else SHOWN if gone or rows else FITS
    return (
        Diagnosis(
            cause=CAUSE,
            title="The engine computes something else than its precision explains: a fusion or a tactic",
            certainty=certainty,
            nodes=tuple(dict.fromkeys(name for names in rows for name in names)),
            evidence=(*(_worse(one) for one in blamed[:3]), *told, *laws),
            probe=_PROBE,
            probe_result=told[0] if gone else None,
            is_confirmed=True if gone else None,
            remedy=_REMEDY,
        ),
    )


def _worse(one: TensorOutcome) -> str:
    distances = one.triangulation
    assert distances is not None
    return (
        f"{one.output}: the forecast has {decibels(distances.conversion.sqnr_db)}, the engine "
        f"{decibels(distances.total.sqnr_db)}"
    )


def _engine_rows(evidence: Evidence) -> list[tuple[str, ...]]:
    """Return the nodes of the layers where a valid observation of the engine sees error being born."""
    report = evidence.layers
    if report is None or report.validity is Validity.INVALID:
        return []
    sources = RowFacts(report).sources
    return [row.nodes for row in sources if row.observed_by != "rounded graph"]


def _when_observed(evidence: Evidence) -> tuple[bool, tuple[str, ...]]:
    """Return whether the error goes away when the engine is observed, and what was seen."""
    report = evidence.layers
    if report is None or all(row.observed_by == "rounded graph" for row in report.rows):
        return False, ()
    if report.validity is Validity.INVALID:
        told = f"the engine that was built to be observed is another one: {report.validity_reason}"
        return report.is_nearer_observed, (told,)
    if not report.sources:
        return False, ("no observed layer of the engine shows where the error is born",)
    first = RowFacts(report).sources[0]
    leaves = decibels(first.inherited.sqnr_db)
    return False, (f"the error is born at {first.layer} ({', '.join(first.nodes)}), which leaves {leaves}",)
