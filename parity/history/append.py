"""A finished run is appended to a history: once, whole or not at all, whatever else writes there."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.baseline.machine import machine_of, variant_key
from parity.errors import BaselineError, HistoryError
from parity.history.file import DamagedError, locked, set_aside, writing
from parity.run_figures import figures_of
from parity.run_file import run_from_json, run_to_json

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from parity.results import Environment, Run, WorkerRecord

UNKNOWN_MACHINE = "unknown"


@dataclass(frozen=True, slots=True)
class Appended:
    """What came of appending a run.

    Attributes
    ----------
    was_known
        It was there; what it holds now has taken that one's place.
    set_aside
        Where the damaged file lies that was found in the history's place.
    """

    was_known: bool
    set_aside: Path | None = None


def append_run(file: Path, run: Run) -> Appended:
    """Append a run to a history; a missing file is made, a damaged one is set aside and a new one begun.

    Raises
    ------
    HistoryError
        The run is not finished; the file is of a newer release or another program; it cannot be written. What the file
        held it still holds.
    """
    if not run.is_complete:
        raise HistoryError(f"{run.name}: was not finished, so it is not appended to {file}; finish it with --resume")
    with locked(file):
        try:
            return Appended(_append(file, run))
        except DamagedError:
            aside = set_aside(file)
            return Appended(_append(file, run), aside)


def key_of(run: Run) -> str:
    """Return what tells a run from all others, also in the file of an older release, which gave it no id."""
    return run.id or hashlib.sha256(run_to_json(run).encode()).hexdigest()


def facts_of(environment: Environment) -> dict[str, str]:
    """Return versions and hardware by name, such as ``tensorrt 10 driver``; a worker is named by its major release."""
    facts = {
        "python": environment.python,
        "platform": environment.platform,
        "processor": f"{environment.processor}, {environment.core_count} cores",
        **environment.packages,
    }
    for number, found in enumerate(environment.gpus):
        name = f"gpu {number}" if number else "gpu"
        facts |= {name: f"{found.gpu} ({found.compute_capability})", f"{name} driver": found.driver}
    names = Counter(_worker_name(worker) for worker in environment.workers)
    for worker in environment.workers:
        name = _worker_name(worker)
        facts |= {f"{name if names[name] == 1 else worker.name} {key}": fact for key, fact in _worker_facts(worker)}
    return facts


def _worker_name(worker: WorkerRecord) -> str:
    # Minor releases follow each other in one series, and the release is then a fact that changed.
    return f"tensorrt {worker.packages.get('tensorrt', '').partition('.')[0]}".strip()


def _worker_facts(worker: WorkerRecord) -> list[tuple[str, str]]:
    own = [("release" if name == "tensorrt" else name, version) for name, version in worker.packages.items()]
    return [
        *own,
        ("python", worker.python),
        ("gpu", f"{worker.gpu} ({worker.compute_capability})"),
        ("driver", worker.driver),
        ("cuda", worker.cuda),
    ]


def _append(file: Path, run: Run) -> bool:
    try:
        with writing(file) as connection:
            return write_run(connection, run)
    except UnicodeEncodeError:
        # SQLite takes no text that is no Unicode, as names of files may be; run.json has it spelt out.
        with writing(file) as connection:
            return write_run(connection, run_from_json(run_to_json(run), run.name))


def write_run(connection: sqlite3.Connection, run: Run) -> bool:
    """Write a run in an open transaction, in the place of what was known of it; return whether anything was."""
    number, was_known = _enter(connection, run)
    _write_judged(connection, number, run)
    _write_values(connection, number, run)
    return was_known


def _enter(connection: sqlite3.Connection, run: Run) -> tuple[int, bool]:
    """Write the run's own row, without what it held if it was there; return its number, and whether it was."""
    facts = json.dumps(facts_of(run.environment), sort_keys=True)
    connection.execute("INSERT OR IGNORE INTO environment (facts) VALUES (?)", (facts,))
    ((environment,),) = connection.execute("SELECT id FROM environment WHERE facts = ?", (facts,))
    key, row = key_of(run), (run.name, run.created, run.commit, run.exit_code, environment)
    known = connection.execute("SELECT id FROM run WHERE key = ?", (key,)).fetchone()
    if known is None:
        written = connection.execute(
            "INSERT INTO run (name, created, commit_hash, exit_code, environment, key) VALUES (?, ?, ?, ?, ?, ?)",
            (*row, key),
        )
        assert written.lastrowid is not None
        return written.lastrowid, False
    (number,) = known
    for statement in (
        "DELETE FROM judged WHERE run = ?",
        "DELETE FROM verdict WHERE run = ? AND case_name IN (SELECT DISTINCT case_name FROM verdict)",
        "DELETE FROM value WHERE run = ? AND series IN (SELECT id FROM series)",
    ):
        connection.execute(statement, (number,))
    connection.execute(
        "UPDATE run SET name = ?, created = ?, commit_hash = ?, exit_code = ?, environment = ? WHERE id = ?",
        (*row, number),
    )
    return number, True


def _write_judged(connection: sqlite3.Connection, number: int, run: Run) -> None:
    hashes = (
        (
            number,
            case.name,
            json.dumps({"model": case.model_sha256, "case file": case.case_file_sha256, "feeds": case.feeds_sha256}),
        )
        for case in run.cases
    )
    connection.executemany("INSERT OR REPLACE INTO judged (run, case_name, hashes) VALUES (?, ?, ?)", hashes)
    verdicts = ((o.case, number, o.variant, o.check, str(o.verdict), o.headline) for o in run.outcomes)
    connection.executemany("INSERT OR REPLACE INTO verdict VALUES (?, ?, ?, ?, ?, ?)", verdicts)


def _write_values(connection: sqlite3.Connection, number: int, run: Run) -> None:
    places = _places(run)
    figures = [((f.case, *places[f.variant], f.check, f.subject, f.name), f) for f in figures_of(run)]
    known = _series_of(connection, dict.fromkeys(name[0] for name, _ in figures))
    new = [(*name, figure.unit, str(figure.better)) for name, figure in figures if name not in known]
    if new:
        connection.executemany("INSERT INTO series VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", new)
        known = _series_of(connection, dict.fromkeys(name[0] for name, _ in figures))
    values = (
        (known[name], number, None if math.isnan(figure.value) else figure.value, json.dumps(figure.samples))
        for name, figure in figures
    )
    connection.executemany("INSERT INTO value VALUES (?, ?, ?, ?)", values)


def _series_of(connection: sqlite3.Connection, cases: Iterable[str]) -> dict[tuple[str, ...], int]:
    """Return the series of cases: their ids by case, machine, variant, check, subject and name."""
    found = {}
    for case in cases:
        rows = connection.execute(
            "SELECT case_name, machine, variant, check_name, subject, name, id FROM series WHERE case_name = ?", (case,)
        )
        found.update({tuple(names): number for *names, number in rows})
    return found


def _places(run: Run) -> Mapping[str, tuple[str, str]]:
    """Return the machine and the series' variant of each label: minor releases of TensorRT follow each other."""
    labels = list(dict.fromkeys(outcome.variant for outcome in run.outcomes))
    places = {label: (_machine(run.environment, label), variant_key(label)) for label in labels}
    counts = Counter(places.values())
    # Two releases of one run stand beside each other, not behind.
    return {label: place if counts[place] == 1 else (place[0], label) for label, place in places.items()}


def _machine(environment: Environment, label: str) -> str:
    try:
        return machine_of(environment, label).key
    except BaselineError:
        return UNKNOWN_MACHINE
