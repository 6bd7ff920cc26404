"""The reference's side: shapes of a model's tensors, the bytes that they take, and what a session reads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from parity.backends import get_backend
from parity.layers.extract import expose_shapes
from parity.layers.points import float_outputs
from parity.options import SessionOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx import ModelProto

    from parity.backends import Session

    Shapes = Mapping[str, tuple[int, ...]]

OBSERVING = SessionOptions(keeps_memory=False)
"""How models are executed to look at their tensors: memory that a runtime keeps would not be in the budget."""

_ITEM_BYTES = 4


def tensor_shapes(
    model: ModelProto, feed: Mapping[str, np.ndarray], tensors: Sequence[str] | None = None
) -> dict[str, tuple[int, ...]]:
    """Return the shapes that tensors of a model, all float ones if None, have for a feed.

    Raises
    ------
    BackendError
        ONNX Runtime failed.
    """
    part, names = expose_shapes(model, list(float_outputs(model)) if tensors is None else tensors)
    with get_backend("onnxruntime").open(part, OBSERVING) as session:
        answer = session.run(inputs_of(session, feed))
    return {tensor: tuple(int(size) for size in answer[name]) for tensor, name in names.items()}


def float32_bytes(shapes: Shapes) -> dict[str, int]:
    """Return the bytes that tensors take as float32, by name."""
    return {name: math.prod(shape) * _ITEM_BYTES for name, shape in shapes.items()}


def inputs_of(session: Session, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what a session reads of tensors, in its dtypes: a variant may have half inputs of its own."""
    return {info.name: _as_dtype(tensors[info.name], info.dtype) for info in session.inputs}


def _as_dtype(tensor: np.ndarray, dtype: str) -> np.ndarray:
    # A value beyond the half range becomes infinite, as it would in an engine.
    with np.errstate(over="ignore"):
        return tensor if tensor.dtype.name == dtype else tensor.astype(np.dtype(dtype))
