"""What only many inferences show: memory that leaks, and what the harness itself costs."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.gpu.models import conv_net, detections, found_boxes, images
from tests.gpu.rig import request_for, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from parity.backends.tensorrt.session import TensorRTSession
    from tests.gpu.rig import Rig

    Build = Callable[..., TensorRTSession]
    Figure = Callable[[str, float | str], None]

pytestmark = pytest.mark.gpu

_MIB = 2**20
# CUDA hands out memory in steps of 2 MiB: one step may come late, a thousand leaks are more.
_ONE_STEP = 2 * _MIB
_INFERENCES = 1000


@pytest.fixture(params=["cuMemGetInfo", "NVML"])
def used_bytes(request: pytest.FixtureRequest, rig: Rig) -> Iterator[Callable[[], int]]:
    """Return a function that tells how much of the GPU's memory is taken, by one of two meters."""
    if request.param == "cuMemGetInfo":
        yield lambda: rig.backend.worker.memory_bytes - rig.free_bytes()
        return
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed: pip install nvidia-ml-py")
    pynvml.nvmlInit()
    if pynvml.nvmlDeviceGetCount() != 1:
        pytest.skip("several GPUs: NVML numbers them in another order than CUDA")
    gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
    yield lambda: int(pynvml.nvmlDeviceGetMemoryInfo(gpu).used)
    pynvml.nvmlShutdown()


def test_a_thousand_inferences_leak_no_device_memory(rig: Rig, used_bytes: Callable[[], int], figure: Figure) -> None:
    _grown_in(rig, used_bytes, 20)  # kernels are loaded with their first use
    unloaded = used_bytes()
    grown = _grown_in(rig, used_bytes, _INFERENCES)
    left = used_bytes() - unloaded
    figure("grown in 1,000 inferences, MiB", grown / _MIB)
    figure("left after unloading, MiB", left / _MIB)
    assert grown <= _ONE_STEP, f"{grown / _MIB:.1f} MiB more after {_INFERENCES} inferences"
    assert left <= _ONE_STEP, f"{left / _MIB:.1f} MiB are still taken after the engines were unloaded"


def _grown_in(rig: Rig, used_bytes: Callable[[], int], count: int) -> int:
    """Return how much memory a number of inferences took behind the first twenty, in bytes."""
    profile = rows_of("x", (3, 32, 32), best=8, most=16)
    feeds = [images(rows, 32) for rows in (16, 1, 8, 3)]
    requests = (request_for(conv_net("rows", 32), profiles=(profile,)), request_for(detections()))
    with ExitStack() as stack:
        session, detector = (stack.enter_context(rig.backend.open_engine(request, 240.0)) for request in requests)
        _run_all(session, detector, feeds, 20)
        before = used_bytes()
        _run_all(session, detector, feeds, count)
        return used_bytes() - before


def _run_all(
    session: TensorRTSession, detector: TensorRTSession, feeds: list[dict[str, np.ndarray]], count: int
) -> None:
    """Run that many inferences: of changing batches, some in fresh contexts, some with outputs of unknown size."""
    for number in range(count):
        if number % 5 == 4:
            detector.run(found_boxes(scores_by=number % 2))
        else:
            session.infer(feeds[number % 4], fresh_context=number % 50 == 0, find_unwritten=number % 50 == 1)


def test_what_the_harness_adds_to_an_inference_is_told(rig: Rig, build: Build, figure: Figure) -> None:
    feed = images()
    session = build(conv_net(), optimization_level=2)
    for _ in range(10):
        session.infer(feed)
    started = time.perf_counter()
    for _ in range(200):
        session.infer(feed)
    harness_ms = (time.perf_counter() - started) / 200 * 1e3
    handle = rig.load(rig.plan_of(session))
    fields = {"engine": handle, "tensors": feed, "profile": 0, "warm_up_ms": 100.0, "min_iterations": 50}
    told = rig.conversation.ask("time", {**fields, "min_s": 0.5, "cuda_graph": False}, 60.0)
    rig.conversation.ask("unload", {"engine": handle}, 60.0)
    bare_ms = float(np.mean(told["host_ms"]))
    figure("infer by the harness, ms", harness_ms)
    figure("bare inference with transfers, ms", bare_ms)
    figure("harness over bare", harness_ms / bare_ms)
    assert math.isfinite(harness_ms / bare_ms)
    assert bare_ms > 0
