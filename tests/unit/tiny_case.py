"""A case small enough to judge in milliseconds: two outputs, a dynamic batch, seeded random feeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

CASE_FILE = """\
description = "a tiny case"
model = "model.onnx"
batch_size = 2

[inputs]
kind = "random"
seed = 3
count = 4

[variants.fp32]
precision = "fp32"

[variants.fp16]
precision = "fp16"
"""


def make_model(scale: float = 1.0) -> onnx.ModelProto:
    """Return x (n, 4) -> logits (n, 5) and boxes (n, 3), both float32."""
    generator = np.random.default_rng(11)
    weights = {
        "w1": generator.normal(size=(4, 5)).astype(np.float32) * np.float32(scale),
        "w2": generator.normal(size=(4, 3)).astype(np.float32),
    }
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w1"], ["logits"]), helper.make_node("MatMul", ["x", "w2"], ["boxes"])],
        "graph",
        [value("x", TensorProto.FLOAT, ["n", 4])],
        [value("logits", TensorProto.FLOAT, ["n", 5]), value("boxes", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_case(folder: Path, text: str = CASE_FILE, model: onnx.ModelProto | None = None) -> Path:
    """Write a case folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save_model(model or make_model(), folder / "model.onnx")
    (folder / "case.toml").write_text(text, encoding="utf-8")
    return folder
