"""Observation points: the float tensors that a model and its rewritten form both have, and the nodes between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx import TensorProto

from parity.layers.walk import Walk
from parity.precision.names import all_nodes
from parity.precision.scope import open_scope, subgraphs

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from onnx import ModelProto, NodeProto

# They hand on the very elements that they read: what is seen of their input is seen of them.
SAME_ELEMENTS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})


@dataclass(frozen=True, slots=True)
class Point:
    """One observation point.

    Attributes
    ----------
    nodes, operators
        Names and types of the model's nodes between the points before this one and it, in topological order.
    inputs
        The points that these nodes read; inputs of the model are left out.
    """

    tensor: str
    nodes: tuple[str, ...]
    operators: tuple[str, ...]
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Points:
    """All observation points of a model, in topological order.

    Attributes
    ----------
    coverage
        The share of the model's computed float tensors, those inside of Loop and If included, that are points or hold
        a point's very elements; 0 to 1.
    unobserved
        What is neither, each with the reason.
    """

    points: tuple[Point, ...]
    coverage: float
    unobserved: tuple[str, ...]


def find_points(model: ModelProto, other: ModelProto) -> Points:
    """Return the tensors by which a model can be compared with a rewritten form of it.

    Parameters
    ----------
    model
        Every node has a name of its own, and stands behind those that it reads from.
    """
    return points_among(model, float_outputs(other), "is folded or fused, the other side does not have it")


def points_among(model: ModelProto, there: Container[str], reason: str) -> Points:
    """Return the tensors of a model that another side has as well.

    Parameters
    ----------
    model
        As in ``find_points``.
    there
        Names of the other side's tensors.
    reason
        Why others are not observed.
    """
    walk = Walk(model.graph)
    computed = {name: walk.producers[name] for name in float_outputs(model) if walk.is_computed(name)}
    outputs = {value.name for value in model.graph.output}
    chosen = _choose(computed, there, outputs)
    # A tensor is seen as well where what hands on its very elements is seen.
    behind = {computed[name].input[0] for name in chosen if computed[name].op_type in SAME_ELEMENTS}
    missing = [
        name for name, node in computed.items() if name not in chosen | behind and node.op_type not in SAME_ELEMENTS
    ]
    hidden = {node.name: count for node in model.graph.node if (count := _count_inside(node))}
    total = len(computed) + sum(hidden.values())
    return Points(
        points=tuple(_point(walk, name, chosen) for name in computed if name in chosen),
        coverage=(len(computed) - len(missing)) / total if total else 0.0,
        unobserved=(
            *(f"{name} ({computed[name].op_type}): {reason}" for name in missing),
            *(f"{name}: {count} tensors of the graphs inside it" for name, count in hidden.items()),
        ),
    )


def _choose(computed: Mapping[str, NodeProto], there: Container[str], outputs: Container[str]) -> set[str]:
    """Return what both sides have, one tensor of those that hold the same elements, and every output."""
    chosen: set[str] = set()
    held: set[str] = set()
    for name, node in computed.items():
        if node.op_type in SAME_ELEMENTS and node.input[0] in held and name not in outputs:
            held.add(name)
        elif name in there:
            chosen.add(name)
            held.add(name)
    return chosen


def float_outputs(model: ModelProto) -> dict[str, None]:
    """Return the float tensors that nodes of the main graph give, in their order."""
    scope = open_scope(model)
    names = (name for node in model.graph.node for name in node.output if name)
    return dict.fromkeys(name for name in names if scope.type_of(name) in _FLOATS)


def _point(walk: Walk, tensor: str, chosen: set[str]) -> Point:
    between = walk.between([tensor], chosen)
    return Point(
        tensor,
        tuple(node.name for node in between.nodes),
        tuple(node.op_type for node in between.nodes),
        tuple(name for name in between.reads if name in chosen),
    )


def _count_inside(node: NodeProto) -> int:
    return sum(len(inner.output) for graph in subgraphs(node) for inner in all_nodes(graph))
