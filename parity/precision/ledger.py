"""The books of a graph while it is rewritten: what its tensors hold by now, and the copies that were made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from onnx import TensorProto

from parity.precision.edit import drop_unused_initializers, replace_nodes

if TYPE_CHECKING:
    from onnx import NodeProto

    from parity.precision.scope import Scope


class Copier(Protocol):
    """How a rewriting makes copies of tensors."""

    def name_copy(self, name: str, elem_type: int) -> str:
        """Return a name for a copy."""
        ...

    def copy_constant(self, tensor: TensorProto, copy: str, elem_type: int) -> TensorProto:
        """Return an initializer's copy."""
        ...

    def copy_tensor(self, name: str, copy: str, elem_type: int) -> list[NodeProto]:
        """Return the nodes that copy a tensor."""
        ...


@dataclass(slots=True)
class Ledger:
    """What is known of one graph while it is rewritten.

    Attributes
    ----------
    nodes
        The graph's new nodes so far.
    held
        Tensors of this graph -> the type whose values they hold; FLOAT where they are missing.
    copies
        A tensor of this graph or an outer one, and a type -> the name of its copy that was made here.
    fused
        Tensors of this graph that stay inside a fused kernel: they are read as they are.
    """

    scope: Scope
    outer: Ledger | None = None
    nodes: list[NodeProto] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)
    copies: dict[tuple[str, int], str] = field(default_factory=dict)
    fused: set[str] = field(default_factory=set)
    _constants: dict[str, TensorProto] = field(init=False)

    def __post_init__(self) -> None:
        # Backwards, so that the first of a name stays: a rewriting looks one up for each tensor that a node reads.
        self._constants = {tensor.name: tensor for tensor in reversed(self.scope.graph.initializer)}

    def owner_of(self, name: str) -> Ledger:
        """Return the ledger of the graph that a tensor belongs to."""
        ledger: Ledger = self
        while name not in ledger.scope.types and ledger.outer is not None:
            ledger = ledger.outer
        return ledger

    def held_by(self, name: str) -> int:
        """Return the type whose values a float tensor holds."""
        return self.owner_of(name).held.get(name, TensorProto.FLOAT)

    def read_as(self, name: str, elem_type: int, copier: Copier) -> str:
        """Return the name under which a float tensor can be read with a type's values, copying it where it must."""
        owner = self.owner_of(name)
        if name in owner.fused or owner.held.get(name, TensorProto.FLOAT) == elem_type:
            return name
        known = self._find_copy(name, elem_type)
        if known is not None:
            return known
        copy = copier.name_copy(name, elem_type)
        constant = owner._constants.get(name)
        if constant is None:
            self.nodes.extend(copier.copy_tensor(name, copy, elem_type))
        else:
            owner._add_constant(copier.copy_constant(constant, copy, elem_type))
        home = self if constant is None else owner
        home.enter_copy(name, copy, elem_type)
        return copy

    def enter_copy(self, name: str, copy: str, elem_type: int) -> None:
        """Remember a copy that was made in this graph."""
        self.copies[name, elem_type] = copy
        self.held[copy] = elem_type
        self.scope.types[copy] = TensorProto.FLOAT

    def _find_copy(self, name: str, elem_type: int) -> str | None:
        ledger: Ledger | None = self
        while ledger is not None:
            if (name, elem_type) in ledger.copies:
                return ledger.copies[name, elem_type]
            ledger = ledger.outer
        return None

    def _add_constant(self, tensor: TensorProto) -> None:
        constants = self.scope.graph.initializer
        constants.append(tensor)
        # Appending copies: the graph's own is what stays.
        self._constants.setdefault(tensor.name, constants[-1])

    def close(self) -> None:
        """Write the new nodes into the graph, and clear away what nothing reads any more."""
        graph = self.scope.graph
        replace_nodes(graph, self.nodes)
        del graph.value_info[:]
        drop_unused_initializers(graph)
