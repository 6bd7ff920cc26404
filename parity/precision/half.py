"""Typed half models: fp16 and bf16.

Every assigned node takes and gives half tensors, and casts stand only where half meets float32. A half tensor keeps the
name that it had, so that layers can be matched by name; its float32 copy is named ``<name>_fp32``.

ONNX Runtime's converter is not used: it gives invalid models where a graph has subgraphs, clips constants without a
word, and knows no bfloat16.
"""

from __future__ import annotations

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
from parity.precision.edit import make_cast
from parity.precision.ledger import Ledger
from parity.precision.names import tensor_names, unused_name
from parity.precision.scope import Scope, enter, open_scope, subgraphs

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

_SUFFIX: dict[int, str] = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}


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
    scope = open_scope(model)
    outputs = {value.name: io_type for value in model.graph.output if scope.is_float(value.name)}
    if io_type != TensorProto.FLOAT:
        _retype((*model.graph.input, *model.graph.output), io_type, scope)
    converter = _Converter(model, assignment)
    converter.convert(Ledger(scope), outputs)
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

    def convert(self, ledger: Ledger, outputs: dict[str, int]) -> None:
        """Convert one graph, whose float outputs are to have the given types, and the subgraphs in it."""
        graph = ledger.scope.graph
        ledger.held.update({tensor.name: tensor.data_type for tensor in graph.initializer})
        ledger.held.update({value.name: value.type.tensor_type.elem_type for value in graph.input})
        for node in list(graph.node):
            self._convert_node(node, ledger, outputs)
        for name, wanted in outputs.items():
            if ledger.held_by(name) != wanted:
                raise PrecisionError(
                    f"output {name!r} is an input or a constant handed through, whose type cannot change; "
                    "leave it out of the model, or keep inputs and outputs in fp32"
                )
        ledger.close()

    def _convert_node(self, node: NodeProto, ledger: Ledger, outputs: dict[str, int]) -> None:
        scope = ledger.scope
        for subgraph in subgraphs(node):
            inner = enter(subgraph, scope.opsets, scope)
            floats: dict[str, int] = {
                value.name: TensorProto.FLOAT for value in subgraph.output if inner.is_float(value.name)
            }
            self.convert(Ledger(inner, ledger), floats)
        half = self.assignment.get(node.name, TensorProto.FLOAT)
        slots = half_slots(node, scope)
        for position, name in enumerate(node.input):
            if scope.is_float(name):
                wanted = half if position in slots.inputs else TensorProto.FLOAT
                node.input[position] = ledger.read_as(name, wanted, self)
        ledger.nodes.append(node)
        for position, name in enumerate(node.output):
            if scope.is_float(name):
                native = half if position in slots.outputs else TensorProto.FLOAT
                self._emit(node, position, native, outputs.get(name, native), ledger)

    def _emit(self, node: NodeProto, position: int, native: int, wanted: int, ledger: Ledger) -> None:
        """Record an output's type; a graph output of another type moves behind a cast that takes its name."""
        name = node.output[position]
        ledger.held[name] = wanted
        if wanted == native:
            return
        inner = self.name_copy(name, native)
        node.output[position] = inner
        ledger.nodes.append(make_cast(inner, name, wanted))
        ledger.enter_copy(name, inner, native)

    def name_copy(self, name: str, elem_type: int) -> str:
        """Return a name for a tensor's copy of another type."""
        return unused_name(f"{name}_{_SUFFIX[elem_type]}", self.taken)

    def copy_constant(self, tensor: TensorProto, copy: str, elem_type: int) -> TensorProto:
        """Return an initializer rounded to a half type."""
        values = numpy_helper.to_array(tensor)
        rounded = round_array(values, elem_type)
        self.losses.append(rounding_loss(tensor.name, values, rounded, elem_type))
        return helper.make_tensor(copy, elem_type, values.shape, rounded.tobytes(), raw=True)

    def copy_tensor(self, name: str, copy: str, elem_type: int) -> list[NodeProto]:
        """Return the cast to another type."""
        return [make_cast(name, copy, elem_type)]
