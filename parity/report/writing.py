"""Report files reach the disk whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from parity.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path


def write_text(file: Path, text: str) -> Path:
    """Write a UTF-8 text file atomically and return its path.

    Raises
    ------
    RunError
        The disk is full, the folder is missing or may not be written; what stood there before still stands.
    """
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        # A lone surrogate, which a damaged name may hold, must not cost the report.
        part.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        part.replace(file)
    except OSError as error:
        raise RunError(
            f"{file}: cannot be written ({error.strerror}); make room or allow writing there, then try again"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return file
