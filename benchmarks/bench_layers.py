"""How much memory a layer report takes beside its budget, on a model whose activations are ten times the budget.

Usage: ``python benchmarks/bench_layers.py`` observes a chain of convolutions on a large image in a child process and
exits with 1 where the resident memory rises above 1.5 times the budget; what the process had before, libraries and the
model's feed included, is subtracted. ``--smoke`` takes a small budget and asserts nothing, since the libraries' own
memory is as large as that.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TARGET = 1.5
CHANNELS = 8
TENSORS_IN_BUDGET = 8
LAYERS = 10 * TENSORS_IN_BUDGET
SIDE, SMOKE_SIDE = 720, 64


def make_model(side: int) -> onnx.ModelProto:
    """Return a chain of pointwise convolutions on an image of so many pixels a side."""
    generator = np.random.default_rng(0)
    nodes, weights, before = [], [], "x"
    for number in range(LAYERS):
        kernel = np.linalg.qr(generator.standard_normal((CHANNELS, CHANNELS)))[0]
        weights.append(numpy_helper.from_array(kernel.astype(np.float32)[..., None, None], f"w{number}"))
        nodes.append(helper.make_node("Conv", [before, f"w{number}"], [f"t{number}"], name=f"conv{number}"))
        before = f"t{number}"
    shape = [1, CHANNELS, side, side]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info(before, TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "chain", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def memory_bytes(name: str) -> int:
    """Return a figure of this process's memory, such as ``VmRSS`` (now) or ``VmHWM`` (the most so far)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def observe_here(side: int, budget_bytes: int) -> dict[str, float]:
    """Observe the chain in this process and return its figures, in bytes and seconds."""
    _observe(8, budget_bytes)  # Libraries load and threads start before memory is counted.
    feed_bytes = 4 * CHANNELS * side * side
    before = memory_bytes("VmRSS") + feed_bytes
    start = time.perf_counter()
    row_count = _observe(side, budget_bytes)
    took = time.perf_counter() - start
    used = memory_bytes("VmHWM") - before
    return {"used": used, "seconds": took, "rows": row_count, "activations": LAYERS * feed_bytes}


def _observe(side: int, budget_bytes: int) -> int:
    from parity.layers.observe import Observed, observe
    from parity.options import PrecisionOptions
    from parity.precision import forecast
    from parity.tolerance import Precision

    model = make_model(side)
    made = forecast(model, PrecisionOptions(Precision.FP16))
    feed = {"x": np.random.default_rng(1).standard_normal((1, CHANNELS, side, side), np.float32)}
    return len(observe(Observed(model, made.rounded, Precision.FP16), lambda: [feed], budget_bytes).rows)


def main() -> int:
    """Print the figures; return 1 where a full run takes more memory than the target allows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a small budget, no target")
    parser.add_argument("--side", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(observe_here(options.side, TENSORS_IN_BUDGET * 4 * CHANNELS * options.side**2)))
        return 0
    side = SMOKE_SIDE if options.smoke else SIDE
    budget_bytes = TENSORS_IN_BUDGET * 4 * CHANNELS * side**2
    command = [sys.executable, __file__, "--side", str(side)]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    share = found["used"] / budget_bytes
    print(
        f"{found['rows']} rows in {found['seconds']:.1f} s; budget {budget_bytes / 2**20:.0f} MiB, activations "
        f"{found['activations'] / 2**20:.0f} MiB, peak {found['used'] / 2**20:.0f} MiB: {share:.2f} of the budget "
        f"(target {TARGET})"
    )
    return 0 if options.smoke or share <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
