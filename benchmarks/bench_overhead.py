"""What the harness adds to bare inferences: feeds sent to the worker, outputs brought back, one request each.

Usage: ``python benchmarks/bench_overhead.py`` builds small networks in the interpreter of ``PARITY_TENSORRT_PYTHON``,
or in this one, and exits with 1 where a feed through the harness takes more than 1.15 times the bare inference, its
transfers to and from the GPU included. ``--smoke`` measures little; where there is no GPU, it says so and exits with 0.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from parity.backends import TensorRTSettings
from parity.backends.engine import EngineRequest, OnnxSource
from parity.backends.tensorrt.conversation import SentFile
from parity.backends.tensorrt.interpreter import named_interpreters
from parity.backends.tensorrt.opening import converse
from parity.backends.tensorrt.process import LiveConversation
from parity.build_options import BuildOptions
from parity.errors import BackendUnavailable
from parity.tolerance import Precision

if TYPE_CHECKING:
    from onnx import ModelProto

    from parity.backends.tensorrt.backend import TensorRTBackend

TARGET = 1.15
SHAPES = ((1, 3, 224, 224), (16, 3, 224, 224), (32, 3, 320, 320))
FULL_COUNT, SMOKE_COUNT = 300, 10
DEPTH, CHANNELS = 12, 64
LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Overhead:
    """Median times of one feed, in ms."""

    shape: tuple[int, ...]
    harness_ms: float
    bare_ms: float

    @property
    def ratio(self) -> float:
        """Harness over bare."""
        return self.harness_ms / self.bare_ms

    def __str__(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"{size:16} {self.harness_ms:8.3f} ms, bare {self.bare_ms:8.3f} ms, {self.ratio:5.2f} times"


def make_network(shape: tuple[int, ...]) -> ModelProto:
    """Return x -> y (rows, 1000): a stem that halves the image twice, a chain of convolutions, and a classifier."""
    generator = np.random.default_rng(0)
    nodes, tensors, source = [], [], "x"
    for number in range(DEPTH):
        depth = CHANNELS if number else shape[1]
        weight = generator.standard_normal((CHANNELS, depth, 3, 3)) * np.sqrt(2 / (9 * depth))
        tensors.append(numpy_helper.from_array(weight.astype(np.float32), f"w{number}"))
        strides = [2, 2] if number < 2 else [1, 1]
        nodes += [
            helper.make_node("Conv", [source, f"w{number}"], [f"c{number}"], pads=[1, 1, 1, 1], strides=strides),
            helper.make_node("Relu", [f"c{number}"], [f"r{number}"]),
        ]
        source = f"r{number}"
    head = (generator.standard_normal((CHANNELS, 1000)) / CHANNELS).astype(np.float32)
    tensors.append(numpy_helper.from_array(head, "head"))
    nodes += [
        helper.make_node("GlobalAveragePool", [source], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [shape[0], 1000])]
    graph = helper.make_graph(nodes, "overhead", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def measure(
    conversation: LiveConversation, backend: TensorRTBackend, cache: Path, shape: tuple[int, ...], count: int
) -> Overhead:
    """Time one network both ways."""
    model = make_network(shape)
    options = BuildOptions(optimization_level=2, tactic_sources=("edge_mask_convolutions", "jit_convolutions"))
    request = EngineRequest(OnnxSource(model, model), Precision.TF32, Precision.FP32, options)
    known = set(cache.glob("engines/*/engine.plan"))
    feed = {"x": np.random.default_rng(1).standard_normal(shape).astype(np.float32)}
    readings = []
    with backend.open_engine(request, LIMIT_S) as session:
        for _ in range(count + count // 10):
            started = time.perf_counter()
            session.infer(feed)
            readings.append((time.perf_counter() - started) * 1e3)
    (plan,) = set(cache.glob("engines/*/engine.plan")) - known
    bare_ms = measure_bare(conversation, plan, feed, count)
    return Overhead(shape, statistics.median(readings[count // 10 :]), bare_ms)


def measure_bare(conversation: LiveConversation, plan: Path, feed: dict[str, np.ndarray], count: int) -> float:
    """Return the median of the worker's own loop: upload, inference, download, in ms."""
    loaded = conversation.ask("load", {"plan": SentFile(plan), "offset": 0, "options": {}}, LIMIT_S)["engine"]
    fields = {"engine": loaded, "tensors": feed, "profile": 0, "cuda_graph": False}
    loop = {"warm_up_ms": 200.0, "min_iterations": count, "min_s": 0.0}
    told = conversation.ask("time", {**fields, **loop}, LIMIT_S)
    conversation.ask("unload", {"engine": loaded}, LIMIT_S)
    return float(np.median(told["host_ms"]))


def measure_all(count: int) -> list[Overhead]:
    """Measure every shape, one after the other, in one worker.

    Raises
    ------
    BackendUnavailable
        TensorRT, PyCUDA, the driver or a GPU is missing.
    """
    conversation = LiveConversation(named_interpreters((), os.environ)[0])
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch)
        with converse([conversation], TensorRTSettings(cache=cache)) as (backend,):
            print(f"{backend.name} on {backend.worker.gpu}")
            return [measure(conversation, backend, cache, shape, count) for shape in SHAPES]


def main() -> int:
    """Print a line a shape; return 1 where a full run misses the target, 2 where there is nothing to measure on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="few feeds, no target, and no GPU is no failure")
    smoke = parser.parse_args().smoke
    try:
        found = measure_all(SMOKE_COUNT if smoke else FULL_COUNT)
    except BackendUnavailable as missing:
        print(f"no GPU to measure on: {missing}")
        return 0 if smoke else 2
    for overhead in found:
        print(overhead)
    print(f"target: at most {TARGET} times")
    return 0 if smoke or max(overhead.ratio for overhead in found) <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
