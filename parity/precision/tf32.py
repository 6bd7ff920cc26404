"""TF32 forecasts: the operands of products cut to a 10-bit mantissa, sums in float32."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from parity.errors import PrecisionError
from parity.precision.edit import drop_unused_initializers, replace_nodes
from parity.precision.names import tensor_names, unused_name
from parity.precision.qdq import QUANTIZED_OPERATORS
from parity.precision.scope import open_scope

OPSET_OF_WHERE = 9

# Tensor cores read float32 operands as they are and leave their 13 lowest bits out, which rounds toward zero: every
# product shrinks, and the shrinkage adds up over layers. Engines measured on an H200 lie where one operand of the two
# is rounded so: with both the forecast would be 3 to 11 dB too low, with neither up to 16 dB too high. Activations are
# taken for that one, because constants can be prepared when an engine is built. docs/forecast.md has the figures.
_DROPPED_BITS = 13
# Veltkamp's splitting (Dekker 1971): with c = x * (2^13 + 1), c - (c - x) is x rounded to nearest of 24 - 13 = 11
# significant bits. Where that went away from zero, 1 - 2^-11 times it lies half a step to a step below it, and rounds
# to the next number toward zero. It is plain float32 arithmetic, so it can stand in a graph, and exact for normal
# operands. A subnormal one keeps 11 significant bits, more than TF32 has for it. Infinities, and operands beyond
# 2^128 / (2^13 + 1), some 4e34, become NaN.
_SPLIT = np.float32(2**_DROPPED_BITS + 1)
_NEXT_BELOW = np.float32(1 - 2.0**-11)


def insert_tf32_rounding(model: ModelProto) -> tuple[int, int]:
    """Round both operands of every product of the main graph, in place; return how many products and tensors.

    Initializers are rounded to nearest, once; every other operand toward zero, by nodes before its first product. The
    model's opset is ``OPSET_OF_WHERE`` at least.

    Raises
    ------
    PrecisionError
        The model has no convolution and no matrix product.
    """
    scope = open_scope(model)
    rounder = _Rounder(model.graph)
    nodes: list[NodeProto] = []
    count = 0
    for node in model.graph.node:
        if node.op_type in QUANTIZED_OPERATORS and scope.is_float(node.output[0]):
            count += 1
            nodes.extend(rounder.round_operands(node))
        nodes.append(node)
    if not count:
        raise PrecisionError("tf32: the model has no float32 Conv, ConvTranspose, Gemm or MatMul; drop the variant")
    replace_nodes(model.graph, nodes)
    drop_unused_initializers(model.graph)
    return count, len(rounder.copies)


class _Rounder:
    """One pass over a graph: its names, its constants, and the operands that have their rounded copy already."""

    def __init__(self, graph: GraphProto) -> None:
        self._taken = tensor_names(graph)
        self._initializers = graph.initializer
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._split = self._add_factor("tf32_split", _SPLIT)
        self._next_below = self._add_factor("tf32_next_below", _NEXT_BELOW)
        self.copies: dict[str, str] = {}

    def round_operands(self, node: NodeProto) -> list[NodeProto]:
        """Make a product read rounded operands; return the new nodes to stand before it."""
        made: list[NodeProto] = []
        for position, name in enumerate(node.input[:2]):
            if name not in self.copies:
                self.copies[name] = unused_name(f"{name}_tf32", self._taken)
                made.extend(self._round(name, self.copies[name]))
            node.input[position] = self.copies[name]
        return made

    def _round(self, source: str, target: str) -> list[NodeProto]:
        if source not in self._constants:
            return self._round_toward_zero(source, target)
        self._initializers.append(_round_constant(self._constants[source], target))
        return []

    def _round_toward_zero(self, source: str, target: str) -> list[NodeProto]:
        nearest, below, lower = (self._part(target, part) for part in ("nearest", "below", "lower"))
        size, nearest_size, is_beyond = (self._part(target, part) for part in ("size", "nearest_size", "is_beyond"))
        return [
            *self._round_to_nearest(source, nearest),
            helper.make_node("Mul", [nearest, self._next_below], [below], name=f"{target}/below"),
            *self._round_to_nearest(below, lower),
            helper.make_node("Abs", [source], [size], name=f"{target}/size"),
            helper.make_node("Abs", [nearest], [nearest_size], name=f"{target}/nearest_size"),
            helper.make_node("Greater", [nearest_size, size], [is_beyond], name=f"{target}/is_beyond"),
            helper.make_node("Where", [is_beyond, lower, nearest], [target], name=f"{target}/choose"),
        ]

    def _round_to_nearest(self, source: str, target: str) -> list[NodeProto]:
        scaled, rest = self._part(target, "scaled"), self._part(target, "rest")
        return [
            helper.make_node("Mul", [source, self._split], [scaled], name=f"{target}/scale"),
            helper.make_node("Sub", [scaled, source], [rest], name=f"{target}/rest"),
            helper.make_node("Sub", [scaled, rest], [target], name=f"{target}/round"),
        ]

    def _part(self, target: str, part: str) -> str:
        return unused_name(f"{target}_{part}", self._taken)

    def _add_factor(self, wanted: str, value: np.float32) -> str:
        name = unused_name(wanted, self._taken)
        self._initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def _round_constant(tensor: TensorProto, name: str) -> TensorProto:
    """Return a float32 constant rounded to nearest, ties to even; NaN and infinities stay."""
    values = numpy_helper.to_array(tensor)
    bits = values.view(np.uint32)
    step = np.uint32(1 << _DROPPED_BITS)
    is_odd = (bits >> np.uint32(_DROPPED_BITS)) & np.uint32(1)
    rounded = (bits + (step // 2 - 1 + is_odd)) & ~(step - 1)
    return numpy_helper.from_array(np.where(np.isfinite(values), rounded.view(np.float32), values), name)
