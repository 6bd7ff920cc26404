"""``report.html``: one file that opens offline, verdict first. Every string of the run is escaped by the template."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from parity.report import figures
from parity.report.decoded import decoded_notes, decoded_tables
from parity.report.engines import engine_notes, engine_tables
from parity.report.layer_curve import HEIGHT, LEFT, RIGHT, WIDTH, layer_curve
from parity.report.layers import layer_notes, layer_outcomes, layer_tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Template

    from parity.report.pictures import Picture
    from parity.report.text_table import Table
    from parity.results import Outcome, Run
    from parity.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Cell:
    """One case, check and variant in the matrix: its worst verdict, and the anchor of that outcome's section."""

    verdict: Verdict
    anchor: str


NO_PICTURES: Mapping[tuple[str, str, str], Sequence[Picture]] = MappingProxyType({})


def report_html(run: Run, pictures: Mapping[tuple[str, str, str], Sequence[Picture]] = NO_PICTURES) -> str:
    """Return a run as one HTML document without scripts, remote parts or paths of the machine.

    ``pictures`` are those of each outcome by its key.
    """
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
        notes=_notes(run),
        pictures=pictures,
        has_decoded=any(outcome.decoded for outcome in outcomes),
        tables=[*layer_tables(run), *engine_tables(run)],
        curves={o.key: curve for o, report in layer_outcomes(run) if (curve := layer_curve(report))},
        curve_box={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT},
        has_several_checks=figures.has_several_checks(run),
        forecast_note=figures.FORECAST_NOTE if figures.has_forecast(run) else "",
    )


def _notes(run: Run) -> list[tuple[str, str]]:
    found = figures.output_notes(run.outcomes), decoded_notes(run), figures.variant_notes(run.outcomes)
    return [note for notes in (*found, layer_notes(run), engine_notes(run)) for note in notes]


def _decoded_tables(outcome: Outcome) -> list[Table]:
    """Return the tables of one outcome, which stand below its name."""
    return decoded_tables([outcome], has_place=False)


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
        for name in ("decibel", "headroom", "mismatches", "number", "place", "printable", "ratio", "worst_tensors")
    }
    environment.filters["decoded_tables"] = _decoded_tables
    environment.globals["signs"] = figures.SIGNS
    return environment.get_template("report.html")
