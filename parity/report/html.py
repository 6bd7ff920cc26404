"""``report.html``: one file that opens offline, verdict first. Every string of the run is escaped by the template."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from parity.report import figures

if TYPE_CHECKING:
    from jinja2 import Template

    from parity.results import Outcome, Run
    from parity.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Cell:
    """One case and variant in the matrix: its worst verdict, and the anchor of that outcome's section."""

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
        cases=list(dict.fromkeys(outcome.case for outcome in run.outcomes)),
        variants=list(dict.fromkeys(outcome.variant for outcome in run.outcomes)),
        matrix=_matrix(outcomes, anchors),
        verdict=figures.run_verdict(run),
        verdict_line=figures.verdict_line(run),
        notes=[*figures.output_notes(run.outcomes), *figures.variant_notes(run.outcomes)],
        forecast_note=figures.FORECAST_NOTE if figures.has_forecast(run) else "",
    )


def _matrix(outcomes: list[Outcome], anchors: dict[tuple[str, str, str], str]) -> dict[tuple[str, str], Cell]:
    """Return the worst outcome of each case and variant; ``outcomes`` stand worst first, so the first one wins."""
    matrix: dict[tuple[str, str], Cell] = {}
    for outcome in outcomes:
        matrix.setdefault((outcome.case, outcome.variant), Cell(outcome.verdict, anchors[outcome.key]))
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
