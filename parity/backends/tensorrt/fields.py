"""A request's fields as a conversation takes them: plain data, arrays and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parity.backends.engine import NetworkSource
from parity.backends.tensorrt.conversation import SentFile, WrittenFile
from parity.backends.tensorrt.wire_options import build_options_to_wire

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from parity.backends.engine import EngineRequest, Exposed, Profile
    from parity.backends.tensorrt.recipe import Recipe
    from parity.build_options import ShapeProfile


def profile_fields(profiles: tuple[Profile, ...]) -> list[dict[str, dict[str, list[int]]]]:
    """Return the field ``profiles`` of a build."""
    return [{name: _range_fields(range_) for name, range_ in profile.items()} for profile in profiles]


def _range_fields(range_: ShapeProfile) -> dict[str, list[int]]:
    return {"min": list(range_.min), "opt": list(range_.opt), "max": list(range_.max)}


def observe_fields(observe: Exposed) -> dict[str, Any]:
    """Return the field ``observe`` of a build."""
    return {"tensors": list(observe.tensors), "how": observe.how.value, "half": list(observe.half)}


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
    # Where they are not needed they do not travel, nor count for what was recorded.
    types = {"types": dict(recipe.types)} if recipe.types else {}
    observe = {"observe": observe_fields(request.observe)} if request.observe is not None else {}
    return {
        **types,
        **observe,
        "source": _source_fields(request, model),
        "precision": recipe.precision.value,
        "typing": recipe.typing.value,
        "obey": recipe.obey,
        "keep": list(recipe.keep),
        "keep_precision": recipe.keep_precision.value,
        "options": build_options_to_wire(request.options),
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
