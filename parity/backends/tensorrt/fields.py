"""A request's fields as a conversation takes them: plain data, arrays and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parity.backends.engine import NetworkSource
from parity.backends.tensorrt.conversation import SentFile, WrittenFile
from parity.backends.tensorrt.wire_options import build_options_to_wire

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from parity.backends.engine import EngineRequest, Profile
    from parity.backends.tensorrt.recipe import Recipe


def profile_fields(profiles: tuple[Profile, ...]) -> list[dict[str, dict[str, list[int]]]]:
    """Return the field ``profiles`` of a build."""
    return [
        {
            name: {kind: list(getattr(shapes, kind)) for kind in ("min", "opt", "max")}
            for name, shapes in profile.items()
        }
        for profile in profiles
    ]


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
    timing_cache
        A file that TensorRT reads and writes.
    calibration_cache
        A file of an implicit calibrator: written too, unless it is the user's own.
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
    own = request.options.calibration_cache
    file = SentFile(own) if own is not None else _written(cache)
    return {"kind": request.options.calibrator.value, "feeds": feeds or [], "cache": file}


def _written(path: Path | None) -> WrittenFile | None:
    return WrittenFile(path) if path is not None else None
