"""Random networks of several builds, by seed: what rules of diagnosis are tried on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

SEEDS = (11, 23, 37, 41, 59)


class Net:
    """Nodes and constants of a network in the making."""

    def __init__(self, seed: int, shape: Sequence[int | str]) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.input = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))
        self.end = "x"

    def constant(self, values: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def weights(self, *shape: int) -> str:
        scale = np.sqrt(2 / max(1, np.prod(shape[1:])))
        return self.constant((self.rng.standard_normal(shape) * scale).astype(np.float32))

    def add(self, op_type: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        name = f"n{len(self.nodes)}"
        made = [f"{name}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(op_type, inputs or [self.end], made, name=name, **attributes))
        self.end = made[0]
        return self.end

    def conv(self, inside: int, outside: int, kernel: int = 3) -> str:
        weights = self.weights(outside, inside, kernel, kernel)
        return self.add("Conv", self.end, weights, pads=[kernel // 2] * 4)

    def done(self, *outputs: tuple[str, int, Sequence[int | str]]) -> onnx.ModelProto:
        values = [helper.make_tensor_value_info(*output) for output in outputs]
        graph = helper.make_graph(self.nodes, "net", [self.input], values, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        return model


def chain(seed: int) -> onnx.ModelProto:
    """Return images (batch, 3, 12, 12) -> y: convolutions, as many and as wide as the seed says."""
    net = Net(seed, ["batch", 3, 12, 12])
    width = 8 + 4 * (seed % 3)
    net.conv(3, width)
    for _ in range(1 + seed % 2):
        net.add("Relu" if seed % 4 else "LeakyRelu")
        net.conv(width, width)
    net.add("Relu")
    end = net.conv(width, 5, 1)
    return net.done((end, TensorProto.FLOAT, ["batch", 5, 12, 12]))


def fork(seed: int) -> onnx.ModelProto:
    """Return images (batch, 3, 12, 12) -> two outputs of one shape."""
    net = Net(seed, ["batch", 3, 12, 12])
    trunk = net.conv(3, 8 + seed % 5)
    trunk = net.add("Relu")
    first = net.conv(8 + seed % 5, 4)
    net.end = trunk
    second = net.conv(8 + seed % 5, 4, 1)
    shape = ["batch", 4, 12, 12]
    return net.done((first, TensorProto.FLOAT, shape), (second, TensorProto.FLOAT, shape))


def chooser(seed: int, *, ties: bool) -> onnx.ModelProto:
    """Return x (batch, 16) -> values and indices of the 6 best of 24 scores, of which half are twins where they tie."""
    net = Net(seed, ["batch", 16])
    weights = net.rng.standard_normal((16, 24)).astype(np.float32)
    if ties:
        weights[:, 12:] = weights[:, :12]
    net.add("MatMul", "x", net.constant(weights))
    net.add("Sigmoid" if seed % 2 else "Identity")
    scores = net.end
    net.add("TopK", scores, net.constant(np.array([6], np.int64)), outputs=2, axis=-1)
    name = net.nodes[-1].output
    return net.done((name[0], TensorProto.FLOAT, ["batch", 6]), (name[1], TensorProto.INT64, ["batch", 6]))


def images(seed: int, *, count: int = 2, batch: int = 3, scale: float = 1.0) -> list[dict[str, np.ndarray]]:
    """Return feeds of smooth random images whose channels differ in their means."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        coarse = rng.uniform(0, 1, (batch, 3, 4, 4)).repeat(3, axis=2).repeat(3, axis=3)
        tint = np.array([0.6, 0.3, 0.1]).reshape(1, 3, 1, 1)
        made.append({"x": (scale * (0.7 * coarse + tint)).astype(np.float32)})
    return made
