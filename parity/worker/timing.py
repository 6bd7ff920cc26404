"""Timing: an enqueue loop under CUDA events, and readings by layer."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from . import cuda
from .engine import LoadedEngine, loaded
from .layers import by_position, make_profiler
from .run import prepare
from .tensor import Tensor

if TYPE_CHECKING:
    from .execution import Execution

NO_GRAPH = "PyCUDA has no stream capture, so no CUDA graph was made; the engine was enqueued each time"


def time(state: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer ``time``.

    ``gpu_ms`` is the GPU's time from the first kernel to the last, ``enqueue_ms`` the host's for the call that
    enqueues, ``host_ms`` the host's from the first transfer to the end of the last. ``cuda_graph`` is whether one was
    captured; where it was asked for in vain, ``notes`` says why.

    Raises
    ------
    FeedRefused, WorkerError, CudaLost
        As ``infer``.
    """
    engine = loaded(state, request["engine"])
    with cuda.mapped_errors("timing"):
        execution = prepare(state, engine, request, is_fresh=False)
        _warm_up(engine, execution, float(request["warm_up_ms"]))
        readings = _measure(engine, execution, int(request["min_iterations"]), float(request["min_s"]))
    columns = np.array(readings, np.float32).reshape(-1, 3).T
    names = ("gpu_ms", "host_ms", "enqueue_ms")
    told = {name: Tensor(np.ascontiguousarray(column), "float32") for name, column in zip(names, columns)}
    return {**told, "cuda_graph": False, "notes": [NO_GRAPH] if request.get("cuda_graph") else []}


def _warm_up(engine: LoadedEngine, execution: Execution, warm_up_ms: float) -> None:
    """Run once at least: the first inference of a situation makes what later ones find."""
    end = perf_counter() + warm_up_ms / 1e3
    while True:
        _iterate(engine, execution)
        if perf_counter() >= end:
            return


def _measure(
    engine: LoadedEngine, execution: Execution, min_iterations: int, min_s: float
) -> list[tuple[float, float, float]]:
    readings: list[tuple[float, float, float]] = []
    end = perf_counter() + min_s
    while len(readings) < max(min_iterations, 1) or perf_counter() < end:
        readings.append(_iterate(engine, execution))
    return readings


def _iterate(engine: LoadedEngine, execution: Execution) -> tuple[float, float, float]:
    """Run once; give the GPU's, the host's and the enqueue's time, in ms."""
    before, after = engine.driver.Event(), engine.driver.Event()
    started = perf_counter()
    execution.upload()
    before.record(engine.stream)
    enqueued = perf_counter()
    execution.enqueue()
    enqueue_s = perf_counter() - enqueued
    after.record(engine.stream)
    execution.download()
    host_s = perf_counter() - started
    return float(before.time_till(after)), host_s * 1e3, enqueue_s * 1e3


def profile(state: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer ``profile``: ``iterations`` readings a layer, in order of execution; one more before them is dropped.

    Raises
    ------
    FeedRefused, WorkerError, CudaLost
        As ``infer``; also if two iterations ran different layers.
    """
    engine = loaded(state, request["engine"])
    with cuda.mapped_errors("profiling"):
        profiler = make_profiler(engine.trt)
        execution = prepare(state, engine, request, is_fresh=True)
        execution.observe(profiler)
        execution.upload()
        for _ in range(int(request["iterations"]) + 1):
            profiler.begin()
            execution.enqueue()
            engine.stream.synchronize()
            execution.report()
    return {"layers": by_position(profiler.iterations[1:])}
