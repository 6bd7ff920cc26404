"""A layer report as a curve over depth, scaled to a drawing: the template writes it as SVG, without a script."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from parity.layer_table import Role
from parity.report.figures import decibel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from parity.layer_table import LayerReport, LayerRow

WIDTH, HEIGHT = 1100, 320
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 34
_MAX_DB = 160.0
"""What is better is drawn there: equal tensors have infinitely many."""
_TICK_DB = 20


@dataclass(frozen=True, slots=True)
class Mark:
    """A row of the report at its place in the drawing, in pixels; ``kind`` chooses its shape and colour."""

    x: float
    y: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A level in dB, at its height in pixels."""

    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A drawing of ``WIDTH`` x ``HEIGHT`` pixels.

    Attributes
    ----------
    inherited, floor
        Points of lines, as SVG takes them; several where something was not measured in between.
    marks
        One for each row, sources last, so that they lie on top.
    """

    inherited: tuple[str, ...]
    floor: tuple[str, ...]
    marks: tuple[Mark, ...]
    ticks: tuple[Tick, ...]


def layer_curve(report: LayerReport) -> Curve | None:
    """Return the curve of a report; None where it has no level to draw."""
    levels = [_level(row.inherited.sqnr_db) for row in report.rows] + [_level(row.floor_db) for row in report.rows]
    known = [level for level in levels if level is not None]
    if not known:
        return None
    low = min(0.0, _TICK_DB * math.floor(min(known) / _TICK_DB))
    high = max(low + _TICK_DB, _TICK_DB * math.ceil(max(known) / _TICK_DB))

    def at(place: int) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / len(report.rows), 1)

    def height(level: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (high - level) / (high - low), 1)

    marks = [_mark(row, at(place), height, low) for place, row in enumerate(report.rows)]
    return Curve(
        inherited=_lines([(at(i), _level(row.inherited.sqnr_db)) for i, row in enumerate(report.rows)], height),
        floor=_lines([(at(i), _level(row.floor_db)) for i, row in enumerate(report.rows)], height),
        marks=tuple(sorted(marks, key=lambda mark: mark.kind in {Role.SOURCE, Role.AMPLIFIER})),
        ticks=tuple(Tick(height(level), f"{level:.0f}") for level in range(int(low), int(high) + 1, _TICK_DB)),
    )


def _level(value: float) -> float | None:
    return None if math.isnan(value) else max(-_MAX_DB, min(_MAX_DB, value))


def _mark(row: LayerRow, x: float, height: Callable[[float], float], low: float) -> Mark:
    level = _level(row.inherited.sqnr_db)
    sick = row.nonfinite_candidate > row.nonfinite_reference
    # Its level is that of the finite elements alone, which would hide the others.
    y = height(low if sick or level is None else level)
    extra = f", {row.nonfinite_candidate:,} NaN or infinite" if row.nonfinite_candidate else ""
    title = (
        f"{row.position} {row.layer}: {row.role}, inherited {decibel(row.inherited.sqnr_db)} dB, "
        f"floor {decibel(row.floor_db)} dB{extra}"
    )
    return Mark(x, y, str(row.role), title)


def _lines(points: Sequence[tuple[float, float | None]], height: Callable[[float], float]) -> tuple[str, ...]:
    """Return points as lines that are broken where a level is missing."""
    runs = groupby(points, lambda point: point[1] is not None)
    lines = ([f"{x},{height(level)}" for x, level in run if level is not None] for _, run in runs)
    return tuple(" ".join(line) for line in lines if line)
