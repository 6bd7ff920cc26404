"""What a model says of itself: who makes and who reads a tensor, its constants, and the nodes inside of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto, numpy_helper

from parity.precision.edit import constant_tensor, reads
from parity.precision.names import all_nodes
from parity.precision.scope import opset_imports, subgraphs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from onnx import ModelProto, NodeProto

_READABLE = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16})
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


class ModelFacts:
    """The main graph of a model, looked up by name.

    Attributes
    ----------
    nodes
        By name.
    producers, readers
        By tensor; a node reads what the graphs inside of it read.
    constants
        Initializers and the tensors of Constant nodes, by name.
    """

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self.opset = opset_imports(model).get("", 1)
        self.nodes: dict[str, NodeProto] = {node.name: node for node in graph.node}
        self.producers: dict[str, NodeProto] = {name: node for node in graph.node for name in node.output if name}
        self.readers: dict[str, list[NodeProto]] = {}
        self.constants: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            held = constant_tensor(node)
            if held is not None:
                self.constants[node.output[0]] = held
            for name in sorted(reads(node)):
                self.readers.setdefault(name, []).append(node)

    def floats(self, tensor: str) -> np.ndarray | None:
        """Return the values of a floating constant that holds any; None for everything else."""
        held = self.constants.get(tensor)
        if held is None or held.data_type not in _READABLE:
            return None
        values = numpy_helper.to_array(held)
        return values if values.size else None

    def integers(self, tensor: str) -> tuple[int, ...]:
        """Return the values of a constant of whole numbers; empty for everything else."""
        held = self.constants.get(tensor)
        if held is None or held.data_type not in {TensorProto.INT64, TensorProto.INT32}:
            return ()
        return tuple(int(value) for value in numpy_helper.to_array(held).ravel())

    def named(self, names: Iterable[str]) -> Iterator[NodeProto]:
        """Yield the nodes of the main graph that names stand for; other names are passed over."""
        return (self.nodes[name] for name in names if name in self.nodes)

    def with_inner(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return names of nodes, once each, with those of the nodes in the graphs inside of them; to be kept.

        Constants are left out: a precision makes initializers of them, so that no keep-list may name them.
        """
        found: dict[str, None] = {}
        for node in self.named(names):
            if constant_tensor(node) is not None:
                continue
            found[node.name] = None
            for graph in subgraphs(node):
                inside = (inner.name for inner in all_nodes(graph) if constant_tensor(inner) is None)
                found.update(dict.fromkeys(inside))
        return tuple(found)

    def constant_inputs(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Return the floating constants that nodes read, by name."""
        read = dict.fromkeys(name for node in self.named(names) for name in node.input)
        return {name: values for name in read if (values := self.floats(name)) is not None}
