"""JSON files of other tools: untrusted, so held to a size and to names that occur once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from parity.errors import ForeignFileError

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_BYTES = 2**31
"""A file is held in memory as text and as its parts; a larger one is refused before it is read."""


def read_text(path: Path) -> str:
    """Read a text file of another tool.

    Raises
    ------
    ForeignFileError
        It cannot be read, is larger than ``LIMIT_BYTES``, or is no UTF-8 text.
    """
    try:
        size = path.stat().st_size
        if size > LIMIT_BYTES:
            raise ForeignFileError(
                f"{path}: has {size / 2**30:.1f} GiB; at most {LIMIT_BYTES / 2**30:g} GiB are read; save fewer "
                "iterations, or one file for each"
            )
        return path.read_bytes().decode()
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ForeignFileError(f"{path}: cannot be read ({reason}); expected a JSON file") from error
    except UnicodeDecodeError as error:
        raise ForeignFileError(f"{path}: is no UTF-8 text ({error.reason} at byte {error.start})") from error


def parse_json(text: str, where: str) -> Any:
    """Parse JSON in which control characters may stand in strings unescaped, as TensorRT's tools write them.

    Raises
    ------
    ForeignFileError
        It is no JSON, is nested too deep, or names a key of one object twice. ``where`` stands before the message.
    """
    try:
        return json.loads(text, strict=False, object_pairs_hook=_distinct)
    except (ValueError, RecursionError, MemoryError) as error:
        reason = str(error) if isinstance(error, ValueError) else f"too much for a reader: {type(error).__name__}"
        raise ForeignFileError(f"{where}: is not JSON that can be read ({reason}); write the file again") from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Python keeps the last of equal keys: a tensor would disappear without a word.
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the key {twice!r} twice")
    return found
