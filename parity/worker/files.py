"""Files of a harness on another machine: they come and go in pieces, and lie in the worker's own folder meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .tensor import Tensor

if TYPE_CHECKING:
    from typing import Any, Dict

    from .state import State

    Fields = Dict[str, Any]


def put_file(state: State, request: Fields) -> Fields:
    """Write a piece at the end of a file, which starts anew at 0; without a piece (None), only tell its path here."""
    path = _path(state, request["name"])
    path.parent.mkdir(parents=True, exist_ok=True)
    if request["data"] is not None:
        with path.open("ab" if request["start"] else "wb") as file:
            file.write(request["data"].array.data)
    return {"path": str(path)}


def get_file(state: State, request: Fields) -> Fields:
    """Return a piece of a file; ``data`` is None where there is no such file."""
    path = _path(state, request["name"])
    if not path.exists():
        return {"data": None}
    with path.open("rb") as file:
        file.seek(request["start"])
        return {"data": Tensor.plain(np.frombuffer(file.read(request["size"]), np.uint8))}


def drop_files(state: State, request: Fields) -> Fields:  # noqa: ARG001 - every handler takes both
    """Remove all files that were put."""
    shutil.rmtree(_folder(state), ignore_errors=True)
    return {}


def _folder(state: State) -> Path:
    return Path(state.folder).resolve() / "files"


def _path(state: State, name: str) -> Path:
    path = (_folder(state) / name).resolve()
    if _folder(state) not in path.parents:
        raise ValueError(f"{name!r}: leaves the folder of files; expected a name in it")
    return path


HANDLERS = {"put_file": put_file, "get_file": get_file, "drop_files": drop_files}
"""As in ``handlers``."""
