"""What a layer's arithmetic alone allows: the noise floor of its precision and of the depth of its sums."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from parity.tolerance import NOISE_FLOOR_DB, Precision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from onnx import NodeProto

    Shapes = Mapping[str, tuple[int, ...]]

# Operands and result are rounded: three independent errors of about the same size.
_THREE_ROUNDINGS_DB = 10 * math.log10(3)
# A sum in half, measured on N(0, 1): 58 dB at 64 terms, 46.5 at 1024, 40.6 at 4096; a line through them.
_HALF_SUM_DB, _HALF_SUM_SLOPE_DB = 75.6, 9.7
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_REDUCTIONS = frozenset({
    "GlobalAveragePool", "LayerNormalization", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMean", "ReduceSum",
    "ReduceSumSquare", "Softmax", "LogSoftmax", "InstanceNormalization", "LpNormalization", "GlobalLpPool",
})  # fmt: skip


def noise_floor_db(precision: Precision, depth: int, *, sums_in_half: bool = False) -> float:
    """Return the SQNR in dB that a layer may be expected to reach on data that is not degenerate.

    Parameters
    ----------
    depth
        Terms in one sum; 1 where there is none.
    sums_in_half
        Whether the layer may keep its sums in half: an engine's choice, which a rounded graph never makes.
    """
    if precision in {Precision.FP32, Precision.TF32}:
        # float32 sums of another order lose a digit for every fourfold of the depth.
        return NOISE_FLOOR_DB[precision] - (10 * math.log10(depth) if precision is Precision.FP32 else 0.0)
    floor = NOISE_FLOOR_DB[precision] - _THREE_ROUNDINGS_DB
    if sums_in_half and precision is Precision.FP16 and depth > 1:
        floor = min(floor, _HALF_SUM_DB - _HALF_SUM_SLOPE_DB * math.log10(depth))
    return floor


def sequence_loss_db(operators: Iterable[str]) -> float:
    """Return what several products in one layer cost beyond the floor of one, in dB.

    Their errors are independent, so their squares add up.
    """
    return 10 * math.log10(max(1, sum(operator in _PRODUCTS for operator in operators)))


def reduction_depth(nodes: Iterable[NodeProto], shapes: Shapes) -> int:
    """Return the terms in the deepest sum of a layer's nodes; 1 where there is none or where shapes are not known.

    ``shapes`` are those of tensors and constants by name.
    """
    return max((_depth(node, shapes) for node in nodes), default=1)


def _depth(node: NodeProto, shapes: Shapes) -> int:
    known = [shapes.get(name, ()) for name in node.input]
    if node.op_type == "Conv" and len(known) > 1:
        return max(1, math.prod(known[1][1:]))
    if node.op_type == "ConvTranspose" and len(known) > 1 and known[1]:
        return max(1, known[1][0])
    if node.op_type in {"MatMul", "Gemm"} and known and known[0]:
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return max(1, known[0][0] if transposed else known[0][-1])
    if node.op_type in _REDUCTIONS and known and known[0]:
        written = shapes.get(node.output[0], ())
        # Softmax and normalisations sum along an axis and keep the shape.
        kept = math.prod(written) if written and math.prod(written) != math.prod(known[0]) else 0
        return max(1, math.prod(known[0]) // kept if kept else known[0][-1])
    return 1
