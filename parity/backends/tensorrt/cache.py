"""Engines kept between runs: ``engines/<key>/engine.plan`` with its record, and measured tactics per machine.

An engine is executable code. It is taken from the cache folder alone, and only where its bytes are those that were
stored under its key; anything else is built again, and the new record says so. Of a replayed recording a stand-in is
kept, under a key that has the recording in it.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from parity.backends.tensorrt.cache_room import make_room
from parity.backends.tensorrt.fingerprint import identify
from parity.errors import BackendError, BackendTimeout
from parity.lock_file import take_lock
from parity.results import EngineRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_FORMAT_VERSION = 1
_DEFAULT_LIMIT_GIB = 20.0


@dataclass(frozen=True, slots=True)
class KeptEngine:
    """A plan in the cache folder and what is known of it."""

    plan: Path
    record: EngineRecord


class _UnwritableError(BackendError):
    """The cache folder takes no file."""


class EngineCache:
    """Engines and measured tactics below one folder, for any number of processes at once.

    Parameters
    ----------
    limit_bytes
        How much the plans may take before those that were not used for longest are removed; no limit if None.
    """

    def __init__(self, folder: Path, limit_bytes: int | None = None) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes

    def take(self, key: str, build: Callable[[Path], EngineRecord], timeout_s: float) -> KeptEngine:
        """Return the engine of a key, built now where the cache does not have it.

        A folder that can only be read serves what it holds.

        Parameters
        ----------
        build
            Writes a plan to the path that it is given, and returns the engine's record.
        timeout_s
            How long to wait for another process that builds the same engine.

        Raises
        ------
        BackendTimeout
            Another process holds the key for longer.
        BackendError
            The engine has to be built and the cache folder cannot be written, the plan is not what the record says, or
            ``build`` failed.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(self._locked(self._engines / f"{key}.lock", timeout_s))
            except _UnwritableError as error:
                return self._find_unlocked(key, error)
            kept, damage = self._find(key)
            if kept is not None:
                return kept
            built = self._build(key, build)
            if damage:
                note = f"the cached engine was not used ({damage}); it was built again"
                built = replace(built, record=replace(built.record, notes=(*built.record.notes, note)))
        if self._limit_bytes is not None:
            make_room(self._engines, self._limit_bytes)
        return built

    @contextmanager
    def timing_cache(self, machine_key: str, timeout_s: float) -> Iterator[Path]:
        """Hold a machine's measured tactics for one build, so that no other build's are lost.

        Raises
        ------
        BackendTimeout, BackendError
            As ``take``.
        """
        path = self._folder / "timing" / f"{machine_key}.cache"
        with self._locked(path.with_suffix(".lock"), timeout_s):
            yield path

    def build_paces(self, machine_key: str) -> Path:
        """Return where is kept how long builds took on a machine."""
        return self._folder / "timing" / f"{machine_key}.builds.json"

    @contextmanager
    def calibration_cache(self, key: str, timeout_s: float) -> Iterator[Path]:
        """Hold the ranges that an implicit calibrator found for one model and its feeds.

        Raises
        ------
        BackendTimeout, BackendError
            As ``take``.
        """
        path = self._folder / "calibration" / f"{key}.cache"
        with self._locked(path.with_suffix(".lock"), timeout_s):
            yield path

    @property
    def _engines(self) -> Path:
        return self._folder / "engines"

    @contextmanager
    def _locked(self, path: Path, timeout_s: float) -> Iterator[None]:
        from filelock import Timeout

        with _mapped_os_errors(self._folder):
            try:
                lock = take_lock(path, timeout_s)
            except Timeout as error:
                raise BackendTimeout(
                    f"{path}: is held by another process for more than {timeout_s:g} s, which builds the same; "
                    "end that process or wait for it"
                ) from error
        try:
            yield
        finally:
            lock.release()

    def _find(self, key: str) -> tuple[KeptEngine | None, str]:
        """Return the engine of a key, or why there is none though something is there."""
        folder = self._engines / key
        plan, note = folder / "engine.plan", folder / "engine.json"
        if not plan.exists() and not note.exists():
            return None, ""
        if not plan.resolve().is_relative_to(self._engines.resolve()):
            return None, "its plan lies outside the cache folder"
        try:
            record = _read_record(note.read_bytes(), key)
            sha256 = identify(plan).sha256
        except (OSError, ValueError, BackendError) as error:
            return None, f"it cannot be read: {_first_line(error)}"
        if sha256 != record.sha256:
            return None, "its plan is not the one that was stored"
        _touch(note)
        return KeptEngine(plan, replace(record, source="cache")), ""

    def _find_unlocked(self, key: str, error: _UnwritableError) -> KeptEngine:
        """Return the engine of a key where no lock can be had: its hash tells whether it is whole."""
        with _mapped_os_errors(self._folder):
            kept, damage = self._find(key)
        if kept is None:
            state = f"is not used ({damage})" if damage else "is not there yet"
            raise _UnwritableError(f"{error}. The engine that is asked for {state}") from error
        return kept

    def _build(self, key: str, build: Callable[[Path], EngineRecord]) -> KeptEngine:
        folder = self._engines / key
        fresh = folder / "fresh.plan"
        with _mapped_os_errors(self._folder):
            _clear(folder)
            record = build(fresh)
            _require_written(fresh, record)
            # The record comes last: a plan without one is a build that was interrupted.
            fresh.replace(folder / "engine.plan")
            _write_record(folder / "engine.json", key, record)
        return KeptEngine(folder / "engine.plan", record)


def cache_limit_bytes() -> int:
    """Return how much engines may take in the cache: ``PARITY_CACHE_LIMIT_GIB``, 20 GiB unless it is set.

    Raises
    ------
    BackendError
        The variable is not a number of 0 or more.
    """
    text = os.environ.get("PARITY_CACHE_LIMIT_GIB", "")
    try:
        limit_gib = float(text) if text else _DEFAULT_LIMIT_GIB
        if not 0 <= limit_gib < float("inf"):
            raise ValueError(text)
    except ValueError as error:
        raise BackendError(f"PARITY_CACHE_LIMIT_GIB: is {text!r}; expected a number of GiB, such as 20") from error
    return int(limit_gib * 2**30)


def _clear(folder: Path) -> None:
    """Leave an empty folder; what is in the way is unlinked, never followed."""
    if folder.is_symlink():
        folder.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("engine.json", "engine.plan", "fresh.plan"):
        (folder / name).unlink(missing_ok=True)


def _require_written(plan: Path, record: EngineRecord) -> None:
    sha256 = identify(plan).sha256
    if sha256 != record.sha256:
        raise BackendError(
            f"{plan}: has SHA-256 {sha256}, the worker wrote {record.sha256}; the disk or the connection loses data"
        )


def _write_record(path: Path, key: str, record: EngineRecord) -> None:
    content = {"format_version": _FORMAT_VERSION, "key": key, "record": json.loads(_adapter().dump_json(record))}
    fresh = path.with_suffix(".fresh")
    fresh.write_text(json.dumps(content, indent=1), encoding="utf-8")
    fresh.replace(path)


def _read_record(content: bytes, key: str) -> EngineRecord:
    """Read a record; pydantic's errors are ``ValueError``s."""
    found = json.loads(content)
    if not isinstance(found, dict) or found.get("format_version") != _FORMAT_VERSION or found.get("key") != key:
        raise ValueError("its record is of another engine or of another release")
    record: EngineRecord = _adapter().validate_python(found.get("record"))
    return record


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(EngineRecord)


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:
        # A cache that can only be read still serves; it merely does not know what was used last.
        return


@contextmanager
def _mapped_os_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _UnwritableError(
            f"{folder}: engines cannot be kept there ({error.strerror or error}); free space, or set PARITY_CACHE_DIR "
            "to a folder that can be written"
        ) from error


def _first_line(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0]
