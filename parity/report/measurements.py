"""What trtexec measured, as a table for a terminal, CSV files and one line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, TextIO

from parity.interop.timing import TimeSummary
from parity.report.figures import one_line
from parity.report.tables import csv_text
from parity.report.writing import write_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rich.table import Table

    from parity.interop.trtexec import MeasuredLayer
    from parity.results import Census
    from parity.verdict import Verdict

    Row = Mapping[str, object]

LAYERS_COLUMNS = ("position", "layer", "kind", "nodes", "precision", "median_ms", "average_ms", "share", "tactic")
TIMES_COLUMNS = tuple(field.name for field in fields(TimeSummary))
CENSUS_COLUMNS = ("asked", "precision", "layer_count", "time_ms", "arithmetic_count", "arithmetic_time_ms")

MAX_WIDTH = 100
_TIMES_HEADINGS = ("time, ms", "count", "median", "p90", "p95", "p99", "CV %")
_NOT_SEEN = "?"


@dataclass(frozen=True, slots=True)
class CensusFinding:
    """What an engine runs against what a case's variant asks: the counts, the verdict, one sentence and the reasons."""

    census: Census
    verdict: Verdict
    headline: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurements:
    """What was read. Layers in order of execution; ``notes`` are sentences for the reader."""

    layers: tuple[MeasuredLayer, ...] = ()
    times: tuple[TimeSummary, ...] = ()
    census: CensusFinding | None = None
    notes: tuple[str, ...] = ()


def print_measurements(found: Measurements, stream: TextIO, *, by_time: bool = False) -> None:
    """Print tables of at most 100 columns.

    Parameters
    ----------
    by_time
        Layers with the most time first; else in order of execution.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, markup=False, emoji=False, highlight=False, width=MAX_WIDTH)
    for table in _tables(found, by_time=by_time):
        console.print(table)
        console.print()
    census = found.census
    lines = [f"{census.verdict}: {census.headline}", *census.reasons] if census else []
    for line in (*lines, *found.notes):
        console.print(Text(one_line(line)), soft_wrap=True)


def write_measurements(found: Measurements, folder: Path) -> list[Path]:
    """Write ``layers.csv``, ``times.csv`` and ``census.csv``, each where there is something in it; return their paths.

    Raises
    ------
    RunError
        The folder is missing, or may not be written.
    """
    tables: list[tuple[str, list[Row], tuple[str, ...]]] = [
        ("layers.csv", [_layer_row(*item) for item in enumerate(found.layers)], LAYERS_COLUMNS),
        ("times.csv", [asdict(times) for times in found.times], TIMES_COLUMNS),
        ("census.csv", _census_rows(found.census), CENSUS_COLUMNS),
    ]
    return [write_text(folder / name, csv_text(rows, columns)) for name, rows, columns in tables if rows]


def measurements_json(found: Measurements) -> str:
    """Return one line of strict JSON; what was not measured is null."""
    census = found.census
    judged = {"verdict": census.verdict, "headline": census.headline, "reasons": census.reasons} if census else {}
    content = {
        "layers": [
            {**_layer_row(number, measured), "nodes": measured.layer.nodes if measured.layer else None}
            for number, measured in enumerate(found.layers)
        ],
        "times": [asdict(times) for times in found.times],
        "census": judged | {"rows": _census_rows(census)} if census else None,
        "notes": found.notes,
    }
    return json.dumps(content, allow_nan=False)


def _layer_row(position: int, found: MeasuredLayer) -> dict[str, object]:
    """Return a layer by ``LAYERS_COLUMNS``; None where a file did not have it."""
    layer, row = found.layer, found.row
    return {
        "position": position,
        "layer": found.name,
        "kind": layer.kind if layer else None,
        "nodes": " + ".join(layer.nodes) if layer else None,
        "precision": layer.precision if layer else None,
        "median_ms": row.median_ms if row else None,
        "average_ms": row.average_ms if row else None,
        "share": row.share if row else None,
        "tactic": layer.tactic if layer else None,
    }


def _census_rows(found: CensusFinding | None) -> list[Row]:
    return [{"asked": found.census.asked, **asdict(row)} for row in found.census.rows] if found else []


def _tables(found: Measurements, *, by_time: bool) -> Iterator[Table]:
    if found.layers:
        order = sorted(found.layers, key=_time, reverse=True) if by_time else found.layers
        table = _table(("layer", "nodes", "precision", "ms", "share"), numeric_from=3)
        for layer in order:
            table.add_row(*_layer_cells(layer))
        yield table
    if found.times:
        table = _table(_TIMES_HEADINGS, numeric_from=1)
        for times in found.times:
            table.add_row(*_time_cells(times))
        yield table


def _table(headings: tuple[str, ...], numeric_from: int) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, heading in enumerate(headings):
        is_number = number >= numeric_from
        table.add_column(
            heading,
            justify="right" if is_number else "left",
            no_wrap=is_number or heading == "precision",
            overflow="fold",
        )
    return table


def _time(found: MeasuredLayer) -> float:
    return found.row.typical_ms if found.row else -1.0


def _layer_cells(found: MeasuredLayer) -> tuple[str, ...]:
    layer, row = found.layer, found.row
    # The name of a fused layer mostly repeats its nodes.
    nodes = " + ".join(layer.nodes) if layer else ""
    return (
        one_line(found.name),
        "" if nodes == found.name else one_line(nodes),
        layer.precision if layer else _NOT_SEEN,
        f"{row.typical_ms:.4g}" if row else _NOT_SEEN,
        f"{row.share:.1%}" if row else _NOT_SEEN,
    )


def _time_cells(times: TimeSummary) -> tuple[str, ...]:
    figures = (times.median, times.p90, times.p95, times.p99)
    variation = _NOT_SEEN if times.variation_percent is None else f"{times.variation_percent:.3g}"
    return (times.name, str(times.count), *(f"{figure:.4g}" for figure in figures), variation)
