"""A comparison as a table for the terminal, Markdown and a page, and as JSON. Nothing is judged here."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from parity.baseline.changes import Direction
from parity.report.figures import SIGNS
from parity.report.text_table import Table
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity.baseline.changes import Change
    from parity.baseline.comparison import Comparison, Pair

_VERDICTS = {0: Verdict.PASS, 1: Verdict.FAIL, 2: Verdict.ERROR}
_CHANGED_NOTE = "Worse, better or changed by more than allowed; what the case file allows does not count here."
_EVERY_NOTE = "Every figure of both sides. What moved and stayed within what is allowed is no change."
_WORDS = {0: "nothing got worse", 1: "something got worse", 2: "nothing could be compared"}
_ONLY_GONE = "something is gone"
_BROKEN = "the new side could not judge everything"
_ORDER = {
    direction: rank
    for rank, direction in enumerate(
        (
            *(Direction.WORSE, Direction.GONE, Direction.INCOMPARABLE, Direction.CHANGED),
            *(Direction.BETTER, Direction.NEW, Direction.EQUAL),
        )
    )
}


def verdict_of(found: Comparison) -> Verdict:
    """Return the verdict that stands for the whole comparison."""
    return _VERDICTS[found.exit_code]


def verdict_line(found: Comparison) -> str:
    """Return the verdict in words, with what it counts."""
    changes = [change for pair in found.pairs for change in pair.changes]
    counts = {
        "figures compared": sum(change.old is not None and change.new is not None for change in changes),
        "worse": sum(change.is_regression and change.direction is not Direction.GONE for change in changes),
        "better": sum(change.is_significant and change.direction is Direction.BETTER for change in changes),
        "changed": sum(change.is_significant and change.direction is Direction.CHANGED for change in changes),
        "figures gone": sum(change.is_regression and change.direction is Direction.GONE for change in changes),
        "variants gone": sum(pair.direction is Direction.GONE for pair in found.pairs),
        "variants new": sum(pair.direction is Direction.NEW for pair in found.pairs),
    }
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "no variant on both sides"
    words = _ONLY_GONE if found.exit_code == 1 and not counts["worse"] else _WORDS[found.exit_code]
    return f"{_BROKEN if found.is_broken else words}: {told}"


def changes_table(found: Comparison, *, all_figures: bool = False) -> Table:
    """Return what changed, a row for each figure; only significant changes unless all figures are asked for."""
    return Table(
        "What changed",
        _EVERY_NOTE if all_figures else _CHANGED_NOTE,
        ("case", "variant", "figure", "base", "new", "change", "allowed", "judged"),
        frozenset({3, 4, 5}),
        tuple(row for pair in found.pairs for row in _rows(pair, all_figures=all_figures)),
    )


def _rows(pair: Pair, *, all_figures: bool) -> Iterator[tuple[str, ...]]:
    if not pair.old or not pair.new:
        yield pair.case, pair.label, "every figure", "", "", "", "", str(pair.direction)
    shown = [change for change in pair.changes if all_figures or change.is_significant]
    for change in sorted(shown, key=_rank):
        word = str(change.direction) if change.is_significant else _within(change)
        yield pair.case, pair.label, change.place, *_values(change), change.allowed, word


def _rank(change: Change) -> tuple[bool, int, float]:
    return not change.is_significant, _ORDER[change.direction], -change.size


def _within(change: Change) -> str:
    return "equal" if change.direction is Direction.EQUAL else "within"


def _values(change: Change) -> tuple[str, str, str]:
    return _number(change.old), _number(change.new), _difference(change)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value.is_integer() and abs(value) >= 1e5 else f"{value:.5g}"


def _difference(change: Change) -> str:
    if change.slowdown:
        return f"{change.slowdown.ratio - 1:+.1%}"
    if change.old is None or change.new is None:
        return ""
    by = change.new - change.old
    if math.isnan(by):
        return "n/a"
    unit = f" {change.unit}" if change.unit == "dB" else ""
    is_share = change.unit in {"ms", "bytes", "s"} and change.old
    return f"{by / change.old:+.1%}" if is_share else f"{by:+.3g}{unit}"


def facts_table(found: Comparison) -> Table:
    """Return where both sides were measured, where they differ."""
    names = dict.fromkeys([*found.base.facts, *found.new.facts])
    rows = tuple(
        (name, found.base.facts.get(name, ""), found.new.facts.get(name, ""))
        for name in names
        if found.base.facts.get(name) != found.new.facts.get(name)
    )
    return Table("Where they differ", "", ("", "base", "new"), frozenset(), rows)


def notes_of(found: Comparison) -> list[str]:
    """Return what a reader should know: models that differ, checks that were not made, layers that slowed."""
    sides = (("base", found.base), ("new", found.new))
    lines = [f"the {name} run was interrupted, so more may be missing" for name, side in sides if not side.is_complete]
    for pair in found.pairs:
        place = f"{pair.case} / {pair.label}"
        lines += [f"{place}: could not be judged on the new side: {told}" for told in pair.broken]
        lines += [f"{place}: {note}" for note in pair.notes]
        if pair.not_looked_at:
            lines.append(f"{place}: not measured on the new side: {', '.join(pair.not_looked_at)}")
        if any(change.slowdown and change.is_regression for change in pair.changes):
            lines += [f"{place}: {line}" for line in pair.slow.lines]
        if any(change.slowdown and change.slowdown.is_guess for change in pair.changes):
            lines.append(f"{place}: each side has one measurement of latency, so the noise is assumed")
    return lines


def print_comparison(found: Comparison, stream: TextIO, *, all_figures: bool = False) -> None:
    """Print the table, what a reader should know, and the verdict; at most 100 columns wide."""
    from parity.report.terminal import console_of, line_of, plain_table

    console = console_of(stream)
    for table in (facts_table(found), _grouped(changes_table(found, all_figures=all_figures))):
        if table.rows:
            console.print(plain_table(table.headings, table.rows, table.numeric))
            console.print()
    for note in notes_of(found):
        console.print(line_of(note), soft_wrap=True)
    console.print(line_of(f"{_sign(found, stream)} {verdict_line(found)}"))


def _grouped(table: Table) -> Table:
    """Return a table that names case and variant in a row of their own, above what is theirs: for narrow pages."""
    rows: list[tuple[str, ...]] = []
    place = ""
    for case, variant, figure, *cells in table.rows:
        if f"{case} / {variant}" != place:
            place = f"{case} / {variant}"
            rows.append((place, *("" for _ in cells)))
        rows.append((f"  {figure}", *cells))
    return Table(table.title, table.note, table.headings[2:], frozenset(n - 2 for n in table.numeric), tuple(rows))


def _sign(found: Comparison, stream: TextIO) -> str:
    from parity.report.terminal import signs_for

    return signs_for(stream)[verdict_of(found)]


def comparison_markdown(found: Comparison, *, all_figures: bool = False) -> str:
    """Return the comparison as Markdown, for a job summary or a pull request."""
    from parity.report.markdown import inline, table_section

    tables = [changes_table(found, all_figures=all_figures), facts_table(found)]
    return "".join(
        [
            f"# {SIGNS[verdict_of(found)]} parity compare: {inline(verdict_line(found))}\n\n",
            f"Base: {inline(found.base.name)}. New: {inline(found.new.name)}.\n",
            *(table_section(table, _MARKDOWN_BYTES) for table in tables if table.rows),
            *(f"\n- {inline(note)}" for note in notes_of(found)),
            "\n",
        ]
    )


_MARKDOWN_BYTES = 400_000
"""For each of two tables: GitHub drops a summary above 1 MiB."""


def comparison_html(found: Comparison) -> str:
    """Return the comparison as one HTML document, every figure in it."""
    from parity.report.pages import render_page

    return render_page(
        "comparison.html",
        found=found,
        verdict=verdict_of(found),
        verdict_line=verdict_line(found),
        changed=changes_table(found),
        everything=changes_table(found, all_figures=True),
        facts_table=facts_table(found),
        notes=notes_of(found),
    )


def comparison_json(found: Comparison) -> str:
    """Return one line of strict JSON; NaN and infinities are strings."""
    content = {
        "base": {"name": found.base.name, "facts": found.base.facts},
        "new": {"name": found.new.name, "facts": found.new.facts},
        "exit_code": found.exit_code,
        "is_complete": {"base": found.base.is_complete, "new": found.new.is_complete},
        "pairs": [_pair_json(pair) for pair in found.pairs],
    }
    return json.dumps(content, allow_nan=False)


def _pair_json(pair: Pair) -> dict[str, object]:
    return {
        "case": pair.case,
        "base": pair.old,
        "new": pair.new,
        "direction": str(pair.direction),
        "is_regression": pair.is_regression,
        "not_looked_at": pair.not_looked_at,
        "notes": pair.notes,
        "broken": pair.broken,
        "slower_layers": [asdict(part) for part in pair.slow.parts],
        "changes": [_change_json(change) for change in pair.changes],
    }


def _change_json(change: Change) -> dict[str, object]:
    content = asdict(change) | {"direction": str(change.direction)}
    return {name: _strict(value) for name, value in content.items()}


def _strict(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
