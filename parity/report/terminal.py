"""The table at the end of ``parity run``, and what stands below it. At most 100 columns wide."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from parity.report.figures import (
    FORECAST_NOTE,
    SIGNS,
    decibel,
    failed,
    has_forecast,
    headroom,
    mismatch_share,
    one_line,
    place,
    ratio,
    run_verdict,
    variant_notes,
    verdict_line,
    worst_first,
    worst_tensors,
)
from parity.verdict import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from parity.results import Outcome, Run

MAX_WIDTH = 100
_MAX_FAILURES = 10
_MAX_MESSAGE_LINES = 20

_COLOURS = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.ERROR: "magenta",
    Verdict.SKIPPED: "dim",
}
# For streams that cannot carry the signs, such as a pipe under LANG=C.
_ASCII_SIGNS = {
    Verdict.PASS: "+",
    Verdict.FAIL: "x",
    Verdict.INCONCLUSIVE: "?",
    Verdict.ERROR: "!",
    Verdict.SKIPPED: "-",
}


def print_run(run: Run, report: Path, stream: TextIO) -> None:
    """Print a run: the table, what failed, what the figures prove, the verdict; the report's path last."""
    console = _console(stream)
    if run.outcomes:
        console.print(_table(run, _signs(stream)))
    for block in (_failure_lines(run, _signs(stream)), _note_lines(run), [FORECAST_NOTE] if has_forecast(run) else []):
        for line in block:
            # A command is copied: never wrapped.
            console.print(_text(line), soft_wrap=line.startswith(" "))
        if block:
            console.print()
    verdict = run_verdict(run)
    console.print(_text(f"{_signs(stream)[verdict]} {verdict_line(run)}", _COLOURS[verdict]))
    console.print(_text(f"report: {report}"), soft_wrap=True)


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    width = None if stream.isatty() else MAX_WIDTH
    console = Console(file=stream, markup=False, emoji=False, highlight=False, width=width)
    console.width = min(console.width, MAX_WIDTH)
    return console


def _signs(stream: TextIO) -> dict[Verdict, str]:
    try:
        "".join(SIGNS.values()).encode(stream.encoding)
    except UnicodeEncodeError:
        return _ASCII_SIGNS
    return SIGNS


def _table(run: Run, signs: dict[Verdict, str]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in ("case", "variant"):
        table.add_column(name, overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("worst output", overflow="fold")
    for name in ("SQNR dB", "headroom", "mismatches"):
        table.add_column(name, justify="right", no_wrap=True)
    for outcome in worst_first(run):
        verdict = _text(f"{signs[outcome.verdict]} {outcome.verdict}", _COLOURS[outcome.verdict])
        table.add_row(_text(outcome.case), _text(outcome.variant), verdict, *map(_text, _worst_cells(outcome)))
    return table


def _worst_cells(outcome: Outcome) -> tuple[str, str, str, str]:
    worst = next(iter(worst_tensors(outcome)), None)
    if worst is None or worst.difference is None:
        return worst.output if worst else "", "n/a", "n/a", "n/a"
    return worst.output, decibel(worst.difference.sqnr_db), ratio(headroom(worst.difference)), mismatch_share(worst)


def _failure_lines(run: Run, signs: dict[Verdict, str]) -> list[str]:
    failures = failed(run)
    lines = [line for outcome in failures[:_MAX_FAILURES] for line in _short_failure(outcome, signs)]
    if len(failures) > _MAX_FAILURES:
        lines.append(f"{len(failures) - _MAX_FAILURES} more are in the report")
    return lines


def _short_failure(outcome: Outcome, signs: dict[Verdict, str]) -> list[str]:
    # A disagreement is told whole in the report; what kept a judgement from being made is to be mended here and now.
    text = outcome.message if outcome.verdict is Verdict.ERROR else outcome.headline
    first, *more = text.splitlines()[:_MAX_MESSAGE_LINES] or [outcome.headline]
    lines = [f"{signs[outcome.verdict]} {place(outcome)}: {first}", *(f"    {line.strip()}" for line in more)]
    if outcome.replay:
        lines.append(f"    {outcome.replay}")
    return lines


def _note_lines(run: Run) -> list[str]:
    # The reports have the notes of every variant; here stand those that may explain a failure.
    return [f"{subject}: {note}" for subject, note in variant_notes(failed(run))]


def _text(value: str, style: str = "") -> Text:
    from rich.text import Text

    indent = value[: len(value) - len(value.lstrip(" "))]
    return Text(indent + one_line(value), style=style)
