"""``figures.csv`` and ``detections.csv``: every figure and every kept finding of decoded results, one a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.report.tables import csv_text

if TYPE_CHECKING:
    from parity.agreement import BoxRecord, Finding, JudgedFigure
    from parity.results import Outcome, Run
    from parity.verdict import Verdict

FIGURES_COLUMNS = (
    *("case", "variant", "check_verdict", "task", "decoder", "class", "figure", "value", "unit"),
    *("minimum", "maximum", "verdict", "reason"),
)
_BOX_COLUMNS = ("class", "score", "x1", "y1", "x2", "y2")
DETECTIONS_COLUMNS = (
    *("case", "variant", "check_verdict", "task", "image", "kind", "severity", "text"),
    *(f"reference_{name}" for name in _BOX_COLUMNS),
    *(f"candidate_{name}" for name in _BOX_COLUMNS),
)


def figures_csv(run: Run) -> str:
    """Return the figures of a run as CSV; ``class`` is empty where all count. Empty without decoded results."""
    rows = [row for outcome in run.outcomes for row in _figure_rows(outcome)]
    return csv_text(rows, FIGURES_COLUMNS) if rows else ""


def detections_csv(run: Run) -> str:
    """Return the kept findings of a run as CSV, boxes in pixels; empty without decoded results."""
    rows = [
        _key(outcome) | _finding_cells(finding)
        for outcome in run.outcomes
        if outcome.decoded
        for finding in outcome.decoded.findings
    ]
    has_decoded = any(outcome.decoded for outcome in run.outcomes)
    return csv_text(rows, DETECTIONS_COLUMNS) if has_decoded else ""


def _key(outcome: Outcome) -> dict[str, object]:
    assert outcome.decoded is not None
    return {
        "case": outcome.case,
        "variant": outcome.variant,
        "check_verdict": str(outcome.verdict),
        "task": outcome.decoded.task,
        "decoder": outcome.decoded.decoder,
    }


def _figure_rows(outcome: Outcome) -> list[dict[str, object]]:
    if outcome.decoded is None:
        return []
    of_all = [_figure_cells(judged) for judged in outcome.decoded.figures]
    of_classes: list[dict[str, object]] = [
        {"class": row.class_name, "figure": name, "value": value}
        for row in outcome.decoded.classes
        for name, value in row.figures.items()
    ]
    return [_key(outcome) | cells for cells in (*of_all, *of_classes)]


def _figure_cells(judged: JudgedFigure) -> dict[str, object]:
    return {
        "figure": judged.figure.name,
        "value": judged.figure.value,
        "unit": judged.figure.unit,
        "minimum": judged.minimum,
        "maximum": judged.maximum,
        "verdict": _word(judged.verdict),
        "reason": judged.reason,
    }


def _word(verdict: Verdict | None) -> str | None:
    return None if verdict is None else str(verdict)


def _finding_cells(finding: Finding) -> dict[str, object]:
    return {
        "image": finding.image,
        "kind": finding.kind,
        "severity": finding.severity,
        "text": finding.text,
        **_box_cells("reference", finding.reference),
        **_box_cells("candidate", finding.candidate),
    }


def _box_cells(side: str, box: BoxRecord | None) -> dict[str, object]:
    if box is None:
        return {}
    cells = (box.class_name, box.score, *box.box)
    return {f"{side}_{name}": cell for name, cell in zip(_BOX_COLUMNS, cells, strict=True)}
