"""In which order nodes are worth keeping: where error is born, with the neighbours; then by what each layer adds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from parity.layer_table import lost_db

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from parity.layer_table import LayerReport, LayerRow
    from parity.repair.search import Kept

_STEPS = 3
"""How far from a source nodes are worth keeping before others."""


def rank_units(
    units: Sequence[Kept], report: LayerReport | None = None, suspects: Iterable[str] = ()
) -> tuple[Kept, ...]:
    """Return units, the most promising first.

    Parameters
    ----------
    units
        In the order that stands where nothing else is known.
    report
        What was observed of the variant's layers; None where nothing was.
    suspects
        Nodes that diagnoses want kept; they come first.
    """
    names = [*suspects, *(_by_report(report) if report is not None else ())]
    places = {name: place for place, name in reversed(list(enumerate(names)))}
    return tuple(sorted(units, key=lambda unit: min(places.get(name, len(names)) for name in unit)))


def _by_report(report: LayerReport) -> Iterator[str]:
    by_position = {row.position: row for row in report.rows}
    for position in report.sources:
        yield from _neighbourhood(by_position[position], report.rows)
    by_tensor = {row.tensor: row for row in report.rows}
    for row in sorted(report.rows, key=lambda row: (-lost_db(row, by_tensor), _injected_db(row), row.position)):
        yield from row.nodes


def _neighbourhood(source: LayerRow, rows: Sequence[LayerRow]) -> Iterator[str]:
    """Yield a layer's nodes, then those of layers one step from it, two, and three; readers first.

    What overflows has to reach its readers unrounded; what cancels was rounded some steps before.
    """
    by_tensor = {row.tensor: row for row in rows}
    seen = {source.position}
    edge = [source]
    for _ in range(_STEPS + 1):
        for row in edge:
            yield from row.nodes
        near = [other for row in edge for other in _next_to(row, rows, by_tensor)]
        edge = list({row.position: row for row in near if row.position not in seen}.values())
        seen |= {row.position for row in edge}


def _next_to(row: LayerRow, rows: Sequence[LayerRow], by_tensor: Mapping[str, LayerRow]) -> list[LayerRow]:
    readers = [other for other in rows if row.tensor in other.inputs]
    return [*readers, *(by_tensor[name] for name in row.inputs if name in by_tensor)]


def _injected_db(row: LayerRow) -> float:
    """Return the SQNR of what a layer adds, the smaller the more promising; infinite where it is not known."""
    value = math.inf if row.injected is None else row.injected.sqnr_db
    return math.inf if math.isnan(value) else value
