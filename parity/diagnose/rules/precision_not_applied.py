"""An engine that runs at a higher precision than was asked: agreement that proves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.diagnose.certainty import CONFIRMED, FITS
from parity.diagnose.row_facts import engine_of
from parity.diagnose.trial import decibels, worst_db
from parity.diagnosis import Diagnosis
from parity.tolerance import Precision
from parity.verdict import Verdict

if TYPE_CHECKING:
    from parity.diagnose.evidence import Evidence
    from parity.results import Census

CAUSE = "precision-not-applied"
_LIKE_FLOAT_DB = 110.0
"""No 11-bit significand comes so near float32, nor does one product in TF32."""
_REMEDY = (
    "build from a typed model, which fixes every layer's precision, or set the builder's flag for it with precision "
    "constraints obeyed; look in its log for layers that it cannot run so"
)
_LOW = frozenset({Precision.FP16, Precision.BF16, Precision.INT8, Precision.FP8})


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Look at what the engine says that it runs, and for outputs too good for the precision."""
    engine = engine_of(evidence)
    if evidence.options.precision not in _LOW or engine is None:
        return ()
    census = next((outcome.census for outcome in evidence.outcomes.values() if outcome.census), None)
    told = (*_from_census(census), *_from_outputs(evidence))
    if not told:
        return ()
    is_low = bool(_from_census(census))
    precision = evidence.options.precision
    return (
        Diagnosis(
            cause=CAUSE,
            title=f"The engine does not run in {precision}",
            certainty=CONFIRMED if is_low else FITS,
            nodes=(),
            evidence=(*told, *([f"the builder's flags were {', '.join(engine.flags)}"] if engine.flags else [])),
            probe="read the precisions of the engine's layers (the census check)",
            probe_result=_from_census(census)[0] if is_low else None,
            is_confirmed=True if is_low else None,
            remedy=_REMEDY,
        ),
    )


def _from_census(census: Census | None) -> tuple[str, ...]:
    if census is None or census.share >= census.minimum_share:
        return ()
    ran = ", ".join(f"{row.arithmetic_count} in {row.precision}" for row in census.rows if row.arithmetic_count)
    found, wanted = f"{100 * census.share:.0f} %", f"{100 * census.minimum_share:.0f} %"
    return (
        f"{found} of the layers that multiply run in {census.asked}, {wanted} were expected ({ran or 'no others'})",
    )


def _from_outputs(evidence: Evidence) -> tuple[str, ...]:
    outcome = evidence.outcomes.get("outputs")
    compared = [one for one in (outcome.tensors if outcome else ()) if one.triangulation]
    if not compared or any(one.verdict is Verdict.ERROR for one in compared):
        return ()
    found = worst_db({one.output: one.triangulation.total.sqnr_db for one in compared if one.triangulation})
    expected = worst_db({one.output: one.triangulation.conversion.sqnr_db for one in compared if one.triangulation})
    # A model whose values half holds exactly has no error at any precision: its forecast says so.
    if not (found > _LIKE_FLOAT_DB > expected):
        return ()
    forecast = f"the forecast of {evidence.options.precision} has {decibels(expected)}"
    return (f"the worst output has {decibels(found)}, as float32 has, where {forecast}",)
