"""Plan files: read, deserialised, and told apart when TensorRT refuses one.

Messages on what a file holds do not name it: the harness does, by the user's name of it; here it may be a copy.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .errors import ModelRefused, WorkerError

# TensorRT tells by text alone, quoted here from the libraries; the first pattern that its errors match decides.
_REFUSALS: tuple[tuple[str, type[WorkerError], str], ...] = (
    (
        r"host ?code ?allowed|lean runtime",
        WorkerError,
        (
            "holds code that the CPU runs as it is loaded: it is version-compatible; if you trust the file, set "
            "load.host_code = true"
        ),
    ),
    (
        r"incompatible device|current device is not compatible|expecting compute",
        WorkerError,
        "was built for another GPU; build it with this one, or with hardware compatibility",
    ),
    (
        r"magic ?tag",
        ModelRefused,
        (
            "is no plan of this TensorRT at byte {offset}: it was built by another TensorRT, or is another file; build "
            "it with {version}, or judge it with an interpreter that has the TensorRT which built it"
        ),
    ),
    (
        r"version tag|serialization version|this version of tensorrt",
        WorkerError,
        (
            "was built by another TensorRT; build it with {version}, or judge it with an interpreter that has the "
            "TensorRT which built it"
        ),
    ),
    (
        r"plugin ?creator|find plugin|plugin .*not found",
        ModelRefused,
        "uses a plugin that is not loaded; name its library in plugins",
    ),
    (r"out ?of ?memory|memory ?allocation", WorkerError, "does not fit this GPU's free memory; free some of it"),
)
_DAMAGED = "is truncated or damaged; build it anew, or copy it again and compare its SHA-256"


def read_plan(path: str, offset: int) -> bytes:
    """Read a plan file, without the ``offset`` bytes of a header before it.

    Raises
    ------
    ModelRefused
        The file cannot be read, or nothing lies behind the header.
    """
    try:
        with Path(path).open("rb") as file:
            file.seek(offset)
            plan = file.read()
    except OSError as error:
        raise ModelRefused(f"the plan {path} cannot be read: {error.strerror or error}") from error
    if not plan:
        size = Path(path).stat().st_size
        raise ModelRefused(f"the plan has {size} bytes, and nothing behind its header of {offset}; build it anew")
    return plan


def refusal(offset: int, errors: str, version: str) -> WorkerError:
    """Say what TensorRT's error lines mean for a plan that it gave no engine for, and quote them."""
    for pattern, kind, advice in _REFUSALS:
        if re.search(pattern, errors, re.IGNORECASE):
            return kind(f"the plan {advice.format(version='TensorRT ' + version, offset=offset)}. {errors}")
    return ModelRefused(f"the plan {_DAMAGED}. {errors}")


def check_usable(engine: Any) -> None:
    """Refuse an engine that has an implicit batch dimension.

    Raises
    ------
    ModelRefused
        It has one: batches lie outside its shapes, and the name-based tensor API does not run it.
    """
    if getattr(engine, "has_implicit_batch_dimension", False):
        raise ModelRefused(
            f"the plan has an implicit batch dimension (maximum {engine.max_batch_size}), which later releases "
            "dropped and which is not run here; build it from ONNX with an explicit batch: "
            "create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)), with profiles for its range"
        )
