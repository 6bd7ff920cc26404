"""Typed half models: fp16 and bf16.

Every assigned node takes and gives half tensors, and casts stand only where half meets float32. A half tensor keeps the
name that it had, so that layers can be matched by name; its float32 copy is named ``<name>_fp32``.

ONNX Runtime's converter is not used: it gives invalid models where a graph has subgraphs, clips constants without a
word, and knows no bfloat16.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx import TensorProto, helper, numpy_helper

from parity.errors import PrecisionError
from parity.precision.assignment import (
    Assignment,
    RoundingLoss,
    describe_losses,
    half_slots,
    round_array,
    rounding_loss,
)
from parity.precision.edit import drop_unused_initializers, make_cast
from parity.precision.names import tensor_names, unused_name
from parity.precision.scope import Scope, enter, open_scope, subgraphs

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

_SUFFIX: dict[int, str] = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}


@dataclass(slots=True)
class _State:
    """What is known of one scope while it is converted.

    ``natives`` maps the tensors of this graph to the type they have now; ``copies`` maps a tensor (of this graph or an
    outer one) and a type to the name of its copy that was made here.
    """

    scope: Scope
    outer: _State | None
    outputs: dict[str, int]
    nodes: list[NodeProto] = field(default_factory=list)
    natives: dict[str, int] = field(default_factory=dict)
    copies: dict[tuple[str, int], str] = field(default_factory=dict)

    def owner_of(self, name: str) -> _State:
        """Return the state of the graph that a tensor belongs to."""
        state: _State = self
        while name not in state.natives and state.outer is not None:
            state = state.outer
        return state


def convert_to_half(model: ModelProto, assignment: Assignment, io_type: int) -> tuple[str, ...]:
    """Rewrite a float32 model in place so that its assigned nodes compute in half.

    Parameters
    ----------
    model
        Constant nodes must have become initializers, and every node must have a name of its own.
    io_type
        FLOAT, or the half type that float32 inputs and outputs take.

    Returns
    -------
    Sentences on weights that did not survive the rounding whole.

    Raises
    ------
    PrecisionError
        An output that is an input or a constant handed through would have to change its type.
    """
    converter = _Converter(model, assignment)
    scope = open_scope(model)
    outputs = {value.name: io_type for value in model.graph.output if scope.is_float(value.name)}
    if io_type != TensorProto.FLOAT:
        _retype((*model.graph.input, *model.graph.output), io_type, scope)
    converter.convert(_State(scope, None, outputs))
    return describe_losses(converter.losses)


def _retype(values: tuple[ValueInfoProto, ...], io_type: int, scope: Scope) -> None:
    constants = {tensor.name for tensor in scope.graph.initializer}
    for value in values:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT and value.name not in constants:
            value.type.tensor_type.elem_type = io_type


class _Converter:
    """One conversion: its plan, the names that are taken, what its constants lost."""

    def __init__(self, model: ModelProto, assignment: Assignment) -> None:
        self.assignment = assignment
        self.taken = tensor_names(model.graph)
        self.losses: list[RoundingLoss] = []

    def convert(self, state: _State) -> None:
        """Convert one graph and the subgraphs in it."""
        graph = state.scope.graph
        state.natives.update({tensor.name: tensor.data_type for tensor in graph.initializer})
        state.natives.update({value.name: value.type.tensor_type.elem_type for value in graph.input})
        for node in list(graph.node):
            self._convert_node(node, state)
        for name, wanted in state.outputs.items():
            if state.owner_of(name).natives.get(name, TensorProto.FLOAT) != wanted:
                raise PrecisionError(
                    f"output {name!r} is an input or a constant handed through, whose type cannot change; "
                    "leave it out of the model, or keep inputs and outputs in fp32"
                )
        del graph.node[:]
        graph.node.extend(state.nodes)
        del graph.value_info[:]
        drop_unused_initializers(graph)

    def _convert_node(self, node: NodeProto, state: _State) -> None:
        scope = state.scope
        for subgraph in subgraphs(node):
            inner = enter(subgraph, scope.opsets, scope)
            floats: dict[str, int] = {
                value.name: TensorProto.FLOAT for value in subgraph.output if inner.is_float(value.name)
            }
            self.convert(_State(inner, state, floats))
        half = self.assignment.get(node.name, TensorProto.FLOAT)
        slots = half_slots(node, scope)
        for position, name in enumerate(node.input):
            if scope.is_float(name):
                wanted = half if position in slots.inputs else TensorProto.FLOAT
                node.input[position] = self._as_type(name, wanted, state)
        state.nodes.append(node)
        for position, name in enumerate(node.output):
            if scope.is_float(name):
                self._emit(node, position, half if position in slots.outputs else TensorProto.FLOAT, state)

    def _emit(self, node: NodeProto, position: int, native: int, state: _State) -> None:
        """Record an output's type; a graph output of another type moves behind a cast that takes its name."""
        name = node.output[position]
        wanted = state.outputs.get(name, native)
        state.natives[name] = wanted
        if wanted == native:
            return
        inner = unused_name(f"{name}_{_SUFFIX[native]}", self.taken)
        node.output[position] = inner
        state.nodes.append(make_cast(inner, name, wanted))
        state.copies[name, native] = inner

    def _as_type(self, name: str, wanted: int, state: _State) -> str:
        """Return the name under which a float tensor can be read as a type, casting where it must."""
        owner = state.owner_of(name)
        if owner.natives.get(name, TensorProto.FLOAT) == wanted:
            return name
        copy = _find_copy(name, wanted, state)
        if copy is not None:
            return copy
        copy = unused_name(f"{name}_{_SUFFIX[wanted]}", self.taken)
        constant = next((tensor for tensor in owner.scope.graph.initializer if tensor.name == name), None)
        if constant is not None:
            owner.scope.graph.initializer.append(self._rounded(constant, copy, wanted))
            owner.copies[name, wanted] = copy
        else:
            state.nodes.append(make_cast(name, copy, wanted))
            state.copies[name, wanted] = copy
        return copy

    def _rounded(self, tensor: TensorProto, name: str, elem_type: int) -> TensorProto:
        values = numpy_helper.to_array(tensor)
        self.losses.append(rounding_loss(tensor.name, values, elem_type))
        rounded = round_array(values, elem_type)
        return helper.make_tensor(name, elem_type, values.shape, rounded.tobytes(), raw=True)


def _find_copy(name: str, wanted: int, state: _State | None) -> str | None:
    while state is not None:
        if (name, wanted) in state.copies:
            return state.copies[name, wanted]
        state = state.outer
    return None
