"""Latency in reports: ``latency.csv``, and tables of text that terminal, Markdown and HTML share."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from parity.report.figures import SIGNS, number
from parity.report.latency_gain import gain_notes, gain_table, rebuild_table
from parity.report.latency_layers import slow_layers_table
from parity.report.tables import csv_text
from parity.report.text_table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from parity.latency_table import GpuConditions, JudgedBudget, LatencyMode, LatencyRecord, Measurement
    from parity.results import Outcome, Run
    from parity.stats import LatencyStatistics

_STATISTICS = ("count", "mean_ms", "median_ms", "p90_ms", "p95_ms", "p99_ms", "minimum_ms", "maximum_ms", "cv")
_CONDITIONS = (
    *("sample_count", "clock_minimum_mhz", "clock_median_mhz", "clock_maximum_mhz", "temperature_c", "power_w"),
    *("throttle_reasons", "other_processes"),
)
LATENCY_COLUMNS = (
    *(
        "case",
        "variant",
        "precision",
        "verdict",
        "batch_size",
        "build",
        "clock",
        *_STATISTICS,
        "rows_per_s",
        "is_judged",
    ),
    *("cuda_graph", "streams", "transfers", "engine_sha256", *_CONDITIONS, "disturbances"),
)


def latency_csv(run: Run) -> str:
    """Return what was measured as CSV, one row for each variant, batch size and clock; empty where nothing was."""
    rows = [row for outcome, record in _records(run.outcomes) for row in _csv_rows(outcome, record)]
    return csv_text(rows, LATENCY_COLUMNS) if rows else ""


def _csv_rows(outcome: Outcome, record: LatencyRecord) -> Iterator[dict[str, object]]:
    shared = {
        "case": outcome.case,
        "variant": outcome.variant,
        "precision": outcome.precision,
        "verdict": str(outcome.verdict),
        "engine_sha256": outcome.engine.sha256 if outcome.engine else "",
        **{name: getattr(record.mode, name) for name in ("cuda_graph", "streams")},
    }
    for build, found in _numbered(record):
        for clock in ("gpu", "host", "host_compute", "enqueue"):
            statistics = getattr(found, clock)
            if statistics is not None:
                yield {
                    **shared,
                    **{name: getattr(statistics, name) for name in _STATISTICS},
                    **_conditions(found.conditions),
                    "clock": clock,
                    "build": build,
                    "batch_size": found.batch_size,
                    "rows_per_s": found.rows_per_s,
                    "is_judged": clock == found.clock,
                    "transfers": record.mode.transfers and clock == "host",
                    "disturbances": "; ".join(found.disturbances),
                }


def _numbered(record: LatencyRecord) -> Iterator[tuple[int, Measurement]]:
    """Yield each measurement with the number of the build: 0 for the engine that is judged, rebuilt ones from 1 on."""
    counts: Counter[int] = Counter()
    yield from ((0, found) for found in record.measurements)
    for found in record.rebuilds:
        counts[found.batch_size] += 1
        yield counts[found.batch_size], found


def _conditions(seen: GpuConditions | None) -> dict[str, object]:
    if seen is None:
        return {}
    told = {name: getattr(seen, name) for name in _CONDITIONS}
    return told | {"throttle_reasons": "; ".join(seen.throttle_reasons)}


def latency_tables(outcomes: Sequence[Outcome]) -> list[Table]:
    """Return the tables of what was measured; those without rows as well."""
    return [
        latency_table(outcomes),
        gain_table(outcomes),
        _budget_table(outcomes),
        _mode_table(outcomes),
        rebuild_table(outcomes),
        slow_layers_table(outcomes),
    ]


def latency_table(outcomes: Sequence[Outcome], *, is_short: bool = False) -> Table:
    """Return a row for each variant and batch size; short, without the case and what only a wide page has room for."""
    return Table(
        "Latency",
        "Of one inference of a whole batch, in ms, on the clock that is judged: gpu, from the first kernel to the "
        "last, or host, with transfers. Rows a second count the host's time, all streams together.",
        (
            *(() if is_short else ("case",)),
            *("variant", "batch", "clock", "median", "p90", "p95", "p99", "cv", "rows/s"),
            *(() if is_short else ("host median", "without transfers", "enqueue median")),
            "verdict",
        ),
        frozenset({1, *range(3, 9)} if is_short else {2, *range(4, 13)}),
        tuple(
            (
                *(() if is_short else (outcome.case,)),
                *_cells(outcome, found, is_short=is_short),
                f"{SIGNS[outcome.verdict]} {outcome.verdict}",
            )
            for outcome, record in _records(outcomes)
            for found in record.measurements
        ),
    )


def _cells(outcome: Outcome, found: Measurement, *, is_short: bool) -> tuple[str, ...]:
    judged = found.judged
    figures = map(_ms, (judged.median_ms, judged.p90_ms, judged.p95_ms, judged.p99_ms))
    more = (_median(clock) for clock in (found.host, found.host_compute, found.enqueue))
    return (
        *(outcome.variant, str(found.batch_size), found.clock, *figures),
        *(f"{judged.cv:.1%}", f"{found.rows_per_s:.1f}", *(() if is_short else more)),
    )


def _median(clock: LatencyStatistics | None) -> str:
    return _ms(clock.median_ms if clock else None)


def _budget_table(outcomes: Sequence[Outcome]) -> Table:
    return Table(
        "Latency budgets",
        "Median and 99th percentile in ms, ratios of medians.",
        ("case", "variant", "batch", "figure", "of", "measured", "limit", "verdict", "reason", "detail"),
        frozenset({2, 5, 6}),
        tuple(
            (outcome.case, outcome.variant, *_budget_cells(row))
            for outcome, record in _records(outcomes)
            for row in record.budgets
        ),
    )


def _budget_cells(row: JudgedBudget) -> tuple[str, ...]:
    of = f"{row.to}, {row.clock}" if row.to else row.clock
    verdict = f"{SIGNS[row.verdict]} {row.verdict}"
    return str(row.batch_size), row.figure, of, number(row.value), number(row.limit), verdict, row.reason, row.detail


def _mode_table(outcomes: Sequence[Outcome]) -> Table:
    return Table(
        "How latency was measured",
        "Times are comparable where all of this is equal. Clocks in MHz: least, median, largest seen.",
        ("case", "variant", "batch", "readings", "mode", "clocks", "°C", "W", "disturbed by"),
        frozenset({2, 3, 6, 7}),
        tuple(
            (
                *(outcome.case, outcome.variant, str(found.batch_size), str(found.judged.count), _mode(record.mode)),
                *_seen(found.conditions),
                "; ".join(found.disturbances) or "nothing seen",
            )
            for outcome, record in _records(outcomes)
            for found in record.measurements
        ),
    )


def _mode(mode: LatencyMode) -> str:
    graph = "CUDA graph" if mode.cuda_graph else "no CUDA graph"
    asked = " (asked for)" if mode.cuda_graph_asked and not mode.cuda_graph else ""
    return f"{graph}{asked}, streams: {mode.streams}, warm-up {mode.warm_up_ms:g} ms, at least {mode.least_s:g} s"


def _seen(seen: GpuConditions | None) -> tuple[str, str, str]:
    if seen is None:
        return "not seen", "n/a", "n/a"
    clocks = seen.clock_minimum_mhz, seen.clock_median_mhz, seen.clock_maximum_mhz
    return "/".join("n/a" if c is None else str(c) for c in clocks), number(seen.temperature_c), number(seen.power_w)


def latency_notes(run: Run) -> list[tuple[str, str]]:
    """Return (``case / variant``, note) for what a reader should know of how latency was measured."""
    return gain_notes(run.outcomes) + [
        (f"{outcome.case} / {outcome.variant}", note)
        for outcome, record in _records(run.outcomes)
        for note in (*record.unmeasured, *record.notes)
    ]


def _records(outcomes: Sequence[Outcome]) -> Iterator[tuple[Outcome, LatencyRecord]]:
    return ((outcome, outcome.latency) for outcome in outcomes if outcome.latency)


def _ms(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4g}"
