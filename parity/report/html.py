"""``report.html``: one file that opens offline, verdict first. Every string of the run is escaped by the template."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from parity.report import figures
from parity.report.engines import engine_notes, engine_tables

if TYPE_CHECKING:
    from jinja2 import Template

    from parity.results import Outcome, Run
    from parity.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Cell:
    """One case, check and variant in the matrix: its worst verdict, and the anchor of that outcome's section."""

    verdict: Verdict
    anchor: str


def report_html(run: Run) -> str:
    """Return a run as one HTML document without scripts, remote parts or paths of the machine."""
    outcomes = figures.worst_first(run)
    anchors = {outcome.key: f"outcome-{place}" for place, outcome in enumerate(outcomes)}
    return _template().render(
        run=run,
        outcomes=outcomes,
        failed=figures.failed(run),
        anchors=anchors,
        rows=list(dict.fromkeys(_row(run, outcome) for outcome in run.outcomes)),
        variants=list(dict.fromkeys(outcome.variant for outcome in run.outcomes)),
        matrix=_matrix(run, outcomes, anchors),
        verdict=figures.run_verdict(run),
        verdict_line=figures.verdict_line(run),
        notes=[*figures.output_notes(run.outcomes), *figures.variant_notes(run.outcomes), *engine_notes(run)],
        tables=engine_tables(run),
        has_several_checks=figures.has_several_checks(run),
        forecast_note=figures.FORECAST_NOTE if figures.has_forecast(run) else "",
    )


def _row(run: Run, outcome: Outcome) -> tuple[str, str]:
    """Return the case and check that an outcome's row of the matrix stands for; one row a case without engines."""
    return outcome.case, outcome.check if figures.has_several_checks(run) else ""


def _matrix(
    run: Run, outcomes: list[Outcome], anchors: dict[tuple[str, str, str], str]
) -> dict[tuple[tuple[str, str], str], Cell]:
    """Return the worst outcome of each row and variant; ``outcomes`` stand worst first, so the first one wins."""
    matrix: dict[tuple[tuple[str, str], str], Cell] = {}
    for outcome in outcomes:
        matrix.setdefault((_row(run, outcome), outcome.variant), Cell(outcome.verdict, anchors[outcome.key]))
    return matrix


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("parity.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(figures, name)
        for name in ("decibel", "mismatches", "number", "place", "printable", "ratio", "worst_tensors")
    }
    environment.globals["signs"] = figures.SIGNS
    return environment.get_template("report.html")
