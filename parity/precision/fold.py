"""Folding what TensorRT folds before it rounds: constant expressions, and what scales or shifts a product's output.

Measured on TensorRT 8.6 (``docs/forecast.md``): batch normalisation and a constant Mul or Add right behind a
convolution or a Gemm go into its weights in float32, so that a half tensor between the two never exists. A constant Div
or Sub stays where it is, and so does everything behind a MatMul.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from parity.backends import get_backend
from parity.options import SessionOptions
from parity.precision.edit import drop_unused_initializers, reads, replace_nodes
from parity.precision.names import DRAWING, all_nodes, tensor_names, unused_name
from parity.precision.scope import enter, opset_imports, subgraphs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity.precision.assignment import Assignment

# A folded constant larger than this costs more memory than its fold is worth.
_LARGEST_CONSTANT_BYTES = 64 * 2**20
_OPSET_OF_GEMM_WITHOUT_BIAS = 11
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm"})
# Folding the constant operands of quantization would undo it; Constant nodes that are no initializers by now hold
# strings or sparse tensors, which ONNX Runtime does not always hand out.
_KEPT = frozenset({"QuantizeLinear", "DequantizeLinear", "Constant"})


def fold_constants(model: ModelProto) -> int:
    """Replace nodes of the main graph that read constants only by their values, in place; return how many went."""
    graph = model.graph
    foldable = list(_constant_nodes(graph))
    if not foldable:
        return 0
    values = _evaluate(model, foldable)
    outputs = {value.name for value in graph.output}
    gone = {
        node.name for node in foldable if all(name in values and name not in outputs for name in node.output if name)
    }
    folded = [name for node in foldable if node.name in gone for name in node.output if name]
    graph.initializer.extend(numpy_helper.from_array(values[name], name) for name in folded)
    replace_nodes(graph, (node for node in graph.node if node.name not in gone))
    drop_unused_initializers(graph)
    return len(gone)


def _constant_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        plain = node.op_type not in DRAWING | _KEPT and not any(True for _ in subgraphs(node))
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
    part.graph.output.extend(helper.make_tensor_value_info(name, types[name], None) for name in names if name in types)
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

    Only where both nodes are assigned alike, the convolution's weights are constant, and nothing else reads what stands
    between.
    """
    return _fold_graph(model.graph, assignment, tensor_names(model.graph))


class _Constants:
    """The float32 initializers of one graph, by name, and room for new ones."""

    def __init__(self, graph: GraphProto, taken: set[str]) -> None:
        self._graph = graph
        self._taken = taken
        self._tensors = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def read(self, name: str) -> np.ndarray:
        """Return a constant as float64."""
        return numpy_helper.to_array(self._tensors[name]).astype(np.float64)

    def rank(self, name: str) -> int:
        """Return a constant's number of dimensions."""
        return len(self._tensors[name].dims)

    def add(self, name: str, values: np.ndarray) -> str:
        """Add a float32 constant and return its name, made from another's."""
        fresh = unused_name(f"{name}_folded", self._taken)
        tensor = numpy_helper.from_array(values.astype(np.float32), fresh)
        self._graph.initializer.append(tensor)
        self._tensors[fresh] = tensor
        return fresh


def _fold_graph(graph: GraphProto, assignment: Assignment, taken: set[str]) -> int:
    count = sum(_fold_graph(inner, assignment, taken) for node in graph.node for inner in subgraphs(node))
    constants = _Constants(graph, taken)
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
            if affine is None or not alike or not _absorb(conv, affine, constants):
                break
            gone.add(follower.name)
            conv.output[0] = follower.output[0]
    replace_nodes(graph, (node for node in graph.node if node.name not in gone))
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


def _affine_of(node: NodeProto, product: NodeProto, constants: _Constants) -> _Affine | None:
    """Return what a node does to a product's output by channel; None if that is not a constant scale or shift."""
    if node.op_type == "BatchNormalization" and len(node.output) == 1:
        return _batch_norm(node, constants)
    other = next((name for name in node.input if name != product.output[0]), "")
    if node.op_type not in {"Mul", "Add"} or other not in constants or product.input[1] not in constants:
        return None
    values = _per_channel(constants.read(other), constants.rank(product.input[1]))
    if values is None:
        return None
    return _Affine(values, np.zeros(())) if node.op_type == "Mul" else _Affine(np.ones(()), values)


def _batch_norm(node: NodeProto, constants: _Constants) -> _Affine | None:
    if any(name not in constants for name in node.input[1:5]):
        return None
    gamma, beta, mean, variance = (constants.read(name) for name in node.input[1:5])
    epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)
    scale = gamma / np.sqrt(variance + epsilon)
    return _Affine(scale, beta - mean * scale)


def _per_channel(values: np.ndarray, rank: int) -> np.ndarray | None:
    """Return a constant as () or (channels,) if it differs along the channel axis only.

    That axis is the second of a product's output of a rank: (rows, channels), (batch, channels, height, width). A
    constant of a lower rank meets the last axes of the output.
    """
    if values.ndim > rank:
        return None
    if values.size == 1:
        return values.reshape(())
    channel_axis = values.ndim - rank + 1
    differs_elsewhere = channel_axis < 0 or values.size != values.shape[channel_axis]
    return None if differs_elsewhere else values.reshape(-1)


def _absorb(node: NodeProto, affine: _Affine, constants: _Constants) -> bool:
    """Put a scale and a shift into a product's weights; return False where its weights are not constant."""
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    plain = attributes.get("alpha", 1.0) == 1.0 and attributes.get("beta", 1.0) == 1.0
    if not plain or any(name and name not in constants for name in node.input[1:]):
        return False
    weights = constants.read(node.input[1])
    axis, group = _channels_of(node, attributes)
    channels = weights.shape[axis] * group
    if not {affine.scale.size, affine.shift.size} <= {1, channels}:
        return False
    has_bias = len(node.input) > 2 and bool(node.input[2])
    bias = constants.read(node.input[2]) if has_bias else np.zeros(1)
    scale = np.broadcast_to(affine.scale, (channels,))
    folded_bias = np.broadcast_to(bias * affine.scale + affine.shift, (*bias.shape[:-1], channels))
    names = [constants.add(node.input[1], _scale_channels(weights, scale, axis, group))]
    if has_bias or np.any(folded_bias):
        names.append(constants.add(f"{node.input[1]}_bias", folded_bias))
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
        scale = scale.reshape([-1 if i == axis else 1 for i in range(weights.ndim)])
        return np.asarray(weights * scale)
    grouped = weights.reshape(group, -1, *weights.shape[1:]) * scale.reshape(group, 1, -1, *[1] * (weights.ndim - 2))
    return np.reshape(grouped, weights.shape)


def split_biases(model: ModelProto, assignment: Assignment) -> frozenset[str]:
    """Take constant biases out of assigned products, in place, as an Add of its own behind each.

    TensorRT's half kernels round a product before they add its bias (measured: a product past 65504 stays infinite
    where its bias would bring it back). The bias is added by a node ``<name>/bias``, assigned like the product.

    Returns
    -------
    The nodes that add a bias; a kernel rounds what they give, whatever is fused behind them.
    """
    splitter = _Splitter(model, assignment)
    splitter.split(model.graph)
    return frozenset(splitter.added)


class _Splitter:
    """One pass that takes biases out: the plan, the names that are taken, the nodes that were added."""

    def __init__(self, model: ModelProto, assignment: Assignment) -> None:
        self.assignment = assignment
        self.needs_third = opset_imports(model).get("", 1) < _OPSET_OF_GEMM_WITHOUT_BIAS
        self.tensors = tensor_names(model.graph)
        self.names = {node.name for node in all_nodes(model.graph)}
        self.added: set[str] = set()

    def split(self, graph: GraphProto) -> None:
        """Split the products of one graph and of the subgraphs in it."""
        constants = _Constants(graph, self.tensors)
        nodes: list[NodeProto] = []
        for node in graph.node:
            for inner in subgraphs(node):
                self.split(inner)
            nodes.append(node)
            bias = _bias_behind(node, constants) if node.name in self.assignment else None
            if bias is not None:
                nodes.append(self._take_bias(node, constants.add(node.input[2], bias)))
                self._clear_bias(node, constants)
        replace_nodes(graph, nodes)

    def _take_bias(self, node: NodeProto, bias: str) -> NodeProto:
        product, output = unused_name(f"{node.output[0]}_product", self.tensors), node.output[0]
        name = unused_name(f"{node.name}/bias", self.names)
        node.output[0] = product
        self.assignment[name] = self.assignment[node.name]
        self.added.add(name)
        return helper.make_node("Add", [product, bias], [output], name=name)

    def _clear_bias(self, node: NodeProto, constants: _Constants) -> None:
        if node.op_type == "Gemm" and self.needs_third:
            node.input[2] = constants.add(f"{node.input[2]}_zero", np.zeros(()))
        else:
            del node.input[2:]


def _bias_behind(node: NodeProto, constants: _Constants) -> np.ndarray | None:
    """Return a product's constant bias as it is added to the product's output; None where there is none."""
    if node.op_type not in _PRODUCTS or len(node.input) < 3 or node.input[2] not in constants:
        return None
    values = constants.read(node.input[2])
    if node.op_type == "Gemm":
        beta = next((attribute.f for attribute in node.attribute if attribute.name == "beta"), 1.0)
        return np.asarray(values * beta)
    rank = _kernel_rank(node, constants)
    return None if rank is None else values.reshape(-1, *[1] * rank)


def _kernel_rank(node: NodeProto, constants: _Constants) -> int | None:
    """Return over how many axes a convolution slides; None where neither an attribute nor its weights tell."""
    shape = next((attribute.ints for attribute in node.attribute if attribute.name == "kernel_shape"), None)
    if shape is not None:
        return len(shape)
    return constants.rank(node.input[1]) - 2 if node.input[1] in constants else None
