"""Files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import WorkerError


def write_atomically(path: str, data: Any) -> None:
    """Write a file beside its place and move it there.

    Parameters
    ----------
    data
        Bytes, or anything else whose buffer holds the file's content.

    Raises
    ------
    WorkerError
        The folder is missing or not writable, or the disk is full.
    """
    place = Path(path)
    try:
        number, beside = tempfile.mkstemp(prefix=place.name, suffix=".part", dir=str(place.parent))
    except OSError as error:
        raise WorkerError(f"{place} cannot be written: {error.strerror} ({error.filename})") from error
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
        Path(beside).replace(place)
    except OSError as error:
        with suppress(OSError):
            Path(beside).unlink()
        raise WorkerError(f"{place} cannot be written: {error.strerror}; see the disk's free space") from error
