"""The ``layers`` check: what was observed of a variant's layers becomes an outcome that names where error is born."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from parity.layer_table import Role, Validity, lost_db
from parity.verdict import Verdict

if TYPE_CHECKING:
    from parity.layer_table import LayerReport, LayerRow
    from parity.results import Outcome

# What a layer may lose without being told: as much as makes an amplifier.
_MARGIN_DB = 12.0


def layers_outcome(blank: Outcome, report: LayerReport) -> Outcome:
    """Return the outcome of a layer report.

    ``pass`` where every layer agrees, ``fail`` with the first source named, ``inconclusive`` where nothing was
    observed, where the observed engine is not the shipped one, and where the reference itself is not finite.
    """
    verdict, headline = _judge(report)
    return replace(blank, verdict=verdict, headline=headline, layers=report)


def _judge(report: LayerReport) -> tuple[Verdict, str]:
    if reason := _reason_not_to_judge(report):
        return Verdict.INCONCLUSIVE, reason
    if report.sources:
        return Verdict.FAIL, _sources_sentence(report)
    if reason := _reason_to_doubt(report):
        return Verdict.INCONCLUSIVE, reason
    return Verdict.PASS, f"all {len(report.rows)} layers agree, {_observed(report)}"


def _reason_not_to_judge(report: LayerReport) -> str:
    """Return why a report shows nothing; empty where it does."""
    if report.validity is Validity.INVALID:
        return f"what was observed is not what is shipped: {report.validity_reason or 'no reason was given'}"
    if not report.rows:
        return f"nothing was observed: {_unobserved(report)}"
    return ""


def _reason_to_doubt(report: LayerReport) -> str:
    """Return why a report without a source is no pass; empty where it is one."""
    hidden = [row for row in report.rows if is_reference_hidden(row)]
    if hidden:
        first = hidden[0]
        return (
            f"the reference has no finite element from {first.layer} on ({first.tensor}), "
            "so nothing behind it was compared"
        )
    if all(math.isnan(row.inherited.sqnr_db) for row in report.rows):
        return f"the reference is zero in all {len(report.rows)} layers, so nothing was compared"
    by_tensor = {row.tensor: row for row in report.rows}
    untold = [row for row in report.rows if row.role is Role.UNKNOWN and lost_db(row, by_tensor) > _MARGIN_DB]
    if untold:
        return (
            f"{untold[0].layer} loses {lost_db(untold[0], by_tensor):.0f} dB{_more(len(untold) - 1)}, and whether it "
            "is a source was not measured"
        )
    return ""


def is_reference_hidden(row: LayerRow) -> bool:
    """Whether the reference has no finite element in a tensor."""
    return row.nonfinite_reference > 0 and not any(row.reference_range)


def _sources_sentence(report: LayerReport) -> str:
    by_position = {row.position: row for row in report.rows}
    by_tensor = {row.tensor: row for row in report.rows}
    worst = by_position[report.sources[0]]
    more = worst.nonfinite_candidate - worst.nonfinite_reference
    if more > 0:
        what = f"makes {more:,} element{'s' if more != 1 else ''} NaN or infinite"
    else:
        what = f"loses {lost_db(worst, by_tensor):.0f} dB"
    return f"{worst.layer} {what} ({worst.role}){_more(len(report.sources) - 1)}"


def _more(count: int) -> str:
    return f", {count} more" if count else ""


def _observed(report: LayerReport) -> str:
    # A share that is rounded up to 100 % would hide what was left out.
    share = math.floor(1000 * report.coverage) / 10
    return f"{share:g} % of the float tensors observed"


def _unobserved(report: LayerReport) -> str:
    if not report.unobserved:
        return "the model has no float tensor that depends on its inputs"
    return f"{report.unobserved[0]}{_more(len(report.unobserved) - 1)}"
