"""Which tensors stay inside a fused kernel, where TensorRT does not round them.

Measured on TensorRT 8.6 (``docs/forecast.md``): a convolution adds its residual before it rounds, and a chain of pointwise
operators is one kernel that computes in float32 and rounds what it writes. What stands between a convolution and a
pointwise chain is rounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.precision.fold import count_readers
from parity.precision.scope import subgraphs

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

    from parity.precision.assignment import Assignment

_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
_POINTWISE = frozenset({
    "Abs", "Add", "Ceil", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log",
    "Max", "Min", "Mish", "Mul", "Neg", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign",
    "Sqrt", "Sub", "Swish", "Tan", "Tanh", "ThresholdedRelu",
})  # fmt: skip


def unrounded_tensors(model: ModelProto, assignment: Assignment) -> frozenset[str]:
    """Return the names of the tensors that are never written in half, those of subgraphs included."""
    return frozenset(_unrounded(model.graph, assignment))


def _unrounded(graph: GraphProto, assignment: Assignment) -> set[str]:
    found = _inside_pointwise_chains(graph, assignment) | _before_residuals(graph, assignment)
    for node in graph.node:
        for inner in subgraphs(node):
            found |= _unrounded(inner, assignment)
    return found


def _inside_pointwise_chains(graph: GraphProto, assignment: Assignment) -> set[str]:
    """Grow chains backwards: a pointwise node joins the chain that all readers of its output belong to."""
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    counts = count_readers(graph)
    chain_of: dict[str, str] = {}
    inside: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type not in _POINTWISE or node.name not in assignment:
            continue
        output = node.output[0]
        followers = readers.get(output, [])
        chains = {chain_of.get(follower.name) for follower in followers}
        alike = {assignment.get(follower.name) for follower in followers} == {assignment[node.name]}
        if len(chains) == 1 and None not in chains and alike and counts[output] == len(followers):
            chain_of[node.name] = chains.pop() or node.name
            inside.add(output)
        else:
            chain_of[node.name] = node.name
    return inside


def _before_residuals(graph: GraphProto, assignment: Assignment) -> set[str]:
    """Find convolutions whose only reader adds another tensor to them."""
    constants = {tensor.name for tensor in graph.initializer}
    counts = count_readers(graph)
    adds = {name: node for node in graph.node if node.op_type == "Add" for name in node.input}
    found: set[str] = set()
    taken: set[str] = set()
    for node in graph.node:
        add = adds.get(node.output[0]) if node.op_type in _CONVOLUTIONS and node.name in assignment else None
        if add is None or add.name in taken or counts[node.output[0]] != 1:
            continue
        if assignment.get(add.name) == assignment[node.name] and not set(add.input) & constants:
            found.add(node.output[0])
            taken.add(add.name)
    return found
