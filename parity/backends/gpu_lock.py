"""A lock for each device that latency is measured on, so that parallel tests and runs never time each other."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from parity.errors import BackendTimeout, RunError
from parity.lock_file import take_lock_or_other

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_S = 1800.0


@contextmanager
def only_here(folder: Path, device: str, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold a device against every other process that asks for it in the same folder.

    Parameters
    ----------
    device
        A GPU's UUID or number, or ``cpu``.
    wait_s
        How long others are waited for.

    Raises
    ------
    BackendTimeout
        Another process still measures there.
    RunError
        The lock file cannot be made.
    """
    from filelock import Timeout

    file = folder / "latency" / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', device)}.lock"
    try:
        lock = take_lock_or_other(file, wait_s)
    except Timeout as error:
        raise BackendTimeout(
            f"{device}: another process has measured latency there for {wait_s:g} s; end it, or wait and run again"
        ) from error
    except OSError as error:
        raise RunError(f"{file}: cannot be made ({error.strerror}); set PARITY_CACHE_DIR to another folder") from error
    try:
        yield
    finally:
        lock.release()
