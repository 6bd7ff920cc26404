"""A case's figures are read from a history, in the order of arrival, and searched for steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import TYPE_CHECKING

from parity.baseline.machine import variant_key
from parity.errors import HistoryError
from parity.history.absent import absence_notes
from parity.history.file import OTHER_CONTENT, DamagedError, reading
from parity.history.marks import marked_steps
from parity.history.model import History, Judged, Point, Series, Visit
from parity.history.rows import RowError, better_of, names_of, number_of, samples_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    SeriesRow = tuple[int, str, str, str, str, str, str, str]

LAST = 200
"""Runs of a series that are shown unless it is said otherwise: most of a year of nights."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a history is to be shown.

    Attributes
    ----------
    variants, figures
        Names or wildcards, such as ``fp16``, ``int8*``, ``fp16@tensorrt``; ``median_ms``, ``*sqnr_db``. All if empty.
    last
        The newest so many runs of each series.
    """

    case: str
    variants: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    last: int = LAST


def read_history(file: Path, asked: Asked) -> History:
    """Return a case's figures over time, with their steps.

    Raises
    ------
    HistoryError
        The file is missing, damaged, or of a newer release; it has no such case, variant or figure: the message names
        those that it has.
    """
    try:
        with reading(file) as connection:
            return _read(connection, file, asked)
    except RowError as error:
        raise HistoryError(f"{file}: {error}, which no run wrote; {OTHER_CONTENT}") from error
    except DamagedError as error:
        raise DamagedError(f"{error}; the next run with --history {file} sets it aside and begins a new one") from error


def _read(connection: sqlite3.Connection, file: Path, asked: Asked) -> History:
    _require_case(connection, file, asked.case)
    rows = _series_rows(connection, asked)
    values = {row[0]: _value_rows(connection, row[0], asked.last) for row in rows}
    verdicts = _verdict_rows(connection, asked)
    numbers = {value[0] for found in values.values() for value in found} | {row[0] for row in verdicts}
    visits = _visits(connection, asked.case, numbers)
    ((run_count,),) = connection.execute("SELECT count(DISTINCT run) FROM verdict WHERE case_name = ?", (asked.case,))
    series = tuple(_series(row, values[row[0]], visits) for row in rows)
    return History(asked.case, run_count, series, _judged(verdicts, visits), _notes(visits.values(), series))


def _require_case(connection: sqlite3.Connection, file: Path, case: str) -> None:
    known = sorted(name for (name,) in connection.execute("SELECT DISTINCT case_name FROM verdict"))
    if case not in known:
        raise HistoryError(
            f"{file}: has no run of a case called {case!r}; it has {', '.join(known) or 'none'} (runs from before "
            "a case was renamed stand under its old name)"
        )


def _series_rows(connection: sqlite3.Connection, asked: Asked) -> list[SeriesRow]:
    rows = connection.execute(
        "SELECT id, machine, variant, check_name, subject, name, unit, better FROM series WHERE case_name = ? "
        "ORDER BY machine, id",
        (asked.case,),
    ).fetchall()
    _require_known("variant", asked.variants, {row[2] for row in rows})
    _require_known("figure", asked.figures, {row[5] for row in rows})
    return [row for row in rows if _is_asked(row[2], asked.variants) and _is_asked(row[5], asked.figures)]


def _require_known(what: str, patterns: Sequence[str], known: Iterable[str]) -> None:
    for pattern in patterns:
        if not any(_is_asked(name, (pattern,)) for name in known):
            raise HistoryError(f"{what} {pattern!r}: matches none; known are {', '.join(sorted(known)) or 'none'}")


def _is_asked(name: str, patterns: Sequence[str]) -> bool:
    if not patterns:
        return True
    names = {name, name.partition("@")[0]}
    # Releases of TensorRT share a series; who names one means it.
    wanted = {*patterns, *(variant_key(pattern) for pattern in patterns if "@" in pattern)}
    return any(fnmatchcase(text, pattern) for text in names for pattern in wanted)


def _value_rows(connection: sqlite3.Connection, series: int, last: int) -> list[tuple[int, float | None, str]]:
    """Return (run, value, samples as JSON) of the newest runs of a series, oldest first."""
    rows = connection.execute(
        "SELECT run, value, samples FROM value WHERE series = ? ORDER BY run DESC LIMIT ?", (series, last)
    ).fetchall()
    return rows[::-1]


def _verdict_rows(connection: sqlite3.Connection, asked: Asked) -> list[tuple[int, str, str, str]]:
    """Return (run, variant, check, verdict) of the newest runs of a case, oldest first."""
    rows = connection.execute(
        "SELECT run, variant, check_name, verdict FROM verdict WHERE case_name = ? AND run IN "
        "(SELECT DISTINCT run FROM verdict WHERE case_name = ? ORDER BY run DESC LIMIT ?) ORDER BY run",
        (asked.case, asked.case, asked.last),
    ).fetchall()
    return [row for row in rows if not row[1] or _is_asked(variant_key(row[1]), asked.variants)]


def _visits(connection: sqlite3.Connection, case: str, numbers: Iterable[int]) -> dict[int, Visit]:
    """Return the runs of these numbers, in order."""
    environments = {
        number: names_of(facts) for number, facts in connection.execute("SELECT id, facts FROM environment")
    }
    visits = {}
    for number in sorted(numbers):
        row = connection.execute(
            "SELECT name, created, commit_hash, environment, hashes FROM run "
            "LEFT JOIN judged ON judged.run = run.id AND judged.case_name = ? WHERE run.id = ?",
            (case, number),
        ).fetchone()
        if row is None or row[3] not in environments:
            raise RowError(f"has figures of run {number}, and not the run or its environment")
        name, created, commit, environment, hashes = row
        judged = {what: sha[:12] for what, sha in names_of(hashes or "{}").items()}
        visits[number] = Visit(number, str(name), str(created), str(commit), {**judged, **environments[environment]})
    return visits


def _series(row: SeriesRow, values: Sequence[tuple[int, float | None, str]], visits: Mapping[int, Visit]) -> Series:
    points = tuple(Point(visits[run], number_of(value), samples_of(samples)) for run, value, samples in values)
    found = Series(*row[1:7], better=better_of(row[7]), points=points)
    return replace(found, steps=marked_steps(found))


def _judged(rows: Iterable[tuple[int, str, str, str]], visits: Mapping[int, Visit]) -> tuple[Judged, ...]:
    found: dict[tuple[str, str], list[tuple[Visit, str]]] = {}
    for run, variant, check, verdict in rows:
        found.setdefault((variant, check), []).append((visits[run], verdict))
    return tuple(Judged(variant, check, tuple(verdicts)) for (variant, check), verdicts in found.items())


def _notes(visits: Iterable[Visit], series: Sequence[Series]) -> tuple[str, ...]:
    notes = [*_machine_notes(series), *absence_notes(series)]
    late = [(before, after) for before, after in pairwise(visits) if _moment(after) < _moment(before)]
    if late:
        before, after = late[-1]
        notes.append(
            f"{len(late)} run(s) say that they were made before the one that arrived ahead of them, such as "
            f"{after.name} ({after.created}) behind {before.name} ({before.created}): a clock was set, or runs "
            "overlapped; the order here is that of arrival"
        )
    for one in series:
        missing = sum(math.isnan(point.value) for point in one.points)
        if missing:
            notes.append(f"{one.label}: {missing} of {len(one.points)} runs have no number (NaN); steps leave them out")
    return tuple(notes)


def _machine_notes(series: Iterable[Series]) -> Iterator[str]:
    """Yield where a machine began behind another's end: a step there stands in neither one's series."""
    spans: dict[str, tuple[Visit, Visit]] = {}
    for one in series:
        if one.points:
            first, last = one.points[0].visit, one.points[-1].visit
            known = spans.get(one.machine, (first, last))
            spans[one.machine] = min(known[0], first, key=_number), max(known[1], last, key=_number)
    for machine, (first, _) in spans.items():
        ended = [name for name, (_, last) in spans.items() if last.number < first.number]
        if ended:
            before = max(ended, key=lambda name: spans[name][1].number)
            yield (
                f"{machine} begins with {first.name} ({first.created}), where {before} ends: each has series of its "
                "own, and no step is looked for between them"
            )


def _number(visit: Visit) -> int:
    return visit.number


def _moment(visit: Visit) -> float:
    try:
        return datetime.fromisoformat(visit.created).timestamp()
    except ValueError:
        return math.inf
