"""Case folders whose verdicts are known beforehand, small enough to be judged in milliseconds."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[1]

IS_INSTALLED = any(entry.value == "parity.pytest_plugin" for entry in entry_points(group="pytest11"))
# An installed package registers the plugin by its entry point, and pytest refuses to register one twice.
PLUGIN = () if IS_INSTALLED else ("-p", "parity.pytest_plugin")

RANDOM_INPUTS = '[inputs]\nkind = "random"\nseed = 1\ncount = 2\n'
VARIANTS = '[variants.fp32]\nprecision = "fp32"\n[variants.fp16]\nprecision = "fp16"\n'


def two_matmuls(scale: float) -> onnx.ModelProto:
    """Return x (4, 8) -> y (4, 5) = x @ (scale * A) @ (B / scale): the same function for every scale in float32.

    Above some 1e5 the hidden tensor leaves the half range, so that fp16 fails and fp32 passes.
    """
    generator = np.random.default_rng(0)
    constants = [
        numpy_helper.from_array((scale * generator.standard_normal((8, 16))).astype(np.float32), "a"),
        numpy_helper.from_array((generator.standard_normal((16, 5)) / scale).astype(np.float32), "b"),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["hidden"], "first"),
        helper.make_node("MatMul", ["hidden", "b"], ["y"], "second"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 5])]
    graph = helper.make_graph(nodes, "two_matmuls", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def write_matmul_case(
    folder: Path, *, scale: float = 1.0, variants: str = VARIANTS, inputs: str = RANDOM_INPUTS
) -> Path:
    """Write a case of ``two_matmuls`` and return its folder; with ``scale=1e6`` its fp16 overflows."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(two_matmuls(scale).SerializeToString())
    (folder / "case.toml").write_text(f'model = "model.onnx"\n{inputs}{variants}', encoding="utf-8")
    return folder


def process_environment(**more: str) -> dict[str, str]:
    """Return the environment of a child process that finds this checkout and no user's cache."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, **more}


def parity_command(*words: str | Path) -> list[str]:
    """Return the command line as a process."""
    return [sys.executable, "-m", "parity", *map(str, words)]
