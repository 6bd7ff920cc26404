"""What decoded results add to a report, as tables of text: figures with their gates, findings, classes, images.

Markdown and HTML show these same tables; a run without decoded results has none of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from parity.report.figures import SIGNS, worst_first
from parity.report.text_table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from parity.agreement import BoxRecord, DecodedRecord, Finding, ImageAgreement, JudgedFigure
    from parity.results import Outcome, Run

    Rows = list[tuple[str, ...]]

NOT_MEASURED = "n/a"
_PLACE = ("case", "variant")
_FIGURE_HEADINGS = ("figure", "value", "allowed", "verdict", "why the gate")
_FINDING_HEADINGS = ("image", "kind", "what", "reference", "candidate", "severity")
_IMAGE_HEADINGS = ("image", "agreement", "counts", "picture")
_FIGURES_NOTE = "Allowed is what the case's gates ask for, or their defaults; a figure without one is for information."
_CLASSES_NOTE = "Figures of each class alone. No gate stands on them."
_IMAGES_NOTE = "The images that agree least, 1 being agreement in everything."


def decoded_outcomes(run: Run) -> list[Outcome]:
    """Return the outcomes that judged decoded results, worst first."""
    return [outcome for outcome in worst_first(run) if outcome.decoded]


def decoded_tables(outcomes: Sequence[Outcome], *, has_place: bool = True) -> list[Table]:
    """Return the tables of some outcomes that have rows; with ``has_place``, case and variant begin each row."""
    records = [outcome.decoded for outcome in outcomes if outcome.decoded]
    tables = (_table(part, outcomes, has_place=has_place) for part in _parts(records))
    return [table for table in tables if table.rows]


def decoded_notes(run: Run) -> list[tuple[str, str]]:
    """Return (``case / variant``, note) for what a reader should know of decoded results whatever the verdict."""
    return [
        (f"{outcome.case} / {outcome.variant}", note)
        for outcome in run.outcomes
        if outcome.decoded
        for note in outcome.decoded.notes
    ]


def figure_text(value: float | None, unit: str) -> str:
    """Return a figure as a reader takes it: shares in per cent, counts whole, pixels with their unit, four digits."""
    if value is None:
        return NOT_MEASURED
    if not math.isfinite(value):
        return str(value)
    if unit == "share":
        return f"{_digits(100 * value)} %"
    if unit == "count":
        return f"{value:,.0f}"
    return f"{_digits(value)} px" if unit == "px" else _digits(value)


def allowed_text(judged: JudgedFigure) -> str:
    """Return what a gate allows, such as ``≤ 2 %`` or ``0.9 … 1.1``; empty where there is none."""
    unit = judged.figure.unit
    low, high = judged.minimum, judged.maximum
    if low is not None and high is not None:
        return f"{figure_text(low, unit)} … {figure_text(high, unit)}"
    if low is not None:
        return f"≥ {figure_text(low, unit)}"
    return f"≤ {figure_text(high, unit)}" if high is not None else ""


def box_text(box: BoxRecord | None) -> str:
    """Return a box with its class and score, such as ``cat 0.91 at 12.0, 8.5 … 40.0, 33.1``."""
    if box is None:
        return "none"
    x1, y1, x2, y2 = (f"{value:.1f}" for value in box.box)
    return f"{box.class_name} {box.score:.3f} at {x1}, {y1} … {x2}, {y2}"


def counts_text(image: ImageAgreement) -> str:
    """Return an image's counts, such as ``reference 7, candidate 6, missed 1``."""
    return ", ".join(f"{name} {count:,}" for name, count in image.counts.items()) or "none"


@dataclass(frozen=True, slots=True)
class _Part:
    """What becomes a table: its rows of one record, and the numbers of its numeric columns."""

    title: str
    note: str
    headings: tuple[str, ...]
    numeric: frozenset[int]
    rows_of: Callable[[DecodedRecord], Rows]


def _parts(records: Sequence[DecodedRecord]) -> tuple[_Part, ...]:
    names = _class_figures(records)
    class_columns = frozenset(range(1, len(names) + 1))
    return (
        _Part("Decoded results", _FIGURES_NOTE, _FIGURE_HEADINGS, frozenset({1, 2}), _figure_rows),
        _Part("Findings", _findings_note(records), _FINDING_HEADINGS, frozenset({5}), _finding_rows),
        _Part("Agreement by class", _CLASSES_NOTE, ("class", *names), class_columns, partial(_class_rows, names=names)),
        _Part("Least agreeing images", _IMAGES_NOTE, _IMAGE_HEADINGS, frozenset({1}), _image_rows),
    )


def _table(part: _Part, outcomes: Sequence[Outcome], *, has_place: bool) -> Table:
    place = _PLACE if has_place else ()
    rows = tuple(
        (*((outcome.case, outcome.variant) if has_place else ()), *row)
        for outcome in outcomes
        if outcome.decoded
        for row in part.rows_of(outcome.decoded)
    )
    numeric = frozenset(column + len(place) for column in part.numeric)
    return Table(part.title, part.note, (*place, *part.headings), numeric, rows)


def _figure_rows(record: DecodedRecord) -> Rows:
    return [_figure_cells(judged) for judged in record.figures]


def _figure_cells(judged: JudgedFigure) -> tuple[str, ...]:
    figure = judged.figure
    value = figure_text(figure.value, figure.unit)
    verdict = f"{SIGNS[judged.verdict]} {judged.verdict}" if judged.verdict else ""
    return figure.name, value, allowed_text(judged), verdict, judged.reason


def _findings_note(records: Sequence[DecodedRecord]) -> str:
    shown, total = sum(len(record.findings) for record in records), sum(record.finding_count for record in records)
    return f"What is not the same on both sides, worst first: {shown:,} of {max(shown, total):,}."


def _finding_rows(record: DecodedRecord) -> Rows:
    return [_finding_cells(finding) for finding in record.findings]


def _finding_cells(finding: Finding) -> tuple[str, ...]:
    sides = box_text(finding.reference), box_text(finding.candidate)
    return finding.image, finding.kind, finding.text, *sides, _digits(finding.severity)


def _class_figures(records: Sequence[DecodedRecord]) -> tuple[str, ...]:
    """Return the names of all figures of classes, in the order in which they are met."""
    return tuple(dict.fromkeys(name for record in records for row in record.classes for name in row.figures))


def _class_rows(record: DecodedRecord, names: Sequence[str]) -> Rows:
    return [(row.class_name, *(_number(row.figures.get(name)) for name in names)) for row in record.classes]


def _image_rows(record: DecodedRecord) -> Rows:
    return [_image_cells(image) for image in record.images]


def _image_cells(image: ImageAgreement) -> tuple[str, ...]:
    return image.image, _digits(image.agreement), counts_text(image), image.picture or "none"


def _number(value: float | None) -> str:
    return NOT_MEASURED if value is None else _digits(value)


def _digits(value: float) -> str:
    return f"{value:.4g}"
