"""The reference's side: shapes of a model's tensors, the bytes that they take, and what a session reads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from parity.backends import get_backend
from parity.layers.extract import expose_shapes
from parity.layers.points import float_outputs
from parity.options import SessionOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from onnx import ModelProto

    from parity.backends import Session

    Shapes = Mapping[str, tuple[int, ...]]

_ITEM_BYTES = 4


def tensor_shapes(model: ModelProto, feed: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Return the shapes that the model's float tensors have for a feed."""
    part, names = expose_shapes(model, list(float_outputs(model)))
    with get_backend("onnxruntime").open(part, SessionOptions()) as session:
        answer = session.run(inputs_of(session, feed))
    return {tensor: tuple(int(size) for size in answer[name]) for tensor, name in names.items()}


def float32_bytes(shapes: Shapes) -> dict[str, int]:
    """Return the bytes that tensors take as float32, by name."""
    return {name: math.prod(shape) * _ITEM_BYTES for name, shape in shapes.items()}


def inputs_of(session: Session, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what a session reads of tensors."""
    return {info.name: tensors[info.name] for info in session.inputs}
