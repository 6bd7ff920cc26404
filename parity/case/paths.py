"""Finding the files that a case names, and keeping it inside its folder where that matters."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from parity.case.mistakes import join_path
from parity.case.user_code import split_function

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parity.case.mistakes import Mistakes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a case lies, where its mistakes go, and whether its code may run."""

    folder: Path
    mistakes: Mistakes
    allow_python: bool


def case_name(folder: Path) -> str:
    """Return the name of a case: its folder's, as Unicode, which results are kept in; other bytes are spelt out."""
    try:
        folder.name.encode()
    except UnicodeEncodeError:
        return os.fsencode(folder.name).decode(errors="backslashreplace")
    return folder.name


def find_files(place: Place, patterns: Sequence[str] | None, path: str, *, inside: bool) -> tuple[Path, ...]:
    """Return the files that wildcards name: in the order of the wildcards, then by name with numbers by value.

    ``inside`` keeps them in the case folder. A wildcard that matches no file is a mistake, and so is one that escapes.
    """
    found: dict[Path, None] = {}
    for index, pattern in enumerate(patterns or ()):
        where = f"{path}{join_path(index)}"
        try:
            files = sorted((file for file in _glob(place.folder, pattern) if file.is_file()), key=_natural)
        except (ValueError, NotImplementedError, IndexError) as error:
            place.mistakes.add(where, f"is not a usable wildcard ({error}); got {pattern!r}")
            continue
        if not files:
            problem = "matches no file" if _is_wildcard(pattern) else "does not exist"
            place.mistakes.add(where, f"{pattern!r} {problem}; paths are relative to the case folder")
        outside = next((file for file in files if inside and not _is_inside(place, file)), None)
        if outside is not None:
            place.mistakes.add(where, f"{pattern!r} leads out of the case folder; move the files into it")
            continue
        found.update(dict.fromkeys(files))
    return tuple(found)


def find_file(place: Place, name: str | None, path: str, *, is_code: bool = False, inside: bool = False) -> Path | None:
    """Return a file that a case names, relative to its folder. None, and a mistake, without it.

    ``is_code`` says that the machine executes it: a plan or a library, which needs leave as a Python function does.
    ``inside`` keeps it in the case folder; else it may lie elsewhere.
    """
    if name is None:
        return None
    file = place.folder / name
    if is_code and not place.allow_python:
        place.mistakes.add(path, "is machine code of the case, which --no-python forbids; leave it out, or allow it")
    elif not file.is_file():
        place.mistakes.add(path, f"{name!r} does not exist; paths are relative to the case folder")
    elif inside and not _is_inside(place, file):
        place.mistakes.add(path, f"{name!r} leads out of the case folder; move the file into it")
    else:
        return file
    return None


def find_function(place: Place, reference: str | None, path: str) -> str | None:
    """Return a function's reference if code is allowed and its file lies in the case folder; load nothing."""
    if not place.allow_python:
        place.mistakes.add(path, "is Python code of the case, which --no-python forbids; use files, or allow it")
        return None
    if reference is None:
        return None
    try:
        file, _ = split_function(reference)
    except ValueError as error:
        place.mistakes.add(path, str(error))
        return None
    if not _is_inside(place, place.folder / file):
        place.mistakes.add(path, f"{file!r} lies outside the case folder; code must be inside")
    elif not (place.folder / file).is_file():
        place.mistakes.add(path, f"{file!r} does not exist; expected a Python file in the case folder")
    else:
        return reference
    return None


def _glob(folder: Path, pattern: str) -> list[Path]:
    if not _is_wildcard(pattern):
        return [folder / pattern]
    # A wildcard may start elsewhere: the fixed part before it is where the search begins.
    parts = Path(pattern).parts
    first = next(number for number, part in enumerate(parts) if _is_wildcard(part))
    return list(folder.joinpath(*parts[:first]).glob(str(Path(*parts[first:]))))


def _is_wildcard(text: str) -> bool:
    return any(character in text for character in "*?[")


def _is_inside(place: Place, path: Path) -> bool:
    return path.resolve().is_relative_to(place.folder.resolve())


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key in which ``feed2`` comes before ``feed10``."""
    parts = re.split(r"(\d+)", path.as_posix())
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]
