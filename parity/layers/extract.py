"""Models made of parts of a model: some tensors exposed, the shapes of tensors alone, or layers fed from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import ModelProto, TensorProto, helper

from parity.layers.walk import Walk
from parity.precision.edit import drop_unused_initializers
from parity.precision.names import tensor_names, unused_name
from parity.precision.scope import open_scope

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from onnx import ValueInfoProto

    from parity.layers.walk import Between
    from parity.precision.scope import Scope


def expose(model: ModelProto, tensors: Sequence[str]) -> ModelProto:
    """Return the part of a model that gives tensors, and nothing else, as its outputs."""
    scope = open_scope(model)
    part = _part(model, Walk(model.graph).between(tensors, ()))
    part.graph.output.extend(_value(name, scope) for name in tensors)
    return part


def expose_shapes(model: ModelProto, tensors: Sequence[str]) -> tuple[ModelProto, dict[str, str]]:
    """Return a model that gives the shapes of tensors alone, and the output's name for each tensor."""
    part = _part(model, Walk(model.graph).between(tensors, ()))
    taken = tensor_names(model.graph)
    names = {tensor: unused_name(f"{tensor}_shape", taken) for tensor in tensors}
    # ONNX Runtime begins with the last node that nothing reads. In this order it asks each tensor for its shape as soon
    # as it is made, and frees it; in the other one it holds all of them.
    for tensor, name in reversed(names.items()):
        part.graph.node.append(helper.make_node("Shape", [tensor], [name], name=f"{name}/node"))
        part.graph.output.append(helper.make_tensor_value_info(name, TensorProto.INT64, None))
    return part, names


def cut(model: ModelProto, tensors: Sequence[str], boundary: AbstractSet[str]) -> tuple[ModelProto, dict[str, str]]:
    """Return a model of layers that are each fed from outside, not by each other.

    Parameters
    ----------
    tensors
        What the layers give.
    boundary
        Tensors that become inputs of their own name wherever a layer reads them; those of ``tensors`` among them.

    Returns
    -------
    The model, and the output's name for each tensor.
    """
    scope, taken = open_scope(model), tensor_names(model.graph)
    between = Walk(model.graph).between(tensors, boundary)
    part = _part(model, between)
    names = {tensor: unused_name(f"{tensor}_alone", taken) for tensor in tensors}
    for node in part.graph.node:
        # The name of a boundary's tensor now is an input's.
        node.output[:] = [
            names[name] if name in names else unused_name(f"{name}_unread", taken) if name in boundary else name
            for name in node.output
        ]
    part.graph.input.extend(_value(name, scope) for name in between.reads if name in boundary)
    part.graph.output.extend(_value(tensor, scope, called=name) for tensor, name in names.items())
    return part, names


def _part(model: ModelProto, between: Between) -> ModelProto:
    """Return a model of nodes, with the inputs that they read and without outputs."""
    part = ModelProto()
    part.CopyFrom(model)
    read = set(between.reads)
    inputs = [value for value in part.graph.input if value.name in read]
    for field in ("node", "input", "output", "value_info"):
        part.graph.ClearField(field)
    part.graph.node.extend(between.nodes)
    part.graph.input.extend(inputs)
    drop_unused_initializers(part.graph)
    return part


def _value(tensor: str, scope: Scope, called: str = "") -> ValueInfoProto:
    return helper.make_tensor_value_info(called or tensor, scope.type_of(tensor), None)
