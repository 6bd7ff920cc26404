"""What a page shows of one variant: its checks gathered, with the tables and charts of each."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from parity.report import figures
from parity.report.bars import census_group, latency_group
from parity.report.decoded import decoded_tables
from parity.report.engines import build_tables, check_tables, engine_words
from parity.report.latency import latency_notes
from parity.report.latency_charts import blocks_chart, layer_times_chart
from parity.report.latency_gain import gain_table
from parity.report.layer_curve import layer_curve
from parity.report.layer_names import WHOLE
from parity.report.layers import layer_lines, layer_table, source_sentences

if TYPE_CHECKING:
    from parity.report.bars import BarGroup
    from parity.report.charts import Chart
    from parity.report.text_table import Table
    from parity.results import Outcome, Run
    from parity.verdict import Verdict

_UNSAFE_IN_ANCHOR = re.compile("[^a-z0-9._@-]+")
_MAX_ANCHOR = 60
_PLACE_COLUMNS = 2


@dataclass(frozen=True, slots=True)
class LayersView:
    """What was observed of layers: every row, the id of the curve (empty where there is none), what to know first."""

    table: Table
    table_id: str
    curve: str
    sentences: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckView:
    """One check of a variant: ``anchor`` is the id of its part of the page, ``times`` are the ids of its charts."""

    outcome: Outcome
    anchor: str
    tables: tuple[Table, ...] = ()
    layers: LayersView | None = None
    bars: tuple[BarGroup, ...] = ()
    times: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VariantView:
    """One variant of one case.

    Attributes
    ----------
    checks
        The worst first.
    engine
        What was judged, in names and values; empty where no engine was.
    messages
        What TensorRT said; None where it said nothing.
    notes
        What a reader should know whatever the verdict.
    """

    case: str
    variant: str
    anchor: str
    checks: tuple[CheckView, ...]
    engine: tuple[tuple[str, str], ...] = ()
    messages: Table | None = None
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of its checks."""
        return self.checks[0].outcome.verdict


@dataclass(slots=True)
class Gathered:
    """Variants, worst first, and the charts that their parts of the page refer to; layers' names have so much room."""

    variants: list[VariantView] = field(default_factory=list)
    charts: dict[str, Chart] = field(default_factory=dict)
    room: int = WHOLE


def gather(run: Run, room: int = WHOLE) -> Gathered:
    """Return a run's variants, worst first, each with its checks, worst first; names of layers have so much room."""
    found, anchors = Gathered(room=room), Anchors()
    by_variant: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in figures.worst_first(run):
        by_variant.setdefault((outcome.case, outcome.variant), []).append(outcome)
    timed, gains = latency_notes(run), gain_table(run.outcomes)
    for (case, variant), outcomes in by_variant.items():
        notes = [note for outcome in outcomes for note in _notes(outcome)]
        # What a variant gains is known from the others of its case.
        notes += [note for subject, note in timed if subject == f"{case} / {variant}"]
        view = _variant(case, variant, outcomes, anchors, found)
        found.variants.append(_with_gain(replace(view, notes=tuple(dict.fromkeys(notes))), gains))
    return found


def _with_gain(view: VariantView, gains: Table) -> VariantView:
    """Return a variant that shows its rows of a table of all variants beside its latency."""
    own = tuple(row for row in gains.rows if row[:_PLACE_COLUMNS] == (view.case, view.variant))
    if not own:
        return view
    table = replace(gains, rows=own).without_first(_PLACE_COLUMNS)
    checks = (replace(one, tables=(*one.tables, table)) if one.outcome.latency else one for one in view.checks)
    return replace(view, checks=tuple(checks))


class Anchors:
    """Makes ids of names: such as people read in a link, each once, and of few characters whatever the name."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def make(self, *parts: str) -> str:
        """Return an id that nothing else was given."""
        short = _UNSAFE_IN_ANCHOR.sub("-", "-".join(filter(None, parts)).lower())[:_MAX_ANCHOR].strip("-")
        # The prefix keeps a name from being that of a part of the page itself.
        numbers = ("", *(f"-{number}" for number in range(2, len(self._used) + 3)))
        anchor = next(made for number in numbers if (made := f"at-{short}{number}") not in self._used)
        self._used.add(anchor)
        return anchor


def _variant(case: str, variant: str, outcomes: list[Outcome], anchors: Anchors, found: Gathered) -> VariantView:
    engines, messages = build_tables(outcomes)
    return VariantView(
        case,
        variant,
        anchors.make(case, variant),
        tuple(_check(outcome, outcomes, anchors.make(case, variant, outcome.check), found) for outcome in outcomes),
        tuple(zip(engines.headings, engines.rows[0], strict=True))[_PLACE_COLUMNS:] if engines.rows else (),
        messages.without_first(_PLACE_COLUMNS) if messages.rows else None,
    )


def _check(outcome: Outcome, outcomes: list[Outcome], anchor: str, found: Gathered) -> CheckView:
    # Slow layers show their error where another check of the variant observed layers.
    beside = [other for other in outcomes if outcome.latency and other.layers and other is not outcome]
    tables = [table.without_first(_PLACE_COLUMNS) for table in check_tables([outcome, *beside]) if table.rows]
    return CheckView(
        outcome,
        anchor,
        (*decoded_tables([outcome], has_place=False), *tables),
        _layers(outcome, anchor, found),
        _bars(outcome),
        _latency_charts(outcome, anchor, found),
    )


def _notes(outcome: Outcome) -> list[str]:
    return [
        *(f"{tensor.output}: {note}" for tensor in outcome.tensors for note in tensor.notes),
        *(outcome.decoded.notes if outcome.decoded else ()),
        *(note for _, note in figures.variant_notes([outcome])),
        *(engine_words(outcome.engine) if outcome.engine else ()),
        *outcome.diagnosis_notes,
    ]


def _layers(outcome: Outcome, anchor: str, found: Gathered) -> LayersView | None:
    report = outcome.layers
    if report is None:
        return None
    table_id, curve_id = f"{anchor}-rows", f"{anchor}-curve"
    curve = layer_curve(report, table_id)
    if curve:
        found.charts[curve_id] = curve
    table = layer_table(outcome, report, found.room)
    return LayersView(
        table, table_id, curve_id if curve else "", tuple(source_sentences(report)), tuple(layer_lines(report))
    )


def _bars(outcome: Outcome) -> tuple[BarGroup, ...]:
    record = outcome.latency
    return (
        *((census_group(outcome.census),) if outcome.census else ()),
        *((latency_group(found, record.budgets) for found in record.measurements) if record else ()),
    )


def _latency_charts(outcome: Outcome, anchor: str, found: Gathered) -> tuple[str, ...]:
    """Add the charts of one latency and return their ids."""
    if outcome.latency is None:
        return ()
    made = {f"{anchor}-blocks-{one.batch_size}": blocks_chart(one) for one in outcome.latency.measurements}
    if outcome.latency.layers:
        made[f"{anchor}-layer-times"] = layer_times_chart(outcome.latency, found.room)
    found.charts.update(made)
    return tuple(made)
