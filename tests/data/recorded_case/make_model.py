"""Writes model.onnx: three convolutions and a product, weights drawn from a seed, so that nothing has to be fetched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GENERATOR = np.random.default_rng(7)


def weights(name: str, *shape: int) -> onnx.TensorProto:
    """Return weights that keep the scale of their input."""
    fan_in = int(np.prod(shape[1:]))
    return numpy_helper.from_array((GENERATOR.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32), name)


def make_model() -> onnx.ModelProto:
    """Return x (n, 3, 16, 16) -> logits (n, 10)."""
    constants = [
        weights("w1", 8, 3, 3, 3),
        weights("w2", 16, 8, 3, 3),
        weights("w3", 16, 16, 3, 3),
        weights("w4", 10, 16),
    ]
    padding = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], "first", **padding),
        helper.make_node("Relu", ["c1"], ["r1"], "first_relu"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], "second", strides=[2, 2], **padding),
        helper.make_node("Relu", ["c2"], ["r2"], "second_relu"),
        helper.make_node("Conv", ["r2", "w3"], ["c3"], "third", **padding),
        helper.make_node("GlobalAveragePool", ["c3"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w4"], ["logits"], "head", transB=1),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])]
    graph = helper.make_graph(nodes, "recorded", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    onnx.save(make_model(), Path(__file__).with_name("model.onnx"))
