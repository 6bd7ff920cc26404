"""Which nodes of a model compute at which half type: the plan that typed models and rounded graphs both follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
from onnx import TensorProto

from parity.errors import PrecisionError
from parity.precision.names import kept_nodes, remedy_of_nothing_left
from parity.precision.scope import Scope, enter, formal_of, open_scope, subgraphs
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from onnx import ModelProto, NodeProto

    from parity.options import PrecisionOptions

HALF_TYPES: dict[Precision, int] = {Precision.FP16: TensorProto.FLOAT16, Precision.BF16: TensorProto.BFLOAT16}
# The largest finite value: (2 - 2^-10) * 2^15 and (2 - 2^-7) * 2^127.
_LARGEST: dict[int, float] = {TensorProto.FLOAT16: 65504.0, TensorProto.BFLOAT16: (2 - 2.0**-7) * 2.0**127}
# Nodes that stay as they are: an attribute names their type, or their numbers are the quantization itself.
_NEVER = frozenset({"Cast", "Constant", "ConstantOfShape", "EyeLike", "Bernoulli", "RandomNormal", "RandomUniform",
                    "RandomNormalLike", "RandomUniformLike", "QuantizeLinear", "DequantizeLinear",
                    "DynamicQuantizeLinear"})  # fmt: skip
Assignment = dict[str, int]
"""Node name -> FLOAT16 or BFLOAT16; nodes that are missing compute in float32."""


@dataclass(frozen=True, slots=True)
class HalfSlots:
    """Positions of a node's float32 inputs and outputs that its operator also takes in half."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def half_slots(node: NodeProto, scope: Scope) -> HalfSlots:
    """Return which float32 inputs and outputs of a node could be half.

    The operator's schema decides (``Resize`` scales and ``NonMaxSuppression`` scores must stay float32). It is asked
    for float16 in either case: operators took bfloat16 into their schemas late, TensorRT's layers take both alike.
    """
    formal = formal_of(node, scope.opsets)
    if formal is None or any(True for _ in subgraphs(node)):
        return HalfSlots((), ())
    inputs, outputs = formal.of(node)
    return HalfSlots(
        tuple(i for i, kind in enumerate(inputs) if kind in formal.halves and scope.is_float(node.input[i])),
        tuple(i for i, kind in enumerate(outputs) if kind in formal.halves and scope.is_float(node.output[i])),
    )


def assign(model: ModelProto, options: PrecisionOptions) -> Assignment:
    """Return the half type of every node that can compute in half and is not kept.

    A node can when it has a float32 output and its operator takes half there.

    Raises
    ------
    PrecisionError
        The keep-list matches nothing, or no node is left to change.
    """
    half = HALF_TYPES[options.precision]
    kept = kept_nodes(model.graph, options.keep)
    kept_type = HALF_TYPES.get(options.keep_precision)
    plan: Assignment = {}
    scope = open_scope(model)
    for node in _computing_nodes(scope):
        if node.name not in kept:
            plan[node.name] = half
        elif kept_type is not None:
            plan[node.name] = kept_type
    if half not in plan.values():
        raise PrecisionError(
            f"{options.precision}: no node would compute in {options.precision}; expected at least one float32 node "
            f"that is not kept: {_remedy(scope, kept)}"
        )
    return plan


def has_nodes_for_half(model: ModelProto) -> bool:
    """Whether a model has a node that can compute in half."""
    return any(True for _ in _computing_nodes(open_scope(model)))


def _remedy(scope: Scope, kept: AbstractSet[str]) -> str:
    if TensorProto.DOUBLE in scope.types.values():
        return "the model computes in float64, export it in float32"
    return remedy_of_nothing_left(kept)


def _computing_nodes(scope: Scope) -> Iterator[NodeProto]:
    for node in scope.graph.node:
        for subgraph in subgraphs(node):
            yield from _computing_nodes(enter(subgraph, scope.opsets, scope))
        if node.op_type not in _NEVER and half_slots(node, scope).outputs:
            yield node


def _dtype(elem_type: int) -> np.dtype:
    return np.dtype(np.float16 if elem_type == TensorProto.FLOAT16 else ml_dtypes.bfloat16)


def round_array(values: np.ndarray, elem_type: int) -> np.ndarray:
    """Round float32 values to a half type, clamping finite values to its range as TensorRT's builder does.

    Infinities and NaN stay what they are. Returns an array of the half dtype.
    """
    dtype, largest = _dtype(elem_type), _LARGEST[elem_type]
    clamped = np.where(np.isinf(values), values, np.clip(values, -largest, largest))
    return clamped.astype(dtype)


@dataclass(frozen=True, slots=True)
class RoundingLoss:
    """What rounding did to one constant beyond losing digits.

    ``clamped`` counts finite values beyond the format's range, ``flushed`` those too small for it, of ``size`` in all.
    """

    name: str
    size: int
    clamped: int
    flushed: int


def rounding_loss(name: str, values: np.ndarray, rounded: np.ndarray, elem_type: int) -> RoundingLoss:
    """Count what rounding float32 values to a half type has destroyed."""
    largest = _LARGEST[elem_type]
    clamped = np.isfinite(values) & (np.abs(values) > largest)
    return RoundingLoss(
        name, values.size, int(np.count_nonzero(clamped)), int(np.count_nonzero((values != 0) & (rounded == 0)))
    )


def describe_losses(losses: Sequence[RoundingLoss]) -> tuple[str, ...]:
    """Return a sentence on clamped and one on flushed constants, each naming the worst; none where nothing was lost."""
    clamped = [(loss.clamped, loss) for loss in losses if loss.clamped]
    flushed = [(loss.flushed, loss) for loss in losses if loss.flushed]
    return (
        *_describe(clamped, "beyond the format's range and clamped"),
        *_describe(flushed, "too small for the format and become 0"),
    )


def _describe(found: Sequence[tuple[int, RoundingLoss]], what: str) -> list[str]:
    if not found:
        return []
    total = sum(count for count, _ in found)
    count, worst = max(found, key=lambda entry: entry[0] / entry[1].size)
    return [f"{total} constants in {len(found)} tensors are {what}; worst: {worst.name}, {count} of {worst.size}"]
