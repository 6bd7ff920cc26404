"""Folding what TensorRT folds before it rounds: constant expressions, and what scales or shifts a product's output.

Measured on TensorRT 8.6 (``docs/forecast.md``): batch normalisation and a constant Mul or Add right behind a convolution or
a Gemm go into its weights in float32, so that a half tensor between the two never exists. A constant Div or Sub stays where it
is, and so does everything behind a MatMul.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from parity.backends import get_backend
from parity.options import SessionOptions
from parity.precision.edit import drop_unused_initializers, reads
from parity.precision.names import tensor_names, unused_name
from parity.precision.scope import enter, opset_imports, subgraphs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity.precision.assignment import Assignment

# A folded constant larger than this costs more memory than its fold is worth.
_LARGEST_CONSTANT_BYTES = 64 * 2**20
_RANDOM = frozenset({"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"})
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm"})
# Their constant operands are the quantization: folding them would undo it.
_QUANTIZATION = frozenset({"QuantizeLinear", "DequantizeLinear"})


def fold_constants(model: ModelProto) -> int:
    """Replace nodes of the main graph that read constants only by their values, in place; return how many went."""
    graph = model.graph
    foldable = list(_constant_nodes(graph))
    if not foldable:
        return 0
    values = _evaluate(model, foldable)
    outputs = {value.name for value in graph.output}
    gone = {
        node.name
        for node in foldable
        if all(name in values and name not in outputs for name in node.output if name)
    }
    needed = {name for node in graph.node if node.name not in gone for name in reads(node)}
    for node in foldable:
        if node.name in gone:
            graph.initializer.extend(
                numpy_helper.from_array(values[name], name) for name in node.output if name in needed
            )
    remaining = [node for node in graph.node if node.name not in gone]
    del graph.node[:]
    graph.node.extend(remaining)
    drop_unused_initializers(graph)
    return len(gone)


def _constant_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        plain = node.op_type not in _RANDOM | _QUANTIZATION and not any(True for _ in subgraphs(node))
        if plain and node.output and all(name in constants for name in node.input if name):
            constants.update(node.output)
            yield node


def _evaluate(model: ModelProto, nodes: list[NodeProto]) -> dict[str, np.ndarray]:
    names = [name for node in nodes for name in node.output if name]
    read = {name for node in nodes for name in node.input}
    types = enter(model.graph, opset_imports(model), None).types
    part = ModelProto()
    part.CopyFrom(model)
    part.graph.Clear()
    part.graph.name = "constants"
    part.graph.node.extend(nodes)
    part.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in read)
    part.graph.output.extend(
        helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), None) for name in names if name in types
    )
    with get_backend("onnxruntime").open(part, SessionOptions()) as session:
        values = session.run({})
    return {name: array for name, array in values.items() if array.nbytes <= _LARGEST_CONSTANT_BYTES}


@dataclass(frozen=True, slots=True)
class _Affine:
    """``y = x * scale + shift`` along a tensor's channel axis; both are (channels,) float64, or () for one number."""

    scale: np.ndarray
    shift: np.ndarray


def fold_scales(model: ModelProto, assignment: Assignment) -> int:
    """Fold batch normalisations and constant scales into the convolutions before them, in place; return how many went.

    Only where both nodes are assigned alike, the convolution's weights are constant, and nothing else reads what stands between.
    """
    taken = tensor_names(model.graph)
    return _fold_graph(model.graph, assignment, taken)


def _fold_graph(graph: GraphProto, assignment: Assignment, taken: set[str]) -> int:
    count = sum(_fold_graph(inner, assignment, taken) for node in graph.node for inner in subgraphs(node))
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers = count_readers(graph)
    by_input = {name: node for node in graph.node for name in node.input}
    gone: set[str] = set()
    for conv in graph.node:
        while conv.op_type in _PRODUCTS:
            follower = by_input.get(conv.output[0])
            if follower is None or readers[conv.output[0]] != 1:
                break
            affine = _affine_of(follower, conv, constants)
            alike = assignment.get(follower.name) == assignment.get(conv.name)
            if affine is None or not alike or not _absorb(conv, affine, graph, constants, taken):
                break
            gone.add(follower.name)
            conv.output[0] = follower.output[0]
    remaining = [node for node in graph.node if node.name not in gone]
    del graph.node[:]
    graph.node.extend(remaining)
    drop_unused_initializers(graph)
    return count + len(gone)


def count_readers(graph: GraphProto) -> dict[str, int]:
    """Return how often every tensor is read: by nodes, by their subgraphs, and as a graph output."""
    counts: dict[str, int] = {}
    for node in graph.node:
        captured = reads(node) - set(node.input)
        for name in (*node.input, *captured):
            counts[name] = counts.get(name, 0) + 1
    for value in graph.output:
        counts[value.name] = counts.get(value.name, 0) + 1
    return counts


def _affine_of(node: NodeProto, product: NodeProto, constants: dict[str, TensorProto]) -> _Affine | None:
    """Return what a node does to a product's output channel by channel; None if that is not a constant scale or shift."""
    if node.op_type == "BatchNormalization" and len(node.output) == 1:
        return _batch_norm(node, constants)
    other = next((name for name in node.input if name != product.output[0]), "")
    if node.op_type not in {"Mul", "Add"} or other not in constants:
        return None
    values = _per_channel(numpy_helper.to_array(constants[other]).astype(np.float64), product.op_type == "Gemm")
    if values is None:
        return None
    return _Affine(values, np.zeros(())) if node.op_type == "Mul" else _Affine(np.ones(()), values)


def _batch_norm(node: NodeProto, constants: dict[str, TensorProto]) -> _Affine | None:
    if any(name not in constants for name in node.input[1:5]):
        return None
    gamma, beta, mean, variance = (
        numpy_helper.to_array(constants[name]).astype(np.float64) for name in node.input[1:5]
    )
    epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)
    scale = gamma / np.sqrt(variance + epsilon)
    return _Affine(scale, beta - mean * scale)


def _per_channel(values: np.ndarray, is_matrix: bool) -> np.ndarray | None:
    """Return a constant as () or (channels,) if it differs along the channel axis only.

    That axis is the last of a Gemm's (rows, channels), the second of a convolution's (batch, channels, height, width).
    """
    if values.size == 1:
        return values.reshape(())
    if is_matrix:
        return values.reshape(-1) if values.size == values.shape[-1] else None
    channels_at_front = values.ndim in {3, 4, 5} and values.size == values.shape[1 if values.ndim > 3 else 0]
    return values.reshape(-1) if channels_at_front else None


def _absorb(
    node: NodeProto, affine: _Affine, graph: GraphProto, constants: dict[str, TensorProto], taken: set[str]
) -> bool:
    """Put a scale and a shift into a product's weights; return False where its weights are not constant."""
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    plain = attributes.get("alpha", 1.0) == 1.0 and attributes.get("beta", 1.0) == 1.0
    if not plain or any(name and name not in constants for name in node.input[1:]):
        return False
    weights = numpy_helper.to_array(constants[node.input[1]]).astype(np.float64)
    axis, group = _channels_of(node, attributes)
    channels = weights.shape[axis] * group
    if not {affine.scale.size, affine.shift.size} <= {1, channels}:
        return False
    has_bias = len(node.input) > 2 and bool(node.input[2])
    bias = numpy_helper.to_array(constants[node.input[2]]).astype(np.float64) if has_bias else np.zeros(1)
    scale = np.broadcast_to(affine.scale, (channels,))
    folded_bias = np.broadcast_to(bias * affine.scale + affine.shift, (*bias.shape[:-1], channels))
    names = [_add(graph, constants, taken, node.input[1], _scale_channels(weights, scale, axis, group))]
    if has_bias or np.any(folded_bias):
        names.append(_add(graph, constants, taken, f"{node.input[1]}_bias", folded_bias))
    del node.input[1:]
    node.input.extend(names)
    return True


def _channels_of(node: NodeProto, attributes: dict[str, Any]) -> tuple[int, int]:
    """Return the axis of a product's weights that runs over its output channels, and in how many groups."""
    if node.op_type == "Gemm":
        return (0 if attributes.get("transB", 0) else 1), 1
    return (0, 1) if node.op_type == "Conv" else (1, attributes.get("group", 1))


def _scale_channels(weights: np.ndarray, scale: np.ndarray, axis: int, group: int) -> np.ndarray:
    if group == 1:
        return weights * scale.reshape([-1 if i == axis else 1 for i in range(weights.ndim)])
    grouped = weights.reshape(group, -1, *weights.shape[1:]) * scale.reshape(group, 1, -1, *[1] * (weights.ndim - 2))
    return grouped.reshape(weights.shape)


def split_biases(model: ModelProto, assignment: Assignment) -> frozenset[str]:
    """Take constant biases out of assigned products, in place, as an Add of its own behind each.

    TensorRT's half kernels round a product before they add its bias (measured: a product past 65504 stays infinite
    where its bias would bring it back). The bias is added by a node ``<name>/bias``, assigned like the product.

    Returns
    -------
    The tensors between a bias and what follows; a kernel rounds them too, whatever is fused behind it.
    """
    return frozenset(_split_graph(model.graph, assignment, tensor_names(model.graph)))


def _split_graph(graph: GraphProto, assignment: Assignment, taken: set[str]) -> set[str]:
    outputs: set[str] = set()
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[NodeProto] = []
    for node in graph.node:
        for inner in subgraphs(node):
            outputs |= _split_graph(inner, assignment, taken)
        nodes.append(node)
        bias = constants.get(node.input[2]) if node.op_type in _PRODUCTS and len(node.input) > 2 else None
        if bias is None or node.name not in assignment:
            continue
        nodes.append(_take_bias(node, bias, graph, constants, taken))
        assignment[nodes[-1].name] = assignment[node.name]
        outputs.add(nodes[-1].output[0])
    del graph.node[:]
    graph.node.extend(nodes)
    return outputs


def _take_bias(
    node: NodeProto, bias: TensorProto, graph: GraphProto, constants: dict[str, TensorProto], taken: set[str]
) -> NodeProto:
    values = numpy_helper.to_array(bias).astype(np.float64)
    if node.op_type == "Gemm":
        values = values * next((attribute.f for attribute in node.attribute if attribute.name == "beta"), 1.0)
    else:
        kernel_rank = len(constants[node.input[1]].dims) - 2 if node.input[1] in constants else 2
        values = values.reshape(-1, *[1] * kernel_rank)
    name = _add(graph, constants, taken, bias.name, values)
    del node.input[2:]
    product, output = unused_name(f"{node.output[0]}_product", taken), node.output[0]
    node.output[0] = product
    return helper.make_node("Add", [product, name], [output], name=f"{node.name}/bias")


def _add(
    graph: GraphProto, constants: dict[str, TensorProto], taken: set[str], name: str, values: np.ndarray
) -> str:
    fresh = unused_name(f"{name}_folded", taken)
    tensor = numpy_helper.from_array(values.astype(np.float32), fresh)
    graph.initializer.append(tensor)
    constants[fresh] = tensor
    return fresh
