"""Tiny ONNX models for tests, and case folders around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path


def conv_relu(batch: int | str = "batch", size: int = 8) -> onnx.ModelProto:
    """Return images (batch, 3, size, size) -> logits (batch, 4, size, size)."""
    weights = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["hidden"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["hidden"], ["logits"], "relu"),
    ]
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, size, size])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 4, size, size])]
    return _model(nodes, inputs, outputs, [numpy_helper.from_array(weights, "w")])


def two_inputs() -> onnx.ModelProto:
    """Return ids int64 (batch, tokens), mask bool (batch, tokens) -> hidden float32 (batch, tokens, 2)."""
    table = np.arange(20, dtype=np.float32).reshape(10, 2)
    nodes = [
        helper.make_node("Where", ["mask", "ids", "zero"], ["masked"], "where"),
        helper.make_node("Gather", ["table", "masked"], ["hidden"], "gather"),
    ]
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "tokens"]),
        helper.make_tensor_value_info("mask", TensorProto.BOOL, ["batch", "tokens"]),
    ]
    outputs = [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["batch", "tokens", 2])]
    constants = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array(0, np.int64), "zero")]
    return _model(nodes, inputs, outputs, constants)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: list[onnx.TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def write_images(folder: Path, names: list[str], size: tuple[int, int] = (8, 8), block: int = 1) -> None:
    """Write PNG images of noise, each of its own; in blocks of one colour it takes little to draw on them."""
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        colours = np.random.default_rng(seed).integers(0, 256, (size[0] // block, size[1] // block, 3), np.uint8)
        pixels = colours.repeat(block, axis=0).repeat(block, axis=1)
        (folder / name).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def write_case(folder: Path, text: str, model: onnx.ModelProto | None = None) -> Path:
    """Write a case folder with its model, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes((model or conv_relu()).SerializeToString())
    (folder / "case.toml").write_text(text, encoding="utf-8")
    return folder
