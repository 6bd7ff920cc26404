"""Widening: a half model as the float32 graph that it rounds, or as the float32 model that it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from parity.precision.edit import inline_functions, make_cast, replace_nodes
from parity.precision.names import tensor_names, unused_name
from parity.precision.scope import Scope, enter, open_scope, subgraphs

if TYPE_CHECKING:
    from collections.abc import Callable

    from parity.precision.assignment import Assignment

    WidenCast = Callable[[NodeProto], list[NodeProto]]
    """A cast to half -> what stands in its place."""

_HALF = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
# Attributes that name the type of a tensor that is made, or of sums inside a node.
_TYPE_ATTRIBUTES = frozenset({"dtype", "output_datatype", "output_dtype", "softmax_precision", "stash_type"})


def holds_half(model: ModelProto) -> bool:
    """Whether any tensor is half: an input or output, a weight, or one inside."""
    return _has_half(open_scope(inline_functions(model)))


def computes_in(model: ModelProto, half: int) -> bool:
    """Whether any node computes in a half type, casts left out."""
    return half in _half_nodes(open_scope(inline_functions(model))).values()


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
    taken = tensor_names(model.graph)
    _widen_graph(model.graph, lambda cast: _rounding_pair(cast, taken))
    return assignment


def without_half(model: ModelProto) -> ModelProto:
    """Return a copy of a model in which nothing is half: float32 arithmetic on weights of the same values.

    A cast to half no longer rounds. Inputs and outputs that were half are float32, too.
    """
    copy = ModelProto()
    copy.CopyFrom(inline_functions(model))
    _widen_graph(copy.graph, _cast_to_float)
    return copy


def _has_half(scope: Scope) -> bool:
    if not _HALF.isdisjoint(scope.types.values()):
        return True
    inner = (subgraph for node in scope.graph.node for subgraph in subgraphs(node))
    return any(_has_half(enter(subgraph, scope.opsets, scope)) for subgraph in inner)


def _half_nodes(scope: Scope) -> Assignment:
    found: Assignment = {}
    for node in scope.graph.node:
        for subgraph in subgraphs(node):
            found |= _half_nodes(enter(subgraph, scope.opsets, scope))
        types = {scope.type_of(name) for name in node.output if name} & _HALF
        if types and node.op_type not in {"Cast", "Constant"}:
            found[node.name] = types.pop()
    return found


def _widen_graph(graph: GraphProto, widen_cast: WidenCast) -> None:
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type in _HALF:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    nodes: list[NodeProto] = []
    for node in graph.node:
        for subgraph in subgraphs(node):
            _widen_graph(subgraph, widen_cast)
        nodes.extend(_widen_node(node, widen_cast))
    replace_nodes(graph, nodes)
    del graph.value_info[:]


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type in _HALF:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _widen_node(node: NodeProto, widen_cast: WidenCast) -> list[NodeProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            _widen_tensor(attribute.t)
        elif attribute.name in _TYPE_ATTRIBUTES and attribute.i in _HALF:
            attribute.i = TensorProto.FLOAT
    return widen_cast(node) if _cast_type(node) in _HALF else [node]


def _cast_type(node: NodeProto) -> int | None:
    return next((a.i for a in node.attribute if a.name == "to"), None) if node.op_type == "Cast" else None


def _rounding_pair(cast: NodeProto, taken: set[str]) -> list[NodeProto]:
    target = _cast_type(cast)
    assert target is not None
    half = unused_name(f"{cast.output[0]}_half", taken)
    return [make_cast(cast.input[0], half, target), _cast_to_float(cast, half)[0]]


def _cast_to_float(cast: NodeProto, source: str = "") -> list[NodeProto]:
    return [helper.make_node("Cast", [source or cast.input[0]], cast.output, name=cast.name, to=TensorProto.FLOAT)]
