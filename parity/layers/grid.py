"""How tensors use their 8-bit grid: what the Q/DQ pairs of a model do to the reference's values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, numpy_helper

from parity.layer_table import Quantized
from parity.layers.points import SAME_ELEMENTS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

_LEVELS = 255
"""Symmetric: -127 to 127."""


def activation_scales(model: ModelProto) -> dict[str, float]:
    """Return the scale of every computed tensor that INT8 QuantizeLinear reads with one constant scale, by its name.

    A tensor that is reshaped or transposed on its way there has that scale as well.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    zero_points = {name: tensor.data_type for name, tensor in constants.items()}
    scales = {}
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] in constants or node.input[1] not in constants:
            continue
        scale = numpy_helper.to_array(constants[node.input[1]])
        if scale.size == 1 and zero_points.get("".join(node.input[2:3])) == TensorProto.INT8:
            scales[node.input[0]] = float(scale.reshape(()))
    for node in reversed(model.graph.node):
        if node.op_type in SAME_ELEMENTS and node.output[0] in scales:
            scales.setdefault(node.input[0], scales[node.output[0]])
    return scales


@dataclass(slots=True)
class GridUse:
    """Collects over feeds how a tensor's values meet its grid."""

    scale: float
    _count: int = 0
    _saturated: int = 0
    _squares: float = 0.0
    _used: NDArray[np.bool_] | None = None

    def update(self, values: NDArray[np.floating]) -> None:
        """Add the reference's values of one feed; those that are not finite are passed over."""
        finite = values[np.isfinite(values)].astype(np.float64)
        if self._used is None:
            self._used = np.zeros(_LEVELS, np.bool_)
        steps = finite / self.scale
        levels = np.clip(np.rint(steps), -127, 127)
        self._count += finite.size
        self._saturated += int(np.count_nonzero(np.abs(steps) > 127.5))
        self._squares += float(np.square(levels - steps).sum())
        self._used[np.unique(levels).astype(np.int64) + 127] = True

    def result(self) -> Quantized | None:
        """Return what was collected; None where nothing was."""
        if not self._count or self._used is None:
            return None
        return Quantized(
            scale=self.scale,
            saturation_share=self._saturated / self._count,
            used_bin_share=float(self._used.mean()),
            rmse_steps=float(np.sqrt(self._squares / self._count)),
        )
