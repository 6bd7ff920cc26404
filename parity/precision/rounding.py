"""Rounded graphs: float32 graphs with an explicit cast pair wherever the precision would round.

ONNX Runtime's CPU provider executes half nodes as float32 and drops the casts between them, so that overflow never
shows in a half model there. A pair of casts that stands in the graph and loses digits is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, numpy_helper

from parity.precision.assignment import Assignment, half_slots, round_array
from parity.precision.edit import make_cast, rename_reads
from parity.precision.ledger import Ledger
from parity.precision.names import tensor_names, unused_name
from parity.precision.scope import enter, open_scope, subgraphs

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from onnx import ModelProto, NodeProto

# Operators whose outputs are elements of their inputs: rounding behind them changes nothing that is rounded already.
_MOVES_DATA = frozenset({
    "Compress", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity",
    "MaxPool", "Relu", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
    "Where",
})  # fmt: skip


def insert_rounding(model: ModelProto, assignment: Assignment, fused: AbstractSet[str], io_type: int) -> int:
    """Round what the assigned nodes of a float32 model read and give; in place.

    A rounded tensor keeps its name; the node behind it gives ``<name>_unrounded``.

    Parameters
    ----------
    fused
        Nodes whose outputs stay inside a fused kernel and are not rounded.
    io_type
        FLOAT, or the half type that float32 inputs and outputs are rounded to as well, whatever reads and gives them.

    Returns
    -------
    How many tensors are rounded, constants included.
    """
    rounder = _Rounder(model, assignment, fused)
    ledger = Ledger(open_scope(model))
    if io_type != TensorProto.FLOAT:
        rounder.round_inputs(ledger, io_type)
    rounder.round_graph(ledger)
    if io_type != TensorProto.FLOAT:
        rounder.round_outputs(ledger, io_type)
    return rounder.count


class _Rounder:
    """One pass over a model: its plan, the names that are taken, how many tensors it rounded."""

    def __init__(self, model: ModelProto, assignment: Assignment, fused: AbstractSet[str]) -> None:
        self.assignment = assignment
        self.fused = fused
        self.taken = tensor_names(model.graph)
        self.count = 0

    def round_graph(self, ledger: Ledger) -> None:
        """Round one graph and the subgraphs in it."""
        for node in list(ledger.scope.graph.node):
            self._round_node(node, ledger)
        ledger.close()

    def _round_node(self, node: NodeProto, ledger: Ledger) -> None:
        scope = ledger.scope
        for subgraph in subgraphs(node):
            self.round_graph(Ledger(enter(subgraph, scope.opsets, scope), ledger))
        half = self.assignment.get(node.name)
        if half is None:
            ledger.nodes.append(node)
            return
        slots = half_slots(node, scope)
        for position in slots.inputs:
            node.input[position] = ledger.read_as(node.input[position], half, self)
        ledger.nodes.append(node)
        for position in slots.outputs:
            self._round_output(node, position, half, ledger)

    def _round_output(self, node: NodeProto, position: int, half: int, ledger: Ledger) -> None:
        name = node.output[position]
        if node.name in self.fused:
            ledger.fused.add(name)
            return
        ledger.held[name] = half
        if node.op_type in _MOVES_DATA and _reads_rounded(node, half, ledger):
            return
        raw = unused_name(f"{name}_unrounded", self.taken)
        node.output[position] = raw
        ledger.nodes.extend(self.copy_tensor(raw, name, half))

    def name_copy(self, name: str, _elem_type: int) -> str:
        """Return a name for a tensor's rounded copy."""
        return unused_name(f"{name}_rounded", self.taken)

    def copy_constant(self, tensor: TensorProto, copy: str, elem_type: int) -> TensorProto:
        """Return a float32 initializer with the values that a half type would hold."""
        self.count += 1
        values = round_array(numpy_helper.to_array(tensor), elem_type).astype(np.float32)
        return numpy_helper.from_array(values, copy)

    def copy_tensor(self, name: str, copy: str, elem_type: int) -> list[NodeProto]:
        """Return the pair of casts that rounds a tensor."""
        self.count += 1
        middle = unused_name(f"{copy}_half", self.taken)
        return [make_cast(name, middle, elem_type), make_cast(middle, copy, TensorProto.FLOAT)]

    def round_inputs(self, ledger: Ledger, half: int) -> None:
        """Round the float32 inputs of the main graph, for nodes that compute in float32, too."""
        graph = ledger.scope.graph
        constants = {tensor.name for tensor in graph.initializer}
        for name in [value.name for value in graph.input if value.name not in constants]:
            if ledger.scope.is_float(name):
                rename_reads(graph.node, name, ledger.read_as(name, half, self))

    def round_outputs(self, ledger: Ledger, half: int) -> None:
        """Round the float32 outputs of the main graph that do not hold half values already."""
        for value in ledger.scope.graph.output:
            name = value.name
            place = next((place for place, node in enumerate(ledger.nodes) if name in node.output), None)
            if place is None or not ledger.scope.is_float(name) or ledger.held_by(name) == half:
                continue
            raw = unused_name(f"{name}_unrounded", self.taken)
            outputs = ledger.nodes[place].output
            outputs[:] = [raw if output == name else output for output in outputs]
            rename_reads(ledger.nodes, name, raw)
            ledger.nodes[place + 1 : place + 1] = self.copy_tensor(raw, name, half)
        ledger.close()


def _reads_rounded(node: NodeProto, half: int, ledger: Ledger) -> bool:
    """Whether every float input of a node holds values of the half type."""
    return all(ledger.held_by(name) == half for name in node.input if ledger.scope.is_float(name))
