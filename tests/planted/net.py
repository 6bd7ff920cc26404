"""A network under construction: operators return the name of what they give; nodes of a fault are remembered."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterator


class Net:
    """Random weights that keep values near 1, seeded."""

    def __init__(self, seed: int) -> None:
        self.draw = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.feed: dict[str, np.ndarray] = {}
        self.planted: set[str] = set()
        self.opset = 17
        self._is_planting = False

    @contextmanager
    def planting(self) -> Iterator[None]:
        """Remember the nodes that are made inside."""
        self._is_planting = True
        yield
        self._is_planting = False

    def input(self, *shape: int, name: str = "x") -> str:
        self.feed[name] = self.draw.standard_normal(shape).astype(np.float32)
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def constant(self, values: object, dtype: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def op(self, op_type: str, *inputs: str, **attributes: object) -> str:
        number = len(self.nodes)
        name, tensor = f"n{number}", f"t{number}"
        self.nodes.append(helper.make_node(op_type, inputs, [tensor], name=name, **attributes))
        if self._is_planting:
            self.planted.add(name)
        return tensor

    def weights(self, *shape: int) -> np.ndarray:
        spread = np.sqrt(2.0 / np.prod(shape[1:]))
        return (self.draw.standard_normal(shape) * spread).astype(np.float32)

    def conv(self, x: str, wide: int, out: int, size: int = 3, *, group: int = 1) -> str:
        weights = self.constant(self.weights(out, wide // group, size, size))
        bias = self.constant(self.draw.standard_normal(out) * 0.1)
        return self.op("Conv", x, weights, bias, kernel_shape=[size] * 2, pads=[size // 2] * 4, group=group)

    def linear(self, x: str, wide: int, out: int) -> str:
        product = self.op("MatMul", x, self.constant(self.weights(out, wide).T))
        return self.op("Add", product, self.constant(self.draw.standard_normal(out) * 0.1))

    def gemm(self, x: str, wide: int, out: int) -> str:
        return self.op("Gemm", x, self.constant(self.weights(out, wide).T), self.constant(np.zeros(out)))

    def scale(self, x: str, channels: int, factor: float, bias: float = 0.0, *, rank: int) -> str:
        """Multiply every channel by a factor, and add a bias, as products that nothing folds into."""
        if rank == 4:
            more = [self.constant(np.full(channels, bias))] if bias else []
            weights = self.constant(np.full((channels, 1, 1, 1), factor))
            return self.op("Conv", x, weights, *more, kernel_shape=[1, 1], group=channels)
        product = self.op("MatMul", x, self.constant(np.eye(channels) * factor))
        return self.op("Add", product, self.constant(np.full(channels, bias))) if bias else product

    def model(self, output: str) -> ModelProto:
        self.nodes[-1].output[0] = "y"
        assert output == f"t{len(self.nodes) - 1}", "the output is what the last node gives"
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "planted", self.inputs, [y], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        inferred: ModelProto = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        del inferred.graph.value_info[:]
        return inferred


def normal_in_parts(net: Net, x: str, axis: int) -> str:
    """What a layer normalisation does, without its scale, as exporters wrote it before opset 17."""
    centred = net.op("Sub", x, net.op("ReduceMean", x, axes=[axis], keepdims=1))
    variance = net.op("ReduceMean", net.op("Pow", centred, net.constant(2.0)), axes=[axis], keepdims=1)
    return net.op("Div", centred, net.op("Sqrt", net.op("Add", variance, net.constant(1e-5))))
