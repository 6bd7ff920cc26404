"""What makes agreement show nothing: feeds of one value, a model that draws random numbers or is left in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.backends import get_backend
from parity.errors import BackendError, ModelError
from parity.options import SessionOptions
from parity.precision.names import drawing_nodes, training_nodes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from onnx import ModelProto

    from parity.runner.reference import PreparedCase

_ONE_VALUE = "Every input is one value in all feeds: that shows nothing of what the model does, give feeds that vary."
_DRAWING = (
    "Two runs of one feed differ, because the model draws random numbers ({}): agreement is luck. Make what it draws "
    "an input, or export the model without it, after model.eval()."
)
_TRAINING = (
    "No engine computes this: {} in training mode normalises by the mean and variance of each batch, and TensorRT's "
    "parser refuses that, or takes the recorded ones instead. Export the model after model.eval(), with "
    "training=TrainingMode.EVAL in torch.onnx.export."
)


def doubt_of(prepared: PreparedCase, *, is_engine: bool) -> str:
    """Return why a variant's agreement with the reference shows nothing, as sentences; empty where it does.

    Parameters
    ----------
    is_engine
        Whether an engine agrees: then it computes what the model says.
    """
    if prepared.is_one_value:
        return _ONE_VALUE
    if prepared.drawing:
        return _DRAWING.format(", ".join(prepared.drawing))
    training = [] if is_engine else training_nodes(prepared.model)
    if not training:
        return ""
    others = f" and {len(training) - 1} more" if len(training) > 1 else ""
    return _TRAINING.format(f"{training[0].op_type} {training[0].name or training[0].output[0]}{others}")


def what_draws(model: ModelProto, feed: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Return the operators of a model that draw random numbers, where two runs of a feed differ by them.

    A new session draws what the last one drew, so that a model agrees with itself there.
    """
    names = tuple(dict.fromkeys(node.op_type for node in drawing_nodes(model)))
    if not names:
        return ()
    try:
        with get_backend("onnxruntime").open(model, SessionOptions()) as session:
            first, second = session.run(feed), session.run(feed)
    except (ModelError, BackendError):
        # Whoever has a recorded reference needs no ONNX Runtime; an engine's repeats are held by `invariants`.
        return ()
    return () if all(first[name].tobytes() == second[name].tobytes() for name in first) else names
