"""``summary.md``: worst first, and always small enough for a GitHub job summary."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from parity.report.decoded import decoded_notes, decoded_outcomes, decoded_tables
from parity.report.engines import engine_notes, engine_tables
from parity.report.figures import (
    FORECAST_NOTE,
    SIGNS,
    decibel,
    failed,
    failed_title,
    has_forecast,
    headroom,
    mismatches,
    one_line,
    output_notes,
    place,
    printable,
    run_verdict,
    variant_notes,
    verdict_line,
    worst_first,
    worst_tensors,
)
from parity.report.layers import layer_notes, layer_tables

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parity.report.text_table import Table
    from parity.results import Outcome, Run

MAX_BYTES = 1024 * 1024
"""GitHub drops a job summary above 1 MiB whole, so the file stays below that."""

# What the parts may take of the limit together leaves room for the heading and for the counts of what is left out.
_TABLE_SHARE, _FAILURE_SHARE, _NOTE_SHARE = 0.45, 0.4, 0.1
# Where engines or decoded results bring tables of their own, the first two give way to them.
_MORE_SHARE, _OTHERS_SHARE = 0.24, 0.7
_MAX_NAME, _MAX_MESSAGE = 300, 8000

_TABLE_HEAD = (
    "| | case | variant | check | worst output | SQNR dB | headroom | mismatches |\n"
    "|---|---|---|---|---|---:|---:|---:|\n"
)
_MARKDOWN_SYNTAX = re.compile(r"([\\`*_\[\]<>#|~&$])")


def summary_markdown(run: Run, max_bytes: int = MAX_BYTES) -> str:
    """Return a run as Markdown of less than ``max_bytes`` bytes; what is left out is counted, never silent."""
    rows = [_row(outcome) for outcome in worst_first(run)]
    failures = [_failure(outcome) for outcome in failed(run)]
    notes = [f"- {inline(subject)}: {inline(note)}\n" for subject, note in _notes(run)]
    tables = [*decoded_tables(decoded_outcomes(run)), *engine_tables(run), *layer_tables(run)]
    room = max_bytes * (_OTHERS_SHARE if tables else 1.0)
    parts = [
        f"# {SIGNS[run_verdict(run)]} parity: {inline(verdict_line(run))}\n\nRun {inline(run.name)}.\n\n",
        _TABLE_HEAD + _within(rows, int(room * _TABLE_SHARE), "more outcomes are in outputs.csv") if rows else "",
        _section(failed_title(run), _within(failures, int(room * _FAILURE_SHARE), "more failures are in report.html")),
        *(table_section(table, int(max_bytes * _MORE_SHARE / len(tables))) for table in tables),
        _section("Notes", _within(notes, int(max_bytes * _NOTE_SHARE), "more notes are in report.html")),
        f"\n{FORECAST_NOTE}\n" if has_forecast(run) else "",
    ]
    return "".join(parts)


def _notes(run: Run) -> list[tuple[str, str]]:
    # What was seen in outputs comes first: it may make a reader doubt a pass.
    return [
        *output_notes(run.outcomes),
        *decoded_notes(run),
        *layer_notes(run),
        *variant_notes(run.outcomes),
        *engine_notes(run),
    ]


def table_section(table: Table, max_bytes: int) -> str:
    """Return a table under its title; rows that do not fit into ``max_bytes`` are counted."""
    ruler = (("---:" if column in table.numeric else "---") for column in range(len(table.headings)))
    head = f"{table.note}\n\n| {' | '.join(map(inline, table.headings))} |\n|{'|'.join(ruler)}|\n"
    rows = [f"| {' | '.join(map(inline, row))} |\n" for row in table.rows]
    return _section(inline(table.title), head + _within(rows, max_bytes, "more rows are in report.html"))


def _section(title: str, body: str) -> str:
    return f"\n## {title}\n\n{body}" if body else ""


def _within(blocks: Iterable[str], max_bytes: int, rest: str) -> str:
    """Join blocks while they fit into ``max_bytes``, then say how many did not."""
    kept, left_out, size = [], 0, 0
    for block in blocks:
        size += len(block.encode("utf-8", "backslashreplace"))
        if size <= max_bytes:
            kept.append(block)
        else:
            left_out += 1
    if left_out:
        kept.append(f"\n{left_out:,} {rest}.\n")
    return "".join(kept)


def _row(outcome: Outcome) -> str:
    cells = [
        f"{SIGNS[outcome.verdict]} {outcome.verdict}",
        *map(inline, (outcome.case, outcome.variant, outcome.check)),
    ]
    return f"| {' | '.join([*cells, *_worst_cells(outcome)])} |\n"


def _worst_cells(outcome: Outcome) -> list[str]:
    worst = next(iter(worst_tensors(outcome)), None)
    if worst is None:
        return [inline(outcome.headline), "n/a", "n/a", "n/a"]
    if worst.difference is None:
        return [inline(worst.output), "n/a", "n/a", "n/a"]
    figures = decibel(worst.difference.sqnr_db), headroom(worst), mismatches(worst)
    return [inline(worst.output), *map(inline, figures)]


def _failure(outcome: Outcome) -> str:
    message = _fenced(_cut(outcome.message or outcome.headline, _MAX_MESSAGE))
    replay = f"\n{_fenced(_cut(outcome.replay, _MAX_MESSAGE))}" if outcome.replay else ""
    return f"**{inline(place(outcome))}**: {outcome.verdict}\n\n{message}{replay}\n"


def _fenced(text: str) -> str:
    """Return text in a code fence longer than any run of backticks inside it, so that nothing of it is markup."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{printable(text)}\n{fence}\n"


def inline(text: str) -> str:
    """Return text on one line with every character of Markdown's and HTML's syntax escaped."""
    return _MARKDOWN_SYNTAX.sub(r"\\\1", _cut(one_line(text), _MAX_NAME))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}… ({len(text) - length:,} characters left out)"
