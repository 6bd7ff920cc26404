"""Room in the cache folder: engines that were not used for longest are removed."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)

# A session may load its plan once more, after its worker was replaced: what a run uses is not taken from under it.
_SPARED_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Kept:
    folder: Path
    size_bytes: int
    used_s: float


def make_room(engines: Path, limit_bytes: int) -> tuple[str, ...]:
    """Remove engines until the rest fits; those used within the last hour are spared, and so are those being built.

    Returns
    -------
    The keys that were removed, the least recently used first.
    """
    kept = sorted(_kept_engines(engines), key=lambda engine: engine.used_s)
    excess = sum(engine.size_bytes for engine in kept) - limit_bytes
    removed: list[str] = []
    for engine in kept:
        if excess <= 0 or time.time() - engine.used_s < _SPARED_S:
            break
        if _remove(engine.folder):
            excess -= engine.size_bytes
            removed.append(engine.folder.name)
            _log.info("cache: removed engine %s (%d bytes), unused for longest", engine.folder.name, engine.size_bytes)
    return tuple(removed)


def _kept_engines(engines: Path) -> list[_Kept]:
    found: list[_Kept] = []
    for note in engines.glob("*/engine.json"):
        try:
            found.append(_Kept(note.parent, (note.parent / "engine.plan").stat().st_size, note.stat().st_mtime))
        except FileNotFoundError:
            # Another process removed it, or builds it at this moment.
            continue
    return found


def _remove(folder: Path) -> bool:
    """Remove an engine that nobody holds; whether it was removed."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder.with_suffix(".lock"), timeout=0):
            shutil.rmtree(folder)
    except (Timeout, OSError) as error:
        _log.debug("cache: engine %s stays: %s", folder.name, error)
        return False
    return True
