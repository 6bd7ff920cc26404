"""A history as one HTML page: every figure over time, with its steps, and where to look for what made them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.history.marks import bisect_sentence
from parity.report.charts import Chart, Marks, drawable
from parity.report.charts import Series as Line
from parity.report.figures import moment
from parity.report.history import change_text, ordered, value_text
from parity.report.pages import render_page
from parity.report.text_table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parity.history.model import History, Marked, Point, Series, Visit

_KINDS: tuple[tuple[bool | None, str, str, str], ...] = (
    (True, "worse since here", "fail", "triangle"),
    (False, "better since here", "pass", "diamond"),
    (None, "changed here", "second", "diamond"),
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A series with the id of its chart."""

    id: str
    series: Series
    chart: Chart
    latest: str
    caption: str


def history_html(history: History) -> str:
    """Return a case's history as one HTML document that opens offline."""
    drawn = [
        _drawn(f"figure-{number}", series) for number, series in enumerate(ordered(history.series)) if series.points
    ]
    return render_page(
        "history.html",
        charts={one.id: one.chart for one in drawn},
        history=history,
        drawn=drawn,
        machines=list(dict.fromkeys(series.machine for series in history.series)),
        steps=steps_table(history),
        verdicts=_verdicts_table(history),
        is_worse=any(series.steps and series.steps[-1].is_worse for series in history.series),
    )


def steps_table(history: History) -> Table:
    """Return every step, the newest first."""
    found = [(series, marked) for series in history.series for marked in series.steps]
    found.sort(key=lambda pair: pair[1].at.number, reverse=True)
    has_several = len({series.machine for series in history.series}) > 1
    return Table(
        "Steps",
        "Where a figure moved from one level to another and stayed there, the newest first.",
        ("figure", "step", "first run", "changed as well", "where to look"),
        frozenset(),
        tuple(_step_row(series, marked, has_several=has_several) for series, marked in found),
    )


def _step_row(series: Series, marked: Marked, *, has_several: bool) -> tuple[str, ...]:
    where = f", on {series.machine}" if has_several else ""
    before, after = (value_text(level, series.unit) for level in (marked.step.before, marked.step.after))
    changed = "; ".join(marked.changed) or "nothing that was recorded"
    return (
        f"{series.label}{where}",
        f"{before} to {after} ({change_text(marked)})",
        *(_visit_text(marked.at), changed, bisect_sentence(marked)),
    )


def _verdicts_table(history: History) -> Table:
    rows = []
    for judged in history.judged:
        visit, newest = judged.verdicts[-1]
        passed = sum(verdict == "pass" for _, verdict in judged.verdicts)
        rows.append((judged.variant, judged.check, newest, f"{passed} of {len(judged.verdicts)}", _visit_text(visit)))
    headings = ("variant", "check", "newest verdict", "passed", "newest run")
    return Table("Verdicts", "", headings, frozenset({3}), tuple(rows))


def _drawn(name: str, series: Series) -> Drawn:
    latest = value_text(series.points[-1].value, series.unit)
    newest = series.steps[-1] if series.steps else None
    caption = f"{change_text(newest)}; {bisect_sentence(newest)}" if newest else ""
    return Drawn(name, series, _chart(series), latest, caption)


def _chart(series: Series) -> Chart:
    values = [point.value for point in series.points]
    finite = [abs(value) for value in values if math.isfinite(value)]
    # What is infinite is drawn above all that is not; the tooltip says what it is.
    limit = 1.2 * max(finite, default=1.0) or 1.0
    lines = [Line(series.name, drawable(values, limit))]
    if series.steps:
        levels = [_level_at(series.steps, point.visit) for point in series.points]
        lines.append(Line("level", drawable(levels, limit), "faint", "dashes"))
    return Chart(
        label=f"{series.label} over {len(values)} runs",
        unit=series.unit,
        x_label="runs, in the order of arrival",
        series=tuple(lines),
        marks=_marks(series),
        names=tuple(_point_text(point, series.unit) for point in series.points),
    )


def _level_at(steps: Sequence[Marked], visit: Visit) -> float:
    passed = [marked.step.after for marked in steps if marked.at.number <= visit.number]
    return passed[-1] if passed else steps[0].step.before


def _marks(series: Series) -> tuple[Marks, ...]:
    places = {point.visit.number: place for place, point in enumerate(series.points)}
    return tuple(
        Marks(label, tuple(places[marked.at.number] for marked in series.steps if marked.is_worse is kind), tone, shape)
        for kind, label, tone, shape in _KINDS
    )


def _point_text(point: Point, unit: str) -> str:
    return f"{_visit_text(point.visit)}: {value_text(point.value, unit)}"


def _visit_text(visit: Visit) -> str:
    commit = f", commit {visit.commit[:12]}" if visit.commit else ""
    return f"{visit.name}, {moment(visit.created)}{commit}"
