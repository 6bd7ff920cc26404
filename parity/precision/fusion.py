"""Which tensors stay inside a fused kernel, where TensorRT does not round them.

Measured on TensorRT 8.6 (``docs/forecast.md``): a chain of pointwise operators is one kernel that computes in float32
and rounds what it writes; the constant scale of attention scores belongs to the product before it. What a product gives
is rounded, whatever is fused behind it: its residual, too, is added to a half.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.precision.fold import count_readers
from parity.precision.scope import subgraphs

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

    from parity.precision.assignment import Assignment

POINTWISE = frozenset({
    "Abs", "Add", "Ceil", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
    "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul", "Neg", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid",
    "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Swish", "Tan", "Tanh", "ThresholdedRelu",
})  # fmt: skip
"""Operators of which TensorRT makes one kernel where they follow each other."""


def fused_nodes(model: ModelProto, assignment: Assignment, writing: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the names of the nodes whose output is never written in half, those of subgraphs included.

    Nodes, not tensors: the branches of an If may call their tensors alike. ``writing`` are nodes whose output is known
    to be rounded, although they are pointwise.
    """
    return frozenset(_fused(model.graph, assignment) - writing)


def _fused(graph: GraphProto, assignment: Assignment) -> set[str]:
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = _inside_pointwise_chains(graph, assignment, readers) | _attention_scores(graph, assignment, readers)
    for node in graph.node:
        for inner in subgraphs(node):
            found |= _fused(inner, assignment)
    return found


def _inside_pointwise_chains(
    graph: GraphProto, assignment: Assignment, readers: dict[str, list[NodeProto]]
) -> set[str]:
    """Grow chains backwards: a pointwise node joins the chain that all readers of its output belong to."""
    counts = count_readers(graph)
    chain_of: dict[str, str] = {}
    inside: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type not in POINTWISE or node.name not in assignment:
            continue
        followers = readers.get(node.output[0], [])
        chains = {chain_of.get(follower.name, "") for follower in followers}
        alike = {assignment.get(follower.name) for follower in followers} == {assignment[node.name]}
        chain = next(iter(chains)) if len(chains) == 1 and alike and counts[node.output[0]] == len(followers) else ""
        chain_of[node.name] = chain or node.name
        if chain:
            inside.add(node.name)
    return inside


def _attention_scores(graph: GraphProto, assignment: Assignment, readers: dict[str, list[NodeProto]]) -> set[str]:
    """Find products of two activations that attention scales by one constant before its softmax."""
    constants = {tensor.name for tensor in graph.initializer}
    counts = count_readers(graph)
    found: set[str] = set()
    for node in graph.node:
        if node.op_type != "MatMul" or node.name not in assignment or set(node.input) & constants:
            continue
        scores = node.output[0]
        followers = readers.get(scores, [])
        if len(followers) != 1 or counts[scores] != 1:
            continue
        scale = followers[0]
        if scale.op_type == "Mul" and set(scale.input) & constants and _leads_to_attention(scale, readers):
            found.add(node.name)
    return found


def _leads_to_attention(scale: NodeProto, readers: dict[str, list[NodeProto]]) -> bool:
    """Whether a softmax over the scaled scores, and a product with its result, follow (a mask may stand between)."""
    masked = [after for mask in _following(scale, "Add", readers) for after in _following(mask, "Softmax", readers)]
    softmaxes = [*_following(scale, "Softmax", readers), *masked]
    return any(_following(softmax, "MatMul", readers) for softmax in softmaxes)


def _following(node: NodeProto, op_type: str, readers: dict[str, list[NodeProto]]) -> list[NodeProto]:
    return [reader for reader in readers.get(node.output[0], []) if reader.op_type == op_type]
