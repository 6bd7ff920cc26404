"""Node names and keep-lists: which nodes of a model stay at a higher precision."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import onnx
from onnx import numpy_helper

from parity.errors import PrecisionError
from parity.precision.edit import inline_functions
from parity.precision.scope import subgraphs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    import numpy as np
    from onnx import GraphProto, ModelProto, NodeProto

_WILDCARDS = frozenset("*?[")
DRAWING = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators that draw random numbers."""


def all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield every node, those of subgraphs included, outer ones first."""
    for node in graph.node:
        yield node
        for subgraph in subgraphs(node):
            yield from all_nodes(subgraph)


def drawing_nodes(model: ModelProto) -> list[NodeProto]:
    """Return the nodes that draw random numbers, anew in each run: a Dropout does in training mode."""
    graph = inline_functions(model).graph
    return [node for node in all_nodes(graph) if node.op_type in DRAWING or _drops(node, graph)]


def training_nodes(model: ModelProto) -> list[NodeProto]:
    """Return the batch normalisations that use each batch's own mean and variance."""
    return [
        node
        for node in all_nodes(inline_functions(model).graph)
        if node.op_type == "BatchNormalization"
        and any(attribute.name == "training_mode" and attribute.i for attribute in node.attribute)
    ]


def _drops(node: NodeProto, graph: GraphProto) -> bool:
    """Whether a node is a Dropout whose mode, its third input, is a constant true, and whose ratio is not 0."""
    if node.op_type != "Dropout" or len(node.input) < 3:
        return False
    ratio, mode = (_constant(graph, name) for name in node.input[1:3])
    return mode is not None and bool(mode.any()) and (ratio is None or bool(ratio.any()))


def _constant(graph: GraphProto, name: str) -> np.ndarray | None:
    stored = [tensor for tensor in graph.initializer if tensor.name == name]
    stored += [
        attribute.t
        for node in all_nodes(graph)
        if node.op_type == "Constant" and name in node.output
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    return numpy_helper.to_array(stored[0]) if stored else None


def name_nodes(graph: GraphProto) -> None:
    """Give every node a name of its own: unnamed and doubly named ones get ``<op type>_<number>``."""
    taken = {node.name for node in all_nodes(graph)}
    seen: set[str] = set()
    for number, node in enumerate(all_nodes(graph)):
        if not node.name or node.name in seen:
            node.name = unused_name(f"{node.op_type}_{number}", taken)
        seen.add(node.name)


def with_names(model: ModelProto) -> ModelProto:
    """Return a copy of a model without local functions in which every node has a name of its own."""
    # A keep-list names nodes, those inside of functions as well; the parser calls layers by their nodes' names, and an
    # unnamed node's layer by a number.
    named = onnx.ModelProto()
    named.CopyFrom(inline_functions(model))
    name_nodes(named.graph)
    return named


def unused_name(wanted: str, taken: set[str]) -> str:
    """Return a name that is not taken yet, and take it."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name


def tensor_names(graph: GraphProto) -> set[str]:
    """Return the name of every tensor, those of subgraphs included."""
    names = {value.name for value in (*graph.input, *graph.output)} | {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        names.update(node.input, node.output)
        for subgraph in subgraphs(node):
            names |= tensor_names(subgraph)
    return names


def kept_nodes(graph: GraphProto, patterns: Sequence[str]) -> frozenset[str]:
    """Return the names of the nodes that a keep-list names.

    Parameters
    ----------
    patterns
        Node names, wildcards over them (``/model/23/*``), or op types (``op:Softmax``, wildcards too).

    Raises
    ------
    PrecisionError
        A pattern matches no node: a keep-list that keeps nothing is a mistake, not a wish.
    """
    nodes = list(all_nodes(graph))
    names = {node.name for node in nodes}
    kept: set[str] = set()
    for pattern in patterns:
        # A repair of a large model keeps thousands of nodes by their plain names.
        matches = names & {pattern} if _is_name(pattern) else {node.name for node in nodes if _matches(node, pattern)}
        if not matches:
            raise PrecisionError(f"keep: {pattern!r} matches no node of the model; {_examples(nodes)}")
        kept |= matches
    return frozenset(kept)


def _examples(nodes: Sequence[NodeProto]) -> str:
    if not nodes:
        return "it has constants only, leave the keep-list out"
    first = nodes[0]
    return (
        f"expected a node name, a wildcard such as {first.name.split('/')[0]}* or an op type such as op:{first.op_type}"
    )


def _is_name(pattern: str) -> bool:
    return not (pattern.startswith("op:") or _WILDCARDS.intersection(pattern))


def _matches(node: NodeProto, pattern: str) -> bool:
    if pattern.startswith("op:"):
        return fnmatchcase(node.op_type, pattern.removeprefix("op:"))
    return node.name == pattern or fnmatchcase(node.name, pattern)


def remedy_of_nothing_left(kept: AbstractSet[str]) -> str:
    """Return what to do where a precision would change no node: only who keeps some can keep fewer."""
    return "shorten the keep-list, or drop the variant" if kept else "drop the variant"
