"""Small edits that every rewriting of a graph needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper

from parity.precision.scope import subgraphs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnx import ModelProto


def make_cast(source: str, target: str, elem_type: int) -> NodeProto:
    """Return a cast to an ONNX element type, named after the tensor it makes."""
    return helper.make_node("Cast", [source], [target], name=f"{target}/cast", to=elem_type)


def replace_nodes(graph: GraphProto, nodes: Iterable[NodeProto]) -> None:
    """Give a graph other nodes; they may be its own."""
    kept = list(nodes)
    del graph.node[:]
    graph.node.extend(kept)


def rename_reads(nodes: Iterable[NodeProto], old: str, new: str) -> None:
    """Make nodes, and the subgraphs in them, read another tensor."""
    for node in nodes:
        node.input[:] = [new if name == old else name for name in node.input]
        for subgraph in subgraphs(node):
            rename_reads(subgraph.node, old, new)


def hoist_constants(graph: GraphProto) -> None:
    """Turn every Constant node that holds a dense tensor into an initializer of its graph, subgraphs included."""
    nodes = []
    for node in graph.node:
        for subgraph in subgraphs(node):
            hoist_constants(subgraph)
        tensor = constant_tensor(node)
        if tensor is None:
            nodes.append(node)
        else:
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
    replace_nodes(graph, nodes)


def constant_tensor(node: NodeProto) -> TensorProto | None:
    """Return a copy of the dense tensor that a Constant node holds; None for other nodes, strings and sparse ones."""
    if node.op_type != "Constant" or not node.attribute:
        return None
    attribute = node.attribute[0]
    if attribute.type == AttributeProto.TENSOR:
        tensor = TensorProto()
        tensor.CopyFrom(attribute.t)
        return tensor
    value = helper.get_attribute_value(attribute)
    if attribute.name.startswith("value_float"):
        return numpy_helper.from_array(np.asarray(value, np.float32))
    if attribute.name.startswith("value_int"):
        return numpy_helper.from_array(np.asarray(value, np.int64))
    return None


def inline_functions(model: ModelProto) -> ModelProto:
    """Return the model with its local functions inlined, because the inside of a function is not rewritten."""
    if not model.functions:
        return model
    from onnx import inliner

    inlined: ModelProto = inliner.inline_local_functions(model)
    return inlined


def drop_unused_initializers(graph: GraphProto) -> None:
    """Remove the initializers that neither the graph's nodes, their subgraphs, nor its outputs read."""
    used = {value.name for value in graph.output}
    for node in graph.node:
        used |= reads(node)
    gone = {tensor.name for tensor in graph.initializer} - used
    if not gone:
        return
    kept = [tensor for tensor in graph.initializer if tensor.name not in gone]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    # Old models list initializers among the inputs: one that is gone must not become a true input.
    for value in [value for value in graph.input if value.name in gone]:
        graph.input.remove(value)


def reads(node: NodeProto) -> set[str]:
    """Return every tensor that a node reads, those that its subgraphs capture included."""
    names = set(node.input)
    for subgraph in subgraphs(node):
        names |= {value.name for value in subgraph.output}
        for inner in subgraph.node:
            names |= reads(inner)
    return names
