"""Rounded graphs: float32 graphs with an explicit cast pair wherever the precision would round.

ONNX Runtime's CPU provider executes half nodes as float32 and drops the casts between them, so that overflow never shows
in a half model there. A pair of casts that stands in the graph and loses digits is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, numpy_helper

from parity.precision.assignment import Assignment, half_slots, round_array
from parity.precision.edit import drop_unused_initializers, make_cast
from parity.precision.names import tensor_names, unused_name
from parity.precision.scope import Scope, enter, open_scope, subgraphs

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from onnx import ModelProto, NodeProto

# Operators whose outputs are elements of their inputs: rounding behind them changes nothing that is rounded already.
_MOVES_DATA = frozenset({
    "Compress", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "MaxPool",
    "Relu", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip


@dataclass(slots=True)
class _State:
    """What is known of one scope while it is rounded.

    ``half_of`` maps a tensor of this graph to the half type whose values it holds; ``copies`` maps a tensor (of this graph or an outer
    one) and a half type to the name of its rounded copy.
    """

    scope: Scope
    outer: _State | None
    nodes: list[NodeProto] = field(default_factory=list)
    half_of: dict[str, int] = field(default_factory=dict)
    copies: dict[tuple[str, int], str] = field(default_factory=dict)

    def owner_of(self, name: str) -> _State:
        """Return the state of the graph that a tensor belongs to."""
        state: _State = self
        while name not in state.scope.types and state.outer is not None:
            state = state.outer
        return state


def insert_rounding(model: ModelProto, assignment: Assignment, unrounded: AbstractSet[str], io_type: int) -> int:
    """Round what the assigned nodes of a float32 model read and give; in place.

    A rounded tensor keeps its name; the node behind it gives ``<name>_unrounded``.

    Parameters
    ----------
    unrounded
        Tensors that stay inside a fused kernel and are not rounded.
    io_type
        FLOAT, or the half type that float32 outputs are rounded to as well.

    Returns
    -------
    How many tensors are rounded, constants included.
    """
    rounder = _Rounder(model, assignment, unrounded)
    state = _State(open_scope(model), None)
    rounder.round_graph(state)
    if io_type != TensorProto.FLOAT:
        rounder.round_outputs(state, io_type)
    return rounder.count


class _Rounder:
    """One pass over a model: its plan, the names that are taken, how many tensors it rounded."""

    def __init__(self, model: ModelProto, assignment: Assignment, unrounded: AbstractSet[str]) -> None:
        self.assignment = assignment
        self.unrounded = unrounded
        self.taken = tensor_names(model.graph)
        self.count = 0

    def round_graph(self, state: _State) -> None:
        """Round one graph and the subgraphs in it."""
        for node in list(state.scope.graph.node):
            self._round_node(node, state)
        _replace_nodes(state)

    def _round_node(self, node: NodeProto, state: _State) -> None:
        scope = state.scope
        for subgraph in subgraphs(node):
            self.round_graph(_State(enter(subgraph, scope.opsets, scope), state))
        half = self.assignment.get(node.name)
        if half is None:
            state.nodes.append(node)
            return
        slots = half_slots(node, scope)
        for position in slots.inputs:
            node.input[position] = self._rounded(node.input[position], half, state)
        state.nodes.append(node)
        for position in slots.outputs:
            self._round_output(node, position, half, state)

    def _round_output(self, node: NodeProto, position: int, half: int, state: _State) -> None:
        name = node.output[position]
        if name in self.unrounded:
            return
        state.half_of[name] = half
        if node.op_type in _MOVES_DATA and self._reads_rounded(node, half, state):
            return
        raw = unused_name(f"{name}_unrounded", self.taken)
        node.output[position] = raw
        self._append_pair(raw, name, half, state)

    def _reads_rounded(self, node: NodeProto, half: int, state: _State) -> bool:
        """Whether every float input of a node holds values of the half type."""
        return all(state.owner_of(name).half_of.get(name) == half for name in node.input if state.scope.is_float(name))

    def _rounded(self, name: str, half: int, state: _State) -> str:
        """Return the name under which a float tensor can be read with the digits of a half type."""
        owner = state.owner_of(name)
        if name in self.unrounded or owner.half_of.get(name) == half:
            return name
        copy = _find_copy(name, half, state)
        if copy is not None:
            return copy
        copy = unused_name(f"{name}_rounded", self.taken)
        constant = next((tensor for tensor in owner.scope.graph.initializer if tensor.name == name), None)
        home = owner if constant is not None else state
        if constant is not None:
            owner.scope.graph.initializer.append(round_initializer(constant, copy, half))
            self.count += 1
        else:
            self._append_pair(name, copy, half, state)
        home.copies[name, half] = copy
        home.half_of[copy] = half
        home.scope.types[copy] = TensorProto.FLOAT
        return copy

    def _append_pair(self, source: str, target: str, half: int, state: _State) -> None:
        middle = unused_name(f"{target}_half", self.taken)
        state.nodes.append(make_cast(source, middle, half))
        state.nodes.append(make_cast(middle, target, TensorProto.FLOAT))
        self.count += 1

    def round_outputs(self, state: _State, half: int) -> None:
        """Round the float32 outputs of the main graph that do not hold half values already."""
        for value in state.scope.graph.output:
            name = value.name
            if not state.scope.is_float(name) or state.half_of.get(name) == half:
                continue
            raw = unused_name(f"{name}_unrounded", self.taken)
            for node in state.nodes:
                node.output[:] = [raw if output == name else output for output in node.output]
                node.input[:] = [raw if read == name else read for read in node.input]
            self._append_pair(raw, name, half, state)
        _replace_nodes(state)


def _find_copy(name: str, half: int, state: _State | None) -> str | None:
    while state is not None:
        if (name, half) in state.copies:
            return state.copies[name, half]
        state = state.outer
    return None


def _replace_nodes(state: _State) -> None:
    graph = state.scope.graph
    del graph.node[:]
    graph.node.extend(state.nodes)
    del graph.value_info[:]
    drop_unused_initializers(graph)


def round_initializer(tensor: TensorProto, name: str, half: int) -> TensorProto:
    """Return a float32 initializer with the values that a half type would hold."""
    values = round_array(numpy_helper.to_array(tensor), half).astype(np.float32)
    return numpy_helper.from_array(values, name)
