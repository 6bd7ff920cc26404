"""Walking a graph against its direction: which nodes make tensors of given others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.precision.edit import reads

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from onnx import GraphProto, NodeProto


@dataclass(frozen=True, slots=True)
class Between:
    """The nodes that make tensors, in the graph's order, and the tensors at their boundary, constants left out."""

    nodes: tuple[NodeProto, ...]
    reads: tuple[str, ...]


class Walk:
    """The producers of a graph's tensors. The graph's nodes stand behind those that they read from."""

    def __init__(self, graph: GraphProto) -> None:
        self.producers = {name: node for node in graph.node for name in node.output if name}
        self._places = {id(node): place for place, node in enumerate(graph.node)}
        self._reads = {id(node): sorted(reads(node)) for node in graph.node}
        constants = {tensor.name for tensor in graph.initializer}
        constants |= {tensor.values.name for tensor in graph.sparse_initializer}
        self._varying = {value.name for value in graph.input} - constants
        for node in graph.node:
            if node.op_type.startswith("Random") or any(name in self._varying for name in self._reads[id(node)]):
                self._varying.update(node.output)

    def is_computed(self, tensor: str) -> bool:
        """Whether a tensor depends on the inputs of the graph; what does not is a constant."""
        return tensor in self._varying

    def between(self, tensors: Iterable[str], boundary: Container[str]) -> Between:
        """Return the nodes that make tensors of the boundary's tensors and of the graph's inputs.

        Nodes that make constants are among them. ``tensors`` may be in ``boundary``: they are made all the same.
        """
        nodes: dict[int, NodeProto] = {}
        met: dict[str, None] = {}
        pending = [name for name in tensors if name in self.producers]
        while pending:
            node = self.producers[pending.pop()]
            if id(node) in nodes:
                continue
            nodes[id(node)] = node
            for name in self._reads[id(node)]:
                if name in boundary or (name not in self.producers and name in self._varying):
                    met[name] = None
                elif name in self.producers:
                    pending.append(name)
        ordered = sorted(nodes.values(), key=lambda node: self._places[id(node)])
        return Between(tuple(ordered), tuple(met))
