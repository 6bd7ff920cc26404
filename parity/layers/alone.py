"""A layer as an engine of its own, fed with the reference's tensors: what it errs by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorShapeProto

from parity.backends import get_backend
from parity.backends.engine import OnnxSource
from parity.build_options import Quantization
from parity.errors import BackendError, FeedError, ModelError, PrecisionError
from parity.graph import is_quantized
from parity.layers.extract import cut, expose
from parity.layers.points import float_outputs
from parity.layers.reference import inputs_of
from parity.layers.walk import Walk
from parity.options import SessionOptions
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx import ModelProto

    from parity.backends.engine import EngineBackend, EngineRequest
    from parity.graph import TensorInfo
    from parity.layers.observe import Feeds
    from parity.layers.rows import Measured

_FLOAT32 = frozenset({Precision.FP32, Precision.TF32})


@dataclass(frozen=True, slots=True)
class Alone:
    """What layers are taken out of, and run on.

    Attributes
    ----------
    model
        The reference's.
    request
        Of the whole engine.
    boundary
        Tensors that a layer is fed from outside with.
    """

    model: ModelProto
    request: EngineRequest
    backend: EngineBackend
    boundary: frozenset[str]
    feeds: Feeds
    timeout_s: float


def reads_inputs_alone(alone: Alone, tensor: str) -> bool:
    """Return whether nothing reaches a point's layer but the inputs of the model."""
    return alone.boundary.isdisjoint(Walk(alone.model.graph).between([tensor], alone.boundary).reads)


def measure_alone(alone: Alone, measured: Measured) -> str:
    """Build a point's layer as an engine of its own and add what it errs; return why it could not be, or nothing."""
    tensor = measured.point.tensor
    source = _source(alone.request, measured.precision)
    if source is None or tensor not in float_outputs(source):
        return f"{tensor}: its layer cannot be built alone, there is no model of it at {measured.precision}"
    part, names = cut(source, [tensor], alone.boundary)
    try:
        _run(alone, measured, part, names[tensor])
    except (BackendError, FeedError, ModelError, PrecisionError) as error:
        return f"{tensor}: its layer could not be built or run alone: {error}"
    return ""


def _source(request: EngineRequest, precision: Precision) -> ModelProto | None:
    """Return the model that a layer of a precision is cut out of; None where there is none."""
    source = request.source
    if not isinstance(source, OnnxSource):
        return None
    if precision in _FLOAT32:
        return source.model
    # The scales of an implicit calibrator are the whole network's.
    return None if request.options.quantization is Quantization.IMPLICIT else source.typed


def _run(alone: Alone, measured: Measured, part: ModelProto, output: str) -> None:
    tensor = measured.point.tensor
    needed = [value.name for value in part.graph.input if value.name in alone.boundary]
    wanted = list(dict.fromkeys([tensor, *needed]))
    with get_backend("onnxruntime").open(expose(alone.model, wanted), SessionOptions()) as reference:
        given = ({**feed, **reference.run(inputs_of(reference, feed))} for feed in alone.feeds())
        first = next(given)
        shaped = _with_shapes(part, first)
        request = _request(alone.request, shaped, measured.precision)
        with alone.backend.open_engine(request, alone.timeout_s) as session:
            for tensors in chain([first], given):
                # A last, smaller batch does not fit an engine of fixed shapes.
                if all(tensors[info.name].shape == first[info.name].shape for info in session.inputs):
                    actual = session.run(typed_feed(session.inputs, tensors))[output]
                    measured.add_alone(tensors[tensor], actual)


def _request(request: EngineRequest, part: ModelProto, precision: Precision) -> EngineRequest:
    # The part says its types itself, so that a layer which half made slower alone does not fall back to float32.
    asked = Precision.INT8 if is_quantized(part) else precision
    return replace(request, source=OnnxSource(part, part, is_own=True), precision=asked, profiles=(), calibration=None)


def _with_shapes(part: ModelProto, tensors: Mapping[str, np.ndarray]) -> ModelProto:
    """Give every input the shape that it is fed with: TensorRT's parser asks for the rank at least."""
    for value in part.graph.input:
        dims = [TensorShapeProto.Dimension(dim_value=size) for size in tensors[value.name].shape]
        value.type.tensor_type.ClearField("shape")
        value.type.tensor_type.shape.CopyFrom(TensorShapeProto(dim=dims))
    return part


def typed_feed(inputs: Sequence[TensorInfo], tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return an engine's inputs among tensors; floats in the float type that the engine takes."""
    import ml_dtypes  # noqa: F401 - its import gives NumPy the names of its dtypes

    fed = {}
    with np.errstate(over="ignore"):
        for info in inputs:
            array, wanted = tensors[info.name], np.dtype(info.dtype)
            is_float = array.dtype.kind == "f" and wanted.kind in "fV"
            fed[info.name] = array.astype(wanted) if is_float and array.dtype != wanted else array
    return fed
