"""What a reader has to know of a model itself before he believes a run of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper

from parity.graph import is_quantized, iterate_initializers
from parity.precision.names import drawing_nodes, training_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import ModelProto, TensorProto

_SHOWN = 3
_DRAWS = (
    "the model draws random numbers ({}), so that no two runs of it agree, and neither pass nor failure says anything: "
    "make what it draws an input, or export the model without it, after model.eval()"
)
_TRAINS = (
    "BatchNormalization is in training mode ({} of the model's nodes), which normalises by the mean and variance of "
    "each batch, and no engine does: TensorRT's parser refuses it, or takes the recorded ones; export the model after "
    "model.eval(), with training=TrainingMode.EVAL in torch.onnx.export"
)


def model_warnings(model: ModelProto) -> tuple[str, ...]:
    """Return what is wrong or unusual in a model, as sentences without their full stop."""
    return (*_left_in_training(model), *_lost(model), *_quantized(model), *_classical(model))


def _left_in_training(model: ModelProto) -> Iterator[str]:
    """Yield warnings of what no engine repeats: random numbers, and statistics of each batch."""
    if drawing := drawing_nodes(model):
        yield _DRAWS.format(", ".join(dict.fromkeys(node.op_type for node in drawing)))
    if training := training_nodes(model):
        yield _TRAINS.format(len(training))


def _lost(model: ModelProto) -> Iterator[str]:
    names = [tensor.name for tensor in iterate_initializers(model.graph) if _has_nan(tensor)]
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield (
            f"weights hold NaN ({', '.join(names[:_SHOWN])}{more}): what is computed from them is NaN on both sides, "
            "and judged by nothing; export the model from sound weights"
        )


def _has_nan(tensor: TensorProto) -> bool:
    values = numpy_helper.to_array(tensor)
    return values.dtype.kind == "f" and bool(np.isnan(values).any())


def _quantized(model: ModelProto) -> Iterator[str]:
    if is_quantized(model):
        yield (
            "the model is quantized already: its int8 variant is the model as it is, so a pass says nothing of what "
            "quantizing cost; to see that, name the float model as model of the case, and this one of [variants.int8]"
        )


def _classical(model: ModelProto) -> Iterator[str]:
    names = dict.fromkeys(node.op_type for node in model.graph.node if node.domain == "ai.onnx.ml")
    if names:
        yield (
            f"TensorRT itself has no operator of ai.onnx.ml ({', '.join(names)}): without plugins no engine can be "
            "built of this model, and it can be forecast alone"
        )
