"""Widening: a half model as the float32 graph that it rounds, with the plan of where it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from parity.precision.edit import make_cast, replace_nodes
from parity.precision.names import tensor_names, unused_name
from parity.precision.scope import Scope, enter, open_scope, subgraphs

if TYPE_CHECKING:
    from parity.precision.assignment import Assignment

_HALF = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})


def is_half_model(model: ModelProto) -> bool:
    """Whether any node gives a half tensor."""
    return count_half_nodes(model) > 0


def count_half_nodes(model: ModelProto) -> int:
    """Return how many nodes compute in half, casts left out."""
    return len(_half_nodes(open_scope(model)))


def widen(model: ModelProto) -> Assignment:
    """Turn every half tensor of a model into float32, in place; inputs and outputs are float32, too.

    A cast to half becomes an explicit pair, because it rounds; a cast from half to float32 no longer changes anything.

    Returns
    -------
    The half type of every node that computed in half.
    """
    scope = open_scope(model)
    assignment = _half_nodes(scope)
    _widen_graph(model.graph, tensor_names(model.graph))
    return assignment


def _half_nodes(scope: Scope) -> Assignment:
    found: Assignment = {}
    for node in scope.graph.node:
        for subgraph in subgraphs(node):
            found |= _half_nodes(enter(subgraph, scope.opsets, scope))
        types = {scope.type_of(name) for name in node.output if name} & _HALF
        if types and node.op_type not in {"Cast", "Constant"}:
            found[node.name] = types.pop()
    return found


def _widen_graph(graph: GraphProto, taken: set[str]) -> None:
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type in _HALF:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    nodes: list[NodeProto] = []
    for node in graph.node:
        for subgraph in subgraphs(node):
            _widen_graph(subgraph, taken)
        nodes.extend(_widen_node(node, taken))
    replace_nodes(graph, nodes)
    del graph.value_info[:]


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type in _HALF:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _widen_node(node: NodeProto, taken: set[str]) -> list[NodeProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            _widen_tensor(attribute.t)
        elif attribute.name == "dtype" and attribute.i in _HALF:
            attribute.i = TensorProto.FLOAT
    target = next((a.i for a in node.attribute if a.name == "to"), None) if node.op_type == "Cast" else None
    if target not in _HALF:
        return [node]
    half = unused_name(f"{node.output[0]}_half", taken)
    to_float = helper.make_node("Cast", [half], node.output, name=node.name, to=TensorProto.FLOAT)
    return [make_cast(node.input[0], half, target), to_float]
