"""A history file is opened: its errors become sentences, a damaged one is set aside, and nothing is overwritten."""

from __future__ import annotations

import os
import shlex
import sqlite3
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from parity.errors import HistoryError
from parity.history.schema import APPLICATION_ID, SCHEMA_VERSION, TABLES
from parity.lock_file import take_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY_S = 30.0
"""How long a process waits for others that write."""

_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
OTHER_CONTENT = "restore it from a copy, or move it away, and the next run begins a new one"
_ADVICE = {
    "SQLITE_FULL": "free space on its disk",
    "SQLITE_BUSY": f"another process held it for more than {BUSY_S:.0f} s; try again",
    "SQLITE_READONLY": "allow writing there, or name another file",
    "SQLITE_ERROR": OTHER_CONTENT,
}
_OTHER_ADVICE = "see that its folder exists, has space and may be written to"
# What these mount has no memory that two hosts share, which a write-ahead log rests on.
_NETWORK = ("nfs", "cifs", "smb", "9p", "fuse", "lustre", "gpfs", "ceph", "beegfs", "afs")


class DamagedError(HistoryError):
    """A history file that SQLite cannot read."""


@contextmanager
def writing(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a history for one transaction, which is on disk behind it, or not at all; a missing file is made.

    Raises
    ------
    DamagedError
        SQLite cannot read the file.
    HistoryError
        It is of a newer release or of another program, or it cannot be written; nothing of the transaction is kept.
    """
    with _told(file), closing(_connect(file)) as connection:
        _choose_journal(connection, file)
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _require_known(connection, file) == 0:
                _make(connection)
            yield connection
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")


@contextmanager
def reading(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a history to read it.

    Raises
    ------
    DamagedError
        SQLite cannot read the file.
    HistoryError
        It is missing, or it is of a newer release or of another program.
    """
    if not file.is_file():
        raise HistoryError(f"{file}: is no file; expected a history, as parity run --history {_shown(file)} writes it")
    with _told(file), closing(_connect(file, _reading_mode(file))) as connection:
        if _require_known(connection, file) == 0:
            raise HistoryError(f"{file}: is empty; parity run --history {_shown(file)} appends a run")
        yield connection


def _shown(file: Path) -> str:
    """Return a path as a command has it."""
    return shlex.quote(str(file))


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep others from writing to the file; after 30 s, or where no lock can be made, SQLite's own have to do.

    Those do not hold where a file is set aside: who has the old one open takes the new one's write-ahead log for its
    own, and what others wrote there is lost.
    """
    with ExitStack() as held:
        # What is wrong with the folder SQLite says next.
        with suppress(OSError):
            held.callback(take_lock(file.with_name(f"{file.name}.lock"), BUSY_S).release)
        yield


def set_aside(file: Path) -> Path | None:
    """Rename a damaged history, so that a new one can begin; return its new name, None if it is sound by now.

    Of those that met the damage at once, each holding `locked` in turn, the second finds what the first has begun.

    Raises
    ------
    HistoryError
        It cannot be renamed.
    """
    if _is_sound(file):
        return None
    target = _free_name(file)
    try:
        file.rename(target)
        for ending in ("-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                file.with_name(file.name + ending).rename(target.with_name(target.name + ending))
    except OSError as error:
        raise HistoryError(f"{file}: is damaged and cannot be renamed ({error.strerror}); move it away") from error
    return target


def _is_sound(file: Path) -> bool:
    """Whether SQLite finds no fault in a file; one that is gone, or that another process has just begun, has none."""
    if not file.exists():
        return True
    try:
        with _told(file), closing(_connect(file, "?mode=ro")) as connection:
            (told,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except DamagedError:
        return False
    return bool(told == "ok")


def _free_name(file: Path) -> Path:
    base = f"{file.name}.damaged-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    names = (base if number == 1 else f"{base}-{number}" for number in count(1))
    return next(path for path in map(file.with_name, names) if not path.exists())


def _connect(file: Path, mode: str = "") -> sqlite3.Connection:
    if not mode:
        file.parent.mkdir(parents=True, exist_ok=True)
    # Transactions are begun and ended here, not by the module's guesses.
    return sqlite3.connect(f"{file.absolute().as_uri()}{mode}", timeout=BUSY_S, isolation_level=None, uri=True)


def _reading_mode(file: Path) -> str:
    """Return how a history is opened to be read: who reads beside a write-ahead log writes a file beside it.

    Where the folder takes none, and nobody left a log there, the file is read as one that stays as it is.
    """
    has_log = any(file.with_name(file.name + ending).exists() for ending in ("-wal", "-journal"))
    takes_files = os.access(file.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
    return "?mode=ro" if has_log or takes_files else "?mode=ro&immutable=1"


def _choose_journal(connection: sqlite3.Connection, file: Path) -> None:
    """Let readers and a writer go on beside each other where the file system allows it."""
    if _is_on_network(file):
        return
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode == "wal":
            # Synced when it is closed: what a power cut may take before that is the newest run, never the file.
            connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.OperationalError as error:
        # Another process writes or has just made the choice; without a log of its own this one waits its turn.
        if not error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_CANTOPEN")):
            raise


def _is_on_network(file: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Whether a file lies on a file system of another host, or on one that may; unknown ones do not."""
    try:
        rows = [line.split() for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return False
    real = file.parent.resolve()
    # The kernel writes a blank in a path as an escape.
    kinds = {row[1].encode().decode("unicode_escape"): row[2] for row in rows if len(row) > 2}
    above = [folder for folder in map(str, (real, *real.parents)) if folder in kinds]
    return bool(above) and kinds[above[0]].startswith(_NETWORK)


def _require_known(connection: sqlite3.Connection, file: Path) -> int:
    """Return the version of a history's tables, 0 where it has none yet.

    Raises
    ------
    HistoryError
        It is another program's, or a newer release's.
    """
    ((version,),) = connection.execute("PRAGMA user_version")
    ((application,),) = connection.execute("PRAGMA application_id")
    ((table_count,),) = connection.execute("SELECT count(*) FROM sqlite_master")
    if application != APPLICATION_ID and (table_count or application or version):
        raise HistoryError(f"{file}: is an SQLite file of another program; name another file")
    if version > SCHEMA_VERSION:
        raise HistoryError(
            f"{file}: was written by a newer release (its tables have version {version}, this release reads "
            f"{SCHEMA_VERSION}); install that release, or name another file"
        )
    return int(version)


def _make(connection: sqlite3.Connection) -> None:
    for statement in TABLES.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


@contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HistoryError(f"{file}: cannot be opened ({error.strerror}); {_OTHER_ADVICE}") from error
    except sqlite3.Error as error:
        # The module's own errors have no name: of text that is none, where some other program has written.
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        if name.startswith(_DAMAGED):
            raise DamagedError(f"{file}: is damaged ({error})") from error
        advice = next((words for start, words in _ADVICE.items() if name.startswith(start)), _OTHER_ADVICE)
        raise HistoryError(f"{file}: cannot be used ({error}); {advice}") from error
