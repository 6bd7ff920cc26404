"""One lock file for all who share a file: made where its folder is missing, and elsewhere where it cannot be made."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import pytest

from parity.history.file import locked
from parity.lock_file import take_lock, take_lock_or_other

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def held(lock: filelock.BaseFileLock) -> Iterator[None]:
    """Give a lock that was taken back behind the block; as a context manager it would take itself once more."""
    try:
        yield
    finally:
        lock.release()


def _refuse(monkeypatch: pytest.MonkeyPatch, folder: Path, error: Exception) -> None:
    """Let no lock be taken below a folder."""
    acquire = filelock.FileLock.acquire

    def planted(self: filelock.FileLock, *args: object, **options: object) -> object:
        if Path(self.lock_file).is_relative_to(folder):
            raise error
        return acquire(self, *args, **options)

    monkeypatch.setattr(filelock.FileLock, "acquire", planted)


def test_the_folder_of_a_lock_is_made_and_a_second_waits_no_longer_than_asked(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.lock"
    with held(take_lock(file)), pytest.raises(filelock.Timeout):
        take_lock(file, 0.01)
    with held(take_lock(file, 0.01)):
        pass


def test_a_file_system_without_locks_is_an_error_that_has_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse(monkeypatch, tmp_path, NotImplementedError())
    with pytest.raises(OSError, match="its file system has no locks"):
        take_lock(tmp_path / "a.lock")


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "denied"), OSError(errno.EROFS, "read-only"), NotImplementedError()]
)
def test_where_no_lock_can_be_made_one_in_the_temporary_folder_stands_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(other))
    _refuse(monkeypatch, own, error)
    with held(take_lock_or_other(own / "a.lock")):
        assert [path.name.rpartition("-")[2] for path in other.iterdir()] == ["a.lock"]
        with pytest.raises(filelock.Timeout):
            take_lock_or_other(own / "a.lock", 0.01)


def test_other_errors_of_a_lock_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        take_lock_or_other(tmp_path / "file" / "a.lock")


def test_a_history_whose_lock_cannot_be_made_is_left_to_sqlite(tmp_path: Path) -> None:
    (tmp_path / "runs.db.lock").mkdir()
    with locked(tmp_path / "runs.db"):
        pass
    with locked(tmp_path / "new" / "runs.db"), pytest.raises(filelock.Timeout):
        take_lock(tmp_path / "new" / "runs.db.lock", 0.01)
    with held(take_lock(tmp_path / "new" / "runs.db.lock", 0.01)):
        pass
