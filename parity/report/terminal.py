"""The table at the end of ``parity run``, and what stands below it. At most 100 columns wide."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, TextIO

from parity.diagnosis import diagnosis_lines
from parity.report.decoded import decoded_notes
from parity.report.decoded_headlines import HEADLINES, headline_cells
from parity.report.engines import origin_table
from parity.report.figures import (
    FORECAST_NOTE,
    SIGNS,
    decibel,
    failed,
    has_forecast,
    headroom,
    is_of_outputs,
    mismatch_share,
    one_line,
    output_notes,
    place,
    run_verdict,
    variant_notes,
    verdict_line,
    worst_first,
    worst_tensors,
)
from parity.report.latency import latency_notes, latency_table
from parity.report.latency_gain import rebuild_table
from parity.report.layers import LayerView, layer_lines, layer_outcomes, offenders_table, source_sentences
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from parity.results import Outcome, Run

MAX_WIDTH = 100
_DEFAULT_VIEW = LayerView()
_HEADINGS = ("case", "variant", "verdict", "worst output", "SQNR dB", "headroom", "mismatches")
_FIGURES = _HEADINGS[4:]
_CHECK_HEADINGS = ("case", "variant", "check", "verdict", "what was found")
_VERDICT, _OUTPUT = 2, 3
_GAP = 2  # Blanks between columns.
_MAX_UNBROKEN = 28
"""Names up to this length are never broken; the output's name gives way."""
_ELLIPSIS = "..."
_MAX_FAILURES = 10
_MAX_OUTPUT_NOTES = 10
_MAX_MESSAGE_LINES = 20
_MAX_CAUSES = 2
_BASELINE = "baseline"

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


def print_run(run: Run, report: Path, stream: TextIO, view: LayerView = _DEFAULT_VIEW) -> None:
    """Print a run: the table, what failed, what the figures prove, the verdict; the report's path last.

    ``view`` says which rows of layer reports are shown.
    """
    console = console_of(stream)
    signs = signs_for(stream)
    _print_layers(run, console, view)
    for table in _tables(run, signs, console.width):
        console.print(table)
        console.print()
    for block in (
        _failure_lines(run, signs, console.width),
        _note_lines(run),
        [FORECAST_NOTE] if has_forecast(run) else [],
    ):
        for line in block:
            # A command is copied: never wrapped.
            console.print(line_of(line), soft_wrap=line.startswith(" "))
        if block:
            console.print()
    verdict = run_verdict(run)
    console.print(line_of(f"{signs[verdict]} {verdict_line(run)}", _COLOURS[verdict]))
    console.print(line_of(f"report: {report}"), soft_wrap=True)


def _print_layers(run: Run, console: Console, view: LayerView) -> None:
    for outcome, report in layer_outcomes(run):
        lines = [place(outcome), *layer_lines(report), *source_sentences(report)[: view.top]]
        for line in lines:
            console.print(line_of(line))
        table = offenders_table(report, view)
        if table.rows:
            console.print()
            console.print(plain_table(table.headings, table.rows, table.numeric))
            console.print(line_of(f"{table.note}; layers.csv has all figures of all"))
        console.print()


def console_of(stream: TextIO) -> Console:
    """Return a console on a stream, at most as wide as reports are."""
    from rich.console import Console

    width = None if stream.isatty() else MAX_WIDTH
    console = Console(file=stream, markup=False, emoji=False, highlight=False, width=width)
    console.width = min(console.width, MAX_WIDTH)
    return console


def signs_for(stream: TextIO) -> dict[Verdict, str]:
    """Return the signs of verdicts that a stream can carry."""
    try:
        "".join(SIGNS.values()).encode(stream.encoding)
    except UnicodeEncodeError:
        return _ASCII_SIGNS
    return SIGNS


def _tables(run: Run, signs: dict[Verdict, str], width: int) -> Iterator[Table]:
    """Yield the tables of a run: outputs, whose error it is, latency, decoded results, further checks."""
    outcomes = worst_first(run)
    outputs = [outcome for outcome in outcomes if is_of_outputs(outcome)]
    if outputs:
        yield _outputs_table(outputs, signs, width)
    origin = origin_table(outcomes, worst_only=True)
    if origin.rows:
        yield plain_table(origin.headings, origin.rows, origin.numeric)
    latency = latency_table(outcomes, is_short=True)
    if latency.rows:
        yield plain_table(latency.headings, latency.rows, latency.numeric)
    rebuilds = rebuild_table(outcomes)
    if rebuilds.rows:
        yield plain_table(rebuilds.headings, rebuilds.rows, rebuilds.numeric)
    yield from _decoded_tables([outcome for outcome in outcomes if outcome.decoded], signs)
    checks = [outcome for outcome in outcomes if not is_of_outputs(outcome) and not outcome.decoded]
    if checks:
        yield plain_table(_CHECK_HEADINGS, [_check_cells(outcome, signs) for outcome in checks])


def _decoded_tables(outcomes: Sequence[Outcome], signs: dict[Verdict, str]) -> Iterator[Table]:
    """Yield a table for each task, in the order of the outcomes."""
    tasks = dict.fromkeys(outcome.decoded.task for outcome in outcomes if outcome.decoded)
    for task in tasks:
        columns = HEADLINES.get(task, {})
        rows: list[tuple[Text | str, ...]] = [
            (outcome.case, outcome.variant, _sign(outcome, signs), *headline_cells(outcome, signs))
            for outcome in outcomes
            if outcome.decoded and outcome.decoded.task == task
        ]
        yield plain_table((*_HEADINGS[:3], *columns), rows, range(3, 3 + len(columns)))


def plain_table(headings: Sequence[str], rows: Iterable[Sequence[Text | str]], numeric: Container[int] = ()) -> Table:
    """Return a table whose texts are broken where the terminal is too narrow, its numbers never."""
    table = _empty_table()
    for column, heading in enumerate(headings):
        is_number = column in numeric
        table.add_column(heading, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number)
    for row in rows:
        table.add_row(*(line_of(cell) if isinstance(cell, str) else cell for cell in row))
    return table


def _check_cells(outcome: Outcome, signs: dict[Verdict, str]) -> tuple[Text | str, ...]:
    return outcome.case, outcome.variant, outcome.check, _sign(outcome, signs), outcome.headline


def _sign(outcome: Outcome, signs: dict[Verdict, str]) -> Text:
    return line_of(f"{signs[outcome.verdict]} {outcome.verdict}", _COLOURS[outcome.verdict])


def _empty_table() -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))


def _outputs_table(outcomes: Sequence[Outcome], signs: dict[Verdict, str], width: int) -> Table:
    rows = [_cells(outcome, signs) for outcome in outcomes]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    room = max(width - sum(widths) + widths[_OUTPUT] - _GAP * (len(widths) - 1), len(_HEADINGS[_OUTPUT]))
    table = _empty_table()
    for name, widest in zip(_HEADINGS[:2], widths, strict=False):
        table.add_column(name, overflow="fold", min_width=min(widest, _MAX_UNBROKEN))
    for name in _HEADINGS[2:]:
        table.add_column(name, justify="right" if name in _FIGURES else "left", no_wrap=True)
    for outcome, cells in zip(outcomes, rows, strict=True):
        texts = [line_of(_shortened(cell, room) if i == _OUTPUT else cell) for i, cell in enumerate(cells)]
        texts[_VERDICT].stylize(_COLOURS[outcome.verdict])
        table.add_row(*texts)
    return table


def _cells(outcome: Outcome, signs: dict[Verdict, str]) -> list[str]:
    cells = outcome.case, outcome.variant, f"{signs[outcome.verdict]} {outcome.verdict}", *_worst_cells(outcome)
    return [one_line(cell) for cell in cells]


def _shortened(text: str, length: int) -> str:
    """Leave out the middle: slices of one output begin alike and differ at the end."""
    if len(text) <= length:
        return text
    tail = (length - len(_ELLIPSIS)) * 2 // 3
    return f"{text[: length - len(_ELLIPSIS) - tail]}{_ELLIPSIS}{text[len(text) - tail :]}"


def _worst_cells(outcome: Outcome) -> tuple[str, str, str, str]:
    worst = next(iter(worst_tensors(outcome)), None)
    if worst is None or worst.difference is None:
        return worst.output if worst else "", "n/a", "n/a", "n/a"
    return worst.output, decibel(worst.difference.sqnr_db), headroom(worst), mismatch_share(worst)


def _failure_lines(run: Run, signs: dict[Verdict, str], width: int) -> list[str]:
    failures = failed(run)
    lines = [line for outcome in failures[:_MAX_FAILURES] for line in _short_failure(outcome, signs, width)]
    if len(failures) > _MAX_FAILURES:
        lines.append(f"{len(failures) - _MAX_FAILURES} more are in the report")
    return lines


def _wrapped(sentence: str, width: int) -> list[str]:
    """Return the lines of a sentence under its failure; unlike a command it is not copied, and may be broken."""
    return textwrap.wrap(
        one_line(sentence),
        width,
        initial_indent="    ",
        subsequent_indent="      ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _short_failure(outcome: Outcome, signs: dict[Verdict, str], width: int) -> list[str]:
    # A disagreement is told whole in the report; what kept a judgement from being made is to be mended here and now.
    # Of layers the next command is what a reader came for, of a baseline which figures left it and what slowed.
    is_whole = outcome.verdict is Verdict.ERROR or outcome.layers or outcome.check == _BASELINE
    first, *more = (_own_lines(outcome)[:_MAX_MESSAGE_LINES] if is_whole else []) or [outcome.headline]
    lines = [f"{signs[outcome.verdict]} {place(outcome)}: {first}", *(f"    {line.strip()}" for line in more)]
    if outcome.verdict is Verdict.FAIL and outcome.decoded and outcome.decoded.findings:
        lines.append(f"    worst: {outcome.decoded.findings[0].text}")
    causes = [line for diagnosis in outcome.diagnoses[:_MAX_CAUSES] for line in diagnosis_lines(diagnosis)]
    for sentence in (*causes, *(f"left out: {note}" for note in outcome.diagnosis_notes)):
        lines += _wrapped(sentence, width)
    if outcome.replay:
        lines.append(f"    {outcome.replay}")
    return lines


def _own_lines(outcome: Outcome) -> list[str]:
    """Return the lines of a message before those of causes, of which a few are told, and what was left out."""
    added = sum(len(diagnosis_lines(diagnosis)) for diagnosis in outcome.diagnoses) + len(outcome.diagnosis_notes)
    lines = outcome.message.splitlines()
    return lines[: len(lines) - added]


def _note_lines(run: Run) -> list[str]:
    # The reports have the notes of every variant; here stand those that may explain a failure or cast doubt on a pass.
    notes = [
        *output_notes(worst_first(run))[:_MAX_OUTPUT_NOTES],
        *decoded_notes(run)[:_MAX_OUTPUT_NOTES],
        *latency_notes(run)[:_MAX_OUTPUT_NOTES],
        *variant_notes(failed(run)),
    ]
    return [f"{subject}: {note}" for subject, note in notes]


def line_of(value: str, style: str = "") -> Text:
    """Return one printable line; its indent stays."""
    from rich.text import Text

    indent = value[: len(value) - len(value.lstrip(" "))]
    return Text(indent + one_line(value), style=style)
