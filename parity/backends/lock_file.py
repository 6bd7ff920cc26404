"""A lock that processes of one user and one machine share, also where the cache folder can only be read."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def acquire_lock(file: Path, wait_s: float = -1.0) -> BaseFileLock:
    """Take a lock, by its file or, where that cannot be written, by one in the machine's temporary folder.

    Parameters
    ----------
    wait_s
        How long others are waited for; for ever if negative.

    Raises
    ------
    filelock.Timeout
        Another process held it for longer.
    OSError
        No lock file can be made.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return _acquired(file, wait_s)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
    # Directly in the temporary folder, by the user's number: there no other user can move it or put a link in its way.
    return _acquired(Path(tempfile.gettempdir()) / f"trt-parity-{os.getuid()}-{file.parent.name}-{file.name}", wait_s)


def _acquired(file: Path, wait_s: float) -> BaseFileLock:
    from filelock import FileLock

    lock = FileLock(file, timeout=wait_s)
    lock.acquire()
    return lock
