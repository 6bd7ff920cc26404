"""A lock that processes of one user and one machine share, also where the folder that it is for can only be read."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

_NO_LOCK_THERE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSYS)


def take_lock(file: Path, wait_s: float = -1.0) -> BaseFileLock:
    """Take a lock by its file, in a folder that is made where it is missing; ``release`` gives it back.

    Parameters
    ----------
    wait_s
        How long others are waited for; for ever if negative.

    Raises
    ------
    filelock.Timeout
        Another process held it for longer.
    OSError
        No lock file can be made there, or its file system has no locks.
    """
    from filelock import FileLock

    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, timeout=wait_s)
    try:
        lock.acquire()
    except NotImplementedError as error:
        raise OSError(errno.ENOSYS, "its file system has no locks") from error
    return lock


def take_lock_or_other(file: Path, wait_s: float = -1.0) -> BaseFileLock:
    """Take a lock by its file or, where that cannot be, by one in the machine's temporary folder.

    Parameters
    ----------
    wait_s
        As ``take_lock``.

    Raises
    ------
    filelock.Timeout, OSError
        As ``take_lock``.
    """
    try:
        return take_lock(file, wait_s)
    except OSError as error:
        if error.errno not in _NO_LOCK_THERE:
            raise
    # Directly in the temporary folder, by the user's number: there no other user can move it or put a link in its way.
    return take_lock(Path(tempfile.gettempdir()) / f"trt-parity-{os.getuid()}-{file.parent.name}-{file.name}", wait_s)
