"""``cases/<name>/baseline/<machine key>.json``: one figure a line, keys sorted, replaced whole or not at all."""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from parity.baseline.model import FORMAT_VERSION, Baseline
from parity.errors import BaselineError

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "baseline"


def baseline_file(case_folder: Path, machine: str) -> Path:
    """Return where the accepted figures of a case on a machine lie."""
    return case_folder / FOLDER / f"{machine}.json"


def baseline_files(case_folder: Path) -> tuple[Path, ...]:
    """Return the baselines of a case, of all machines."""
    return tuple(sorted((case_folder / FOLDER).glob("*.json")))


def to_json(baseline: Baseline) -> str:
    """Return a baseline as JSON, numbers rounded to what can be reproduced, so that a change of it reads as one."""
    return "\n".join(_lines(_rounded(asdict(baseline)))) + "\n"


def from_json(text: str, where: str) -> Baseline:
    """Read a baseline.

    Raises
    ------
    BaselineError
        It is of another format version, damaged, or no baseline at all.
    """
    from pydantic import ValidationError

    version = _version(text, where)
    if version != FORMAT_VERSION:
        raise BaselineError(
            f"{where}: has format version {version!r}, this release reads {FORMAT_VERSION}; "
            "update trt-parity, or accept anew with parity baseline update --replace"
        )
    try:
        baseline: Baseline = _adapter().validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BaselineError(f"{where}: {place}: {first['msg']}; {_MEND}") from error
    return baseline


def load(file: Path) -> Baseline:
    """Read a baseline from its file.

    Raises
    ------
    BaselineError
        As ``from_json``; it cannot be read, or its name is another machine's.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BaselineError(f"{file}: cannot be read ({reason}); {_MEND}") from error
    baseline = from_json(text, str(file))
    if baseline.machine != file.stem:
        raise BaselineError(
            f"{file}: was taken on {baseline.machine}; a machine's figures are no other's: give the file its name back"
        )
    return baseline


def save(baseline: Baseline, file: Path) -> None:
    """Write a baseline in one step, so that a full disk leaves the accepted figures as they were.

    Raises
    ------
    BaselineError
        No space or no permission.
    """
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(to_json(baseline))
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except OSError as error:
        raise BaselineError(
            f"{file}: cannot be written ({error.strerror or error}); make room or allow writing there; "
            "what was accepted before still stands"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


_MEND = "restore it from version control, or accept anew with parity baseline update --replace"


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Baseline)


def _version(text: str, where: str) -> object:
    try:
        return json.loads(text).get("format_version")
    except (ValueError, AttributeError, RecursionError) as error:
        raise BaselineError(f"{where}: is no baseline ({error}); {_MEND}") from error


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        # What is empty is the default, and a line less to review.
        return {str(key): _rounded(item) for key, item in value.items() if item not in ({}, (), None)}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return _round(value) if isinstance(value, float) else value


def _round(value: float) -> float | int | str:
    if not math.isfinite(value):
        return str(value)
    # Counts and bytes are whole; of all else no more than five digits were ever reproduced.
    return int(value) if value.is_integer() else float(f"{value:.5g}")


def _lines(value: Any, indent: str = "") -> list[str]:
    """Return JSON with one entry a line; a list of plain values is one entry."""
    if isinstance(value, dict) and value:
        items = [(f"{json.dumps(key)}: ", item) for key, item in sorted(value.items(), key=_order)]
        return _block("{", items, "}", indent)
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        return _block("[", [("", item) for item in value], "]", indent)
    return [json.dumps(value)]


def _block(opening: str, items: list[tuple[str, Any]], closing: str, indent: str) -> list[str]:
    lines = [opening]
    for place, (prefix, item) in enumerate(items):
        first, *rest = _lines(item, f"{indent} ")
        lines += [f"{indent} {prefix}{first}", *rest]
        if place < len(items) - 1:
            lines[-1] += ","
    return [*lines, f"{indent}{closing}"]


def _order(item: tuple[str, Any]) -> tuple[int, str]:
    # Batch sizes are numbers: 8 stands before 64.
    return (int(item[0]), "") if item[0].isdecimal() and len(item[0]) < 10 else (0, item[0])
