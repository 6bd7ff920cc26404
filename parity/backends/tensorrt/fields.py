"""A request's fields as a conversation takes them: plain data, arrays and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parity.backends.engine import NetworkSource
from parity.backends.tensorrt.conversation import SentFile, WrittenFile

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from parity.backends.engine import EngineRequest, Profile
    from parity.backends.tensorrt.recipe import Recipe
    from parity.build_options import BuildOptions


def plain(value: Any, file: Callable[[Path], Any] = SentFile) -> Any:
    """Return options as plain data: dataclasses and mappings as dicts, tuples as lists, an enum's member as its text.

    A dataclass's field that is None is left out: it means "as TensorRT has it", as does a key that is not there.

    Parameters
    ----------
    file
        What becomes of a path; a file that the worker reads by default.
    """
    if isinstance(value, Path):
        return file(value)
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        given = {entry.name: getattr(value, entry.name) for entry in fields(value)}
        return {name: plain(item, file) for name, item in given.items() if item is not None}
    if isinstance(value, Mapping):
        return {str(key): plain(item, file) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item, file) for item in value]
    return value


def options_fields(options: BuildOptions) -> dict[str, Any]:
    """Return the field ``options`` of a build or a load."""
    converted: dict[str, Any] = plain(options)
    return converted


def profile_fields(profiles: tuple[Profile, ...]) -> list[dict[str, dict[str, list[int]]]]:
    """Return the field ``profiles`` of a build."""
    converted: list[dict[str, dict[str, list[int]]]] = plain(profiles)
    return converted


def build_fields(
    request: EngineRequest,
    recipe: Recipe,
    *,
    model: Path | None,
    plan: Path,
    timing_cache: Path | None = None,
    feeds: list[dict[str, np.ndarray]] | None = None,
    calibration_cache: Path | None = None,
) -> dict[str, Any]:
    """Return the fields of a build.

    Parameters
    ----------
    model
        The recipe's model as a file; None where a function fills the network.
    plan
        Where the plan is written.
    timing_cache, calibration_cache
        Files that TensorRT reads and writes.
    feeds
        What an implicit calibrator is fed.
    """
    return {
        "source": _source_fields(request, model),
        "precision": recipe.precision.value,
        "typing": recipe.typing.value,
        "obey": recipe.obey,
        "keep": list(recipe.keep),
        "keep_precision": recipe.keep_precision.value,
        "options": options_fields(request.options),
        "profiles": profile_fields(request.profiles),
        "calibration": _calibration_fields(request, feeds, calibration_cache) if recipe.is_calibrated else None,
        "timing_cache": _written(timing_cache),
        "plan": WrittenFile(plan),
    }


def _source_fields(request: EngineRequest, model: Path | None) -> dict[str, Any]:
    source = request.source
    if isinstance(source, NetworkSource):
        weights = SentFile(source.weights) if source.weights is not None else None
        return {"kind": "network", "file": SentFile(source.file), "function": source.function, "weights": weights}
    assert model is not None
    return {"kind": "onnx", "model": SentFile(model)}


def _calibration_fields(
    request: EngineRequest, feeds: list[dict[str, np.ndarray]] | None, cache: Path | None
) -> dict[str, Any]:
    return {"kind": request.options.calibrator.value, "feeds": feeds or [], "cache": _written(cache)}


def _written(path: Path | None) -> WrittenFile | None:
    return WrittenFile(path) if path is not None else None
