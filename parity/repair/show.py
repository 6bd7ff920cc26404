"""Repairs and sensitivities as text for a terminal: at most 100 columns, commands and lists never wrapped."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TextIO

from parity.repair.mend import tries_text
from parity.report.figures import decibel, ratio
from parity.report.terminal import MAX_WIDTH, console_of, line_of, plain_table
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from parity.diagnosis import Diagnosis
    from parity.repair.confirm import Confirmation, Latency
    from parity.repair.mend import Repair
    from parity.repair.search import Tried
    from parity.repair.sensitivity import Sensitivity, SensitivityRow

_MAX_ROWS = 10
_MAX_CAUSES = 2
_FRONT = ("kept nodes", "verdict", "headroom", "SQNR dB", "nodes")
_NODES = ("node", "operator", "lowered alone dB", "headroom", "kept alone dB", "headroom")


def print_repair(repair: Repair, table: str, next_command: str, stream: TextIO) -> None:
    """Print what was tried, the list to paste, the engine's word, the status, and what comes next.

    Parameters
    ----------
    table
        Where all of the front was written; empty if nowhere.
    """
    console = console_of(stream)
    if repair.search is not None and (repair.search.tries or repair.search.known):
        _print_table(console, _FRONT, [_front_cells(one) for one in repair.search.front], numeric={0, 2, 3})
        least = any(not one.trial.is_whole for one in repair.search.front)
        notes = [">=: one feed failed, and the others were not run"] if least else []
        _print_lines(console, [*notes, *repair.notes])
    if repair.causes:
        _print_lines(console, [*_cause_lines(repair.causes), ""])
    if repair.keep:
        _print_lines(console, _list_to_paste(repair))
    if repair.confirmation is not None:
        _print_lines(console, [*_confirmation_lines(repair.confirmation), ""])
    effort = f" ({_effort(repair)})" if repair.search is not None else ""
    _print_lines(console, [f"{repair.case} / {repair.variant}: {repair.status}: {repair.reason}{effort}"])
    _print_end(console, table, next_command)


def _print_end(console: Console, table: str, next_command: str) -> None:
    """Print where the whole table is, and the next command: both are copied, so they are not wrapped."""
    lines = [f"{what}: {text}" for what, text in (("table", table), ("next", next_command)) if text]
    _print_lines(console, lines, wraps=False)


def _cause_lines(causes: Sequence[Diagnosis]) -> list[str]:
    """Return the confirmed causes, each of which may need nodes kept; the likeliest where none is."""
    shown = [cause for cause in causes if cause.is_confirmed] or causes[:1]
    return [
        f"likely cause: {cause.title} ({cause.cause}, certainty {100 * cause.certainty:.0f} %)"
        for cause in shown[:_MAX_CAUSES]
    ]


def keep_lines(repair: Repair) -> list[str]:
    """Return the lines of the variant's table in a case file."""
    entries = [f'    "{_escaped(entry)}",' for entry in repair.keep]
    precision = [] if repair.keep_precision == "fp32" else [f'keep_precision = "{repair.keep_precision}"']
    if sum(map(len, entries)) <= MAX_WIDTH // 2:
        return [f"keep = [{', '.join(entry.strip(' ,') for entry in entries)}]", *precision]
    return ["keep = [", *entries, "]", *precision]


def _list_to_paste(repair: Repair) -> list[str]:
    table = f"[variants.{repair.variant.partition('@')[0]}]"
    return [f"into {table} of case.toml, beside what it keeps already:", *(f"    {x}" for x in keep_lines(repair)), ""]


def _escaped(entry: str) -> str:
    """Return a name as the inside of a basic TOML string."""
    plain = entry.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in plain)


def reason_to_write(repair: Repair) -> str:
    """Return the comment that stands beside the list in a case file."""
    assert repair.search is not None
    assert repair.search.found is not None
    after = repair.search.found.trial
    minimal = ", none can be dropped" if repair.search.is_minimal else ""
    return (
        f"parity repair: without these {repair.precision} has headroom {ratio(repair.before.severity)}, "
        f"with them {ratio(after.severity)}{minimal}"
    )


def _front_cells(one: Tried) -> tuple[str, ...]:
    least = "" if one.trial.is_whole or math.isinf(one.trial.severity) else ">= "
    names = sorted(one.kept)
    shown = ", ".join(names[:3]) + (f", ... {len(names) - 3} more" if len(names) > 3 else "")
    return (
        str(len(one.kept)),
        str(one.trial.verdict),
        f"{least}{ratio(one.trial.severity)}",
        decibel(one.trial.sqnr_db),
        shown,
    )


def _effort(repair: Repair) -> str:
    assert repair.search is not None
    return f"{tries_text(repair.search)}, {repair.search.elapsed_s:.1f} s"


def _confirmation_lines(confirmation: Confirmation) -> Iterable[str]:
    for name, trial, latency in (
        ("as it is", confirmation.plain, confirmation.plain_latency),
        ("with the nodes kept", confirmation.kept, confirmation.kept_latency),
    ):
        figures = f"headroom {ratio(trial.severity)}, SQNR {decibel(trial.sqnr_db)} dB{_latency(latency)}"
        yield f"{confirmation.backend}, {name}: {trial.verdict}, {figures}"
    plain, kept = confirmation.plain_latency, confirmation.kept_latency
    if plain is not None and kept is not None:
        yield _cost(plain, kept)
    yield from confirmation.notes


def _latency(latency: Latency | None) -> str:
    if latency is None:
        return ""
    return f", {latency.median_ms:.4g} ms ({latency.low_ms:.4g} to {latency.high_ms:.4g} by round)"


def _cost(plain: Latency, kept: Latency) -> str:
    if not kept.differs_from(plain):
        return "keeping them costs no more than the rounds differ among themselves"
    change = 100.0 * (kept.median_ms / plain.median_ms - 1.0)
    return f"keeping them changes the median GPU time by {change:+.1f} %"


def print_sensitivity(sensitivity: Sensitivity, table: str, next_command: str, stream: TextIO) -> None:
    """Print the nodes that matter most, whether the budget ended, and what comes next.

    Parameters
    ----------
    table
        Where all nodes were written; empty if nowhere.
    """
    console = console_of(stream)
    rows = sorted(sensitivity.rows, key=_order)
    _print_table(console, _NODES, [_node_cells(row) for row in rows[:_MAX_ROWS]], numeric={2, 3, 4, 5})
    left_out = [f"{len(rows) - _MAX_ROWS} nodes that matter less are left out"] if len(rows) > _MAX_ROWS else []
    missing = sensitivity.node_count - len(rows)
    budget = [f"the budget ended: {missing} of {sensitivity.node_count} nodes were not measured"] if missing else []
    _print_lines(console, [*left_out, *budget, _plain_line(sensitivity)])
    _print_end(console, table, next_command)


def _plain_line(sensitivity: Sensitivity) -> str:
    plain = sensitivity.plain
    what = f"{sensitivity.case} / {sensitivity.variant}: {plain.verdict} as it is"
    if plain.verdict in {Verdict.PASS, Verdict.FAIL}:
        return f"{what}, headroom {ratio(plain.severity)}, SQNR {decibel(plain.sqnr_db)} dB"
    return f"{what}, so that no node can be told from another: {plain.reason}"


def _order(row: SensitivityRow) -> tuple[float, ...]:
    """Rank a node that mends all by itself first, then by the harm that it does alone; figures may be NaN."""
    lowered_db = math.inf if math.isnan(row.lowered_db) else row.lowered_db
    harm = math.inf if math.isnan(row.lowered_headroom) else row.lowered_headroom
    return row.kept_verdict is not Verdict.PASS, -harm, lowered_db


def _node_cells(row: SensitivityRow) -> tuple[str, ...]:
    lowered = decibel(row.lowered_db), ratio(row.lowered_headroom)
    return row.node, row.operator, *lowered, decibel(row.kept_db), ratio(row.kept_headroom)


def _print_table(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]], numeric: set[int]) -> None:
    console.print(plain_table(headings, rows, numeric))
    console.print()


def _print_lines(console: Console, lines: Iterable[str], *, wraps: bool = True) -> None:
    for line in lines:
        # What is indented is copied: never wrapped.
        console.print(line_of(line), soft_wrap=not wraps or line.startswith(" "))
