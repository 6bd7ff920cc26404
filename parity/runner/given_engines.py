"""Engine files from the command line: each becomes a variant of the case that it is judged against."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from parity.backends.tensorrt.engine_file import read_header
from parity.case import Variant
from parity.errors import RunError
from parity.options import PrecisionOptions
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from parity.case import Case


def with_engines(cases: Sequence[Case], engines: Sequence[Path], precision: Precision | None) -> tuple[Case, ...]:
    """Return the one case with engine files in place of its variants; the cases as they are if there is no file.

    No case is none as well: the one that was named does not load, and its own mistakes are what is to be told.

    Parameters
    ----------
    precision
        What the files claim to be; what their own header says if None.

    Raises
    ------
    RunError
        Several cases, two files of one name, or a file that does not say its precision.
    BackendError
        A file is missing, or is no engine.
    """
    if not engines or not cases:
        return tuple(cases)
    if len(cases) != 1:
        raise RunError(f"--engine: is judged against one case; got {len(cases)}; name its case folder")
    variants = tuple(_variant(path, precision) for path in engines)
    names = [variant.name for variant in variants]
    if len(set(names)) < len(names):
        raise RunError(f"--engine: two files have one name in {', '.join(names)}; rename one")
    return (replace(cases[0], variants=variants),)


def _variant(path: Path, precision: Precision | None) -> Variant:
    header = read_header(path)
    claimed = precision or _precision_of(header.metadata)
    if claimed is None:
        raise RunError(f"{path}: does not say what precision it claims to be; add --precision fp16, int8, …")
    # A variant is named by letters, digits, dots, dashes and underscores.
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).lstrip("._-") or "engine"
    return Variant(name, PrecisionOptions(claimed), engine=path.absolute())


def _precision_of(metadata: object) -> Precision | None:
    """Return what an Ultralytics header says of how the engine was exported: ``args`` with ``half`` and ``int8``."""
    arguments = metadata.get("args") if isinstance(metadata, dict) else None
    if not isinstance(arguments, dict):
        return None
    if arguments.get("int8"):
        return Precision.INT8
    return Precision.FP16 if arguments.get("half") else Precision.FP32
