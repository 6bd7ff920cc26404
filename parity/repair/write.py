"""Writes a keep-list into ``case.toml``: that list, the reason beside it, and nothing else."""

from __future__ import annotations

import hashlib
import re
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit
from tomlkit.items import InlineTable

from parity.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomlkit.items import Array

    from parity.case import Case

_MAX_LINE = 100


def write_keep(case: Case, variant: str, keep: Sequence[str], keep_precision: str, reason: str) -> None:
    """Put a keep-list into the variant's table of a case file; comments and formatting stay.

    Parameters
    ----------
    keep
        What is kept beside what the variant keeps already.
    keep_precision
        Written where it is not what the table says already; fp32 is what it says by leaving it out.
    reason
        One line, put behind the list as a comment.

    Raises
    ------
    RunError
        The file has changed since the case was read, has no table for the variant, or cannot be written.
    """
    file = case.file.resolve()
    text = _read_unchanged(file, case)
    before = tomllib.loads(text).get("variants", {}).get(variant)
    if not isinstance(before, dict):
        raise RunError(
            f"{case.file}: has no [variants.{variant}] to write into, because the default variants are judged; write "
            "down the variants that you want and repair again"
        )
    own = before.get("keep", [])
    wanted = {**before, "keep": [*own, *(entry for entry in keep if entry not in own)]}
    if keep_precision != before.get("keep_precision", "fp32"):
        wanted["keep_precision"] = keep_precision
    after = _edited(text, variant, before, wanted, reason)
    _require_nothing_else(case.file, text, after, variant, wanted)
    _replace(file, after, case)


def _read_unchanged(file: Path, case: Case) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise RunError(f"{case.file}: cannot be read ({error.strerror or error})") from error
    if hashlib.sha256(content).hexdigest() != case.file_sha256:
        raise RunError(f"{case.file}: has changed since it was read; nothing was written, repair again")
    return content.decode()


def _edited(text: str, variant: str, before: dict[str, Any], wanted: dict[str, Any], reason: str) -> str:
    document = tomlkit.parse(text)
    table: Any = document["variants"][variant]
    for key, value in wanted.items():
        if key == "keep" and key in before:
            # The list's own comments say why its entries are there.
            table[key].extend(value[len(before[key]) :])
        elif before.get(key) != value:
            table[key] = _array(value) if isinstance(value, list) else value
    # An inline table is one line, and ends in its own comment.
    commented = table if isinstance(table, InlineTable) else table["keep"]
    known = commented.trivia.comment.removeprefix("#").strip()
    commented.comment("; ".join(filter(None, [known, " ".join(reason.split())])))
    edited: str = tomlkit.dumps(document)
    # What tomlkit adds ends as lines do on Unix.
    return re.sub(r"(?<!\r)\n", "\r\n", edited) if "\r\n" in text else edited


def _array(entries: Sequence[str]) -> Array:
    array = tomlkit.array()
    array.extend(entries)
    array.multiline(len(str(list(entries))) > _MAX_LINE)
    return array


def _require_nothing_else(shown: Path, text: str, after: str, variant: str, wanted: dict[str, Any]) -> None:
    """Check that what was written reads as what was there, but for the variant.

    Raises
    ------
    RunError
        It does not; nothing was written.
    """
    expected = tomllib.loads(text)
    expected["variants"][variant] = wanted
    try:
        is_right = tomllib.loads(after) == expected
    except tomllib.TOMLDecodeError:
        is_right = False
    if not is_right:
        raise RunError(f"{shown}: its layout is not understood well enough to edit it; paste the list yourself")


def _replace(file: Path, text: str, case: Case) -> None:
    try:
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".parity-") as folder:
            temporary = Path(folder) / file.name
            temporary.write_bytes(text.encode())
            temporary.chmod(file.stat().st_mode)
            _read_unchanged(file, case)
            temporary.replace(file)
    except OSError as error:
        raise RunError(
            f"{case.file}: cannot be written ({error.strerror or error}); paste the list yourself"
        ) from error
