"""TF32 forecasts: the operands of products rounded to a 10-bit mantissa, sums in float32."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from parity.errors import PrecisionError
from parity.precision.edit import replace_nodes
from parity.precision.names import tensor_names, unused_name
from parity.precision.qdq import QUANTIZED_OPERATORS
from parity.precision.scope import open_scope

# Veltkamp's splitting (Dekker 1971): with c = x * (2^13 + 1), c - (c - x) is x rounded to 24 - 13 = 11 significant
# bits. It is plain float32 arithmetic, so it can stand in a graph as three operators. Infinities, and operands beyond
# 2^128 / (2^13 + 1), some 4e34, become NaN.
_SPLIT = np.float32(2**13 + 1)


def insert_tf32_rounding(model: ModelProto) -> tuple[int, int]:
    """Round both operands of every product of the main graph, in place; return how many products and tensors.

    Raises
    ------
    PrecisionError
        The model has no convolution and no matrix product.
    """
    scope = open_scope(model)
    taken = tensor_names(model.graph)
    factor = unused_name("tf32_split", taken)
    copies: dict[str, str] = {}
    nodes: list[NodeProto] = []
    count = 0
    for node in model.graph.node:
        if node.op_type in QUANTIZED_OPERATORS and scope.is_float(node.output[0]):
            count += 1
            for position, name in enumerate(node.input[:2]):
                if name not in copies:
                    copies[name] = unused_name(f"{name}_tf32", taken)
                    nodes.extend(_split(name, copies[name], factor, taken))
                node.input[position] = copies[name]
        nodes.append(node)
    if not count:
        raise PrecisionError("tf32: the model has no float32 Conv, ConvTranspose, Gemm or MatMul; drop the variant")
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(_SPLIT), factor))
    replace_nodes(model.graph, nodes)
    return count, len(copies)


def _split(source: str, target: str, factor: str, taken: set[str]) -> list[NodeProto]:
    scaled, rest = unused_name(f"{target}_scaled", taken), unused_name(f"{target}_rest", taken)
    return [
        helper.make_node("Mul", [source, factor], [scaled], name=f"{target}/scale"),
        helper.make_node("Sub", [scaled, source], [rest], name=f"{target}/rest"),
        helper.make_node("Sub", [scaled, rest], [target], name=f"{target}/round"),
    ]
