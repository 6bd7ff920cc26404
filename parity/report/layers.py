"""What a layer report adds, as tables of text: where error is born, and every observed layer.

Terminal, Markdown and HTML show these same tables; a run without layer reports has none of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.layer_table import Role, Validity, lost_db
from parity.report.figures import decibel, number, percent, worst_first
from parity.report.layer_names import WHOLE, nodes_text, shortened
from parity.report.text_table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from parity.layer_table import LayerReport, LayerRow
    from parity.results import Outcome, Run

    Key = Callable[[LayerRow], float]

_HEADINGS = ("role", "layer", "nodes", "in dB", "own dB", "gain dB", "over floor dB", "NaN, inf")
_FULL_HEADINGS = (
    *("#", "role", "layer", "operators", "precision"),
    *("inherited dB", "injected dB", "gain dB", "floor dB", "over floor dB", "NaN, inf (reference)"),
    *("ms", "saturated", "bins used", "reference range", "shape", "nodes", "observed by"),
)
_FULL_NUMERIC = frozenset({0, *range(5, 14)})
CURVE_COLUMNS = tuple(
    map(
        _FULL_HEADINGS.index,
        (
            *("layer", "role", "nodes", "operators", "precision", "inherited dB", "injected dB", "gain dB", "floor dB"),
            *("NaN, inf (reference)", "ms"),
        ),
    )
)
"""Columns of the full table that the curve's tooltip shows, the point's name first."""
FACETS = tuple(map(_FULL_HEADINGS.index, ("role", "precision")))
"""Columns of the full table that a reader filters by."""
_SHORT_NUMERIC = frozenset(range(3, 8))
_NOTE = (
    "SQNR in dB against the reference: inherited, in the whole variant; injected, of the layer alone on the "
    "reference's inputs. Gain is how much worse it leaves the layer than it reached it; over floor, how far the "
    "layer's own error is beyond what its precision and its sums allow. No nodes: the layer's name has them all."
)
_SHORTENED_NOTE = " Names of more than {room} characters are shortened at their beginning; layers.csv has them whole."
_SOURCES_NOTE = "A source makes error of its own; an amplifier makes what reaches it worse. The most harmful first."
_MAX_UNOBSERVED = 5
_MAX_NAME = 36


@dataclass(frozen=True, slots=True)
class LayerView:
    """What the terminal shows of layers.

    Attributes
    ----------
    sort
        ``graph``, ``inherited``, ``injected``, ``gain``, ``lost`` or ``time``.
    top
        So many rows.
    """

    sort: str = "graph"
    top: int = 10


def layer_outcomes(run: Run) -> list[tuple[Outcome, LayerReport]]:
    """Return the outcomes that observed layers, worst first, with what was observed."""
    return [(outcome, outcome.layers) for outcome in worst_first(run) if outcome.layers]


def source_sentences(report: LayerReport) -> list[str]:
    """Return a sentence for each source and amplifier, the most harmful first."""
    by_position = {row.position: row for row in report.rows}
    by_tensor = by_tensor_of(report)
    return [source_sentence(by_position[position], by_tensor) for position in report.sources]


def source_sentence(row: LayerRow, by_tensor: Mapping[str, LayerRow]) -> str:
    """Return what a source or an amplifier does to the error."""
    place = f"{row.layer} ({', '.join(row.operators)}, {row.precision})"
    more = row.nonfinite_candidate - row.nonfinite_reference
    if more > 0:
        low, high = row.reference_range
        plural = "s" if more != 1 else ""
        return (
            f"{place} makes {more:,} element{plural} NaN or infinite, of finite ones; "
            f"the reference's range is {number(low)} … {number(high)}"
        )
    lost = f"{lost_db(row, by_tensor):.0f} dB are lost in it"
    if row.role is Role.AMPLIFIER or row.injected is None:
        return f"{place} makes the error that reaches it worse; {lost}"
    return (
        f"{place} has {decibel(row.injected.sqnr_db)} dB on the reference's own inputs, "
        f"{decibel(row.distance_db)} dB beyond its floor; {lost}"
    )


def layer_lines(report: LayerReport) -> list[str]:
    """Return what a reader has to know of a report beside its rows, whether it holds first."""
    share = math.floor(1000 * report.coverage) / 10
    return [
        *_validity_lines(report),
        f"{share:g} % of the model's float tensors were observed, in {len(report.rows):,} rows",
        *_unobserved_lines(report),
        *report.notes,
    ]


def offenders_table(report: LayerReport, view: LayerView) -> Table:
    """Return the rows that a terminal has room for: the first of the asked order; of the graph's, the worst ones."""
    if view.sort == "graph":
        worst = _ordered(report, "lost")[: view.top]
        rows = sorted(worst, key=lambda row: row.position)
    else:
        rows = _ordered(report, view.sort)[: view.top]
    # Sources stand first, whatever the order of the rest.
    rows.sort(key=lambda row: _rank(report, row))
    shown = f"{len(rows)} of {len(report.rows)} layers"
    # Longer words for a role leave less of the line for the name.
    room = _MAX_NAME - max((0, *(len(row.role) - len(Role.SOURCE) for row in rows)))
    cells = tuple(_short_cells(row, room) for row in rows)
    return Table("Layers", shown, _HEADINGS, _SHORT_NUMERIC, cells)


def layer_tables(run: Run) -> list[Table]:
    """Return the tables of a run's layer reports: sources, then every row of each report."""
    found = layer_outcomes(run)
    sources = Table(
        "Where error is born",
        _SOURCES_NOTE,
        ("case", "variant", "rank", "what"),
        frozenset({2}),
        tuple(
            (outcome.case, outcome.variant, str(rank), sentence)
            for outcome, report in found
            for rank, sentence in enumerate(source_sentences(report), start=1)
        ),
    )
    return [table for table in (sources, *(layer_table(*pair) for pair in found)) if table.rows]


def layer_notes(run: Run) -> list[tuple[str, str]]:
    """Return (``case / variant``, note) for what a reader should know of layer reports."""
    return [
        (f"{outcome.case} / {outcome.variant}", line)
        for outcome, report in layer_outcomes(run)
        for line in layer_lines(report)
    ]


def by_tensor_of(report: LayerReport) -> dict[str, LayerRow]:
    """Return a report's rows by their tensor."""
    return {row.tensor: row for row in report.rows}


def _validity_lines(report: LayerReport) -> list[str]:
    if report.validity is Validity.INVALID:
        return [f"INVALID: what was observed is not what is shipped: {report.validity_reason}"]
    return [f"valid: {report.validity_reason}"] if report.validity_reason else []


def _unobserved_lines(report: LayerReport) -> list[str]:
    if not report.unobserved:
        return []
    left = len(report.unobserved) - _MAX_UNOBSERVED
    more = f"; {left} more" if left > 0 else ""
    return [f"{len(report.unobserved)} not observed: {'; '.join(report.unobserved[:_MAX_UNOBSERVED])}{more}"]


def _rank(report: LayerReport, row: LayerRow) -> int:
    return report.sources.index(row.position) if row.position in report.sources else len(report.sources)


def _ordered(report: LayerReport, sort: str) -> list[LayerRow]:
    """Return rows by what they are asked to be sorted by, the worst first; what was not measured stands last."""
    key = _keys(report)[sort]
    return sorted(report.rows, key=lambda row: (_rank(report, row), math.isnan(key(row)), key(row)))


def _keys(report: LayerReport) -> dict[str, Key]:
    by_tensor = by_tensor_of(report)
    return {
        "graph": lambda row: row.position,
        "inherited": lambda row: row.inherited.sqnr_db,
        "injected": lambda row: row.injected.sqnr_db if row.injected else math.nan,
        "gain": lambda row: math.nan if row.gain_db is None else -row.gain_db,
        "lost": lambda row: -lost_db(row, by_tensor),
        "time": lambda row: math.nan if row.time_ms is None else -row.time_ms,
    }


def _short_cells(row: LayerRow, room: int) -> tuple[str, ...]:
    return (
        str(row.role),
        shortened(row.layer, room),
        str(len(row.nodes)),
        decibel(row.inherited.sqnr_db),
        decibel(row.injected.sqnr_db if row.injected else None),
        decibel(row.gain_db),
        decibel(row.distance_db),
        f"{row.nonfinite_candidate:,}" if row.nonfinite_candidate else "",
    )


def layer_table(outcome: Outcome, report: LayerReport, room: int = WHOLE) -> Table:
    """Return every row of a report, with names of at most ``room`` characters."""
    title = f"Layers of {outcome.case} / {outcome.variant}"
    note = _NOTE if room == WHOLE else _NOTE + _SHORTENED_NOTE.format(room=room)
    return Table(title, note, _FULL_HEADINGS, _FULL_NUMERIC, tuple(_full_cells(row, room) for row in report.rows))


def _full_cells(row: LayerRow, room: int) -> tuple[str, ...]:
    grid = row.quantized
    return (
        *(str(row.position), str(row.role), shortened(row.layer, room), ", ".join(row.operators), row.precision),
        decibel(row.inherited.sqnr_db),
        decibel(row.injected.sqnr_db if row.injected else None),
        *(decibel(row.gain_db), decibel(row.floor_db), decibel(row.distance_db)),
        f"{row.nonfinite_candidate:,} ({row.nonfinite_reference:,})",
        "" if row.time_ms is None else f"{row.time_ms:.3g}",
        _share(grid.saturation_share) if grid else "",
        _share(grid.used_bin_share) if grid else "",
        " … ".join(map(number, row.reference_range)),
        " × ".join(map(str, row.shape)),  # noqa: RUF001 - a times sign, as in the table of outputs
        shortened(nodes_text(row), room),
        row.observed_by,
    )


def _share(share: float) -> str:
    return percent(round(share * 10**6), 10**6)
