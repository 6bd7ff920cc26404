"""Figures of a run as bars of one scale: how far, how large, how much. Only lengths are worked out here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.report.engines import to_blame
from parity.report.figures import decibel, number
from parity.verdict import Verdict

if TYPE_CHECKING:
    from parity.latency_table import JudgedBudget, Measurement
    from parity.results import Census, TensorOutcome

_MOST_BARS = 14


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: ``share`` of its track, 0 to 1; ``tone`` names its colour."""

    label: str
    share: float
    text: str
    tone: str = "accent"


@dataclass(frozen=True, slots=True)
class BarGroup:
    """Bars of one scale. ``limit`` is where a line crosses their tracks, 0 to 1; None where none does."""

    title: str
    bars: tuple[Bar, ...]
    limit: float | None = None
    note: str = ""


def error_groups(tensor: TensorOutcome) -> list[BarGroup]:
    """Return what an output's errors look like: levels, whose error it is against the bound, and its sizes."""
    groups = _level_group(tensor), _origin_group(tensor), _histogram_group(tensor), _size_group(tensor)
    return [group for group in groups if group]


def _level_group(tensor: TensorOutcome) -> BarGroup | None:
    """Return SQNR by origin beside the noise floor of the format, the least that is asked as the limit."""
    if tensor.difference is None:
        return None
    levels = [*_levels(tensor), ("noise floor", tensor.noise_floor_db, "faint")]
    least = tensor.tolerance.min_sqnr_db if tensor.tolerance else None
    top = max((level for _, level, _ in levels if math.isfinite(level)), default=0.0)
    scale = 1.05 * max(top, least or 0.0, 1.0)
    bars = tuple(Bar(name, _share(level, scale), _level(level), tone) for name, level, tone in levels)
    asked = "" if least is None else f" At least {decibel(least)} dB is asked, at the line."
    title = "Whose error it is: signal to noise" if tensor.triangulation else "Signal to noise"
    return BarGroup(title, bars, _limit(least, scale), f"Longer is better.{_blame(tensor)}{asked}")


def _level(level: float) -> str:
    shown = decibel(level)
    return shown if shown == "n/a" else f"{shown} dB"


def _blame(tensor: TensorOutcome) -> str:
    if tensor.triangulation is None:
        return ""
    return f" The distances do not add up. To blame: {to_blame(tensor)}."


def _levels(tensor: TensorOutcome) -> list[tuple[str, float, str]]:
    found = tensor.triangulation
    if found is None:
        return [("this output", tensor.difference.sqnr_db if tensor.difference else math.nan, "accent")]
    whose = "fail" if found.blames_engine else "second"
    return [
        ("precision", found.conversion.sqnr_db, "accent"),
        ("engine", found.engine.sqnr_db, whose),
        ("together", found.total.sqnr_db, "accent"),
    ]


def _origin_group(tensor: TensorOutcome) -> BarGroup | None:
    """Return the largest errors by origin against the bound of the worst element; None without a triangulation."""
    found = tensor.triangulation
    if found is None:
        return None
    bound = _bound(tensor)
    parts = ("precision", found.conversion), ("engine", found.engine), ("together", found.total)
    scale = 1.05 * max([part.max_absolute for _, part in parts if math.isfinite(part.max_absolute)] + [bound or 0.0])
    bars = tuple(
        Bar(name, _share(part.max_absolute, scale), number(part.max_absolute), _tone(part.max_absolute, bound, tensor))
        for name, part in parts
    )
    note = "" if bound is None else f"Line: {number(bound)}, the bound of the element with the largest error."
    return BarGroup("Whose error it is: largest error", bars, _limit(bound, scale), note)


def _size_group(tensor: TensorOutcome) -> BarGroup | None:
    """Return percentiles of the absolute error on a logarithmic scale; None where nothing differs."""
    difference = tensor.difference
    if difference is None or difference.worst_absolute is None:
        return None
    sizes = {
        "median": difference.p50_absolute,
        "99 %": difference.p99_absolute,
        "99.9 %": difference.p999_absolute,
        "largest": difference.worst_absolute.difference,
    }
    bound = _bound(tensor)
    known = [size for size in (*sizes.values(), bound) if size is not None and 0 < size < math.inf]
    if not known:
        return None
    low, high = math.floor(math.log10(min(known))) - 1, math.ceil(math.log10(max(known)))

    def place(size: float) -> float:
        return _share(math.log10(size) - low, max(high - low, 1)) if size > 0 else 0.0

    bars = tuple(Bar(name, place(size), number(size), _tone(size, bound, tensor)) for name, size in sizes.items())
    bounded = "" if bound is None else f" Line: {number(bound)}, the bound of the element with the largest error."
    # Percentiles are read off a histogram of narrow bins.
    near = f" Percentiles are up to {100 * difference.percentile_bin_error:.2g} % too large."
    note = f"Logarithmic, 1e{low} to 1e{high}.{bounded}{near}"
    return BarGroup("Sizes of the errors", bars, place(bound) if bound else None, note)


def _histogram_group(tensor: TensorOutcome) -> BarGroup | None:
    """Return how many elements differ by how much, some octaves a bar; None where a run has no histogram."""
    octaves = tensor.difference.octaves if tensor.difference else ()
    if not octaves:
        return None
    width = -(-(octaves[-1][0] - octaves[0][0] + 1) // _MOST_BARS)
    counts: dict[int, int] = {}
    for exponent, count in octaves:
        first = exponent - (exponent - octaves[0][0]) % width
        counts[first] = counts.get(first, 0) + count
    bound, top = _bound(tensor), math.log1p(max(counts.values()))
    bars = tuple(
        Bar(
            f"≥ {2.0**first:.2g}",
            _share(math.log1p(counts.get(first, 0)), top),
            f"{counts.get(first, 0):,}",
            _tone(2.0**first, bound, tensor),
        )
        for first in range(octaves[0][0], octaves[-1][0] + 1, width)
    )
    equal = tensor.difference.element_count - sum(counts.values()) if tensor.difference else 0
    note = f"Elements by absolute error, lengths logarithmic. {equal:,} more are equal or not finite."
    return BarGroup("Histogram of the errors", bars, None, note)


def census_group(census: Census) -> BarGroup:
    """Return how many of an engine's arithmetic layers run at each precision, the asked share as the limit."""
    total = sum(row.arithmetic_count for row in census.rows)
    bars = tuple(
        Bar(
            "not seen" if row.precision == "none" else row.precision,
            _share(row.arithmetic_count, total),
            f"{row.arithmetic_count} of {total}",
            "accent" if row.precision == census.asked else "faint",
        )
        for row in census.rows
        if row.arithmetic_count
    )
    note = f"{census.asked} was asked; the line is the least share of it that passes."
    return BarGroup("Arithmetic layers by precision", bars, census.minimum_share, note)


def latency_group(found: Measurement, budgets: tuple[JudgedBudget, ...]) -> BarGroup:
    """Return the percentiles of one measurement, a budget of the median as the limit."""
    judged = found.judged
    times = {
        "fastest": judged.minimum_ms,
        "median": judged.median_ms,
        "90 %": judged.p90_ms,
        "95 %": judged.p95_ms,
        "99 %": judged.p99_ms,
        "slowest": judged.maximum_ms,
    }
    limit = next((b.limit for b in budgets if b.figure == "median_ms" and b.batch_size == found.batch_size), None)
    scale = 1.05 * max(judged.maximum_ms, limit or 0.0)
    bars = tuple(Bar(name, _share(ms, scale), f"{ms:.4g} ms") for name, ms in times.items())
    note = "" if limit is None else f"Line: {limit:g} ms, the budget of the median."
    title = f"Batch {found.batch_size}, {found.clock} clock, {judged.count:,} readings"
    return BarGroup(title, bars, _limit(limit, scale), note)


def _bound(tensor: TensorOutcome) -> float | None:
    """Return what was allowed at the element with the largest error, where its elements are bound at all."""
    worst = tensor.difference.worst_absolute if tensor.difference else None
    if worst is None or not tensor.is_bound or not math.isfinite(worst.allowed):
        return None
    return worst.allowed


def _tone(size: float, bound: float | None, tensor: TensorOutcome) -> str:
    """Return the colour of an error: one beyond its bound need not fail where some elements may miss it."""
    if bound is None or size <= bound:
        return "accent"
    return "inconclusive" if tensor.verdict is Verdict.PASS else "fail"


def _share(value: float, scale: float) -> float:
    if math.isnan(value) or scale <= 0:
        return 0.0
    return min(1.0, max(0.0, value / scale))


def _limit(value: float | None, scale: float) -> float | None:
    return None if value is None else _share(value, scale)
