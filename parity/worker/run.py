"""Inference: one feed through one engine."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Dict, Mapping, Sequence

from . import cuda
from .debug import listening
from .engine import LoadedEngine, loaded
from .errors import WorkerError
from .execution import Execution
from .feed import fit_feed
from .situation import situation_of
from .unwritten import PATTERNS, count_unwritten, keeps_pattern

if TYPE_CHECKING:
    from .tensor import Tensor

Outputs = Dict[str, "Tensor"]


def infer(state: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer ``infer``; output arrays are void once the engine is asked for more.

    Raises
    ------
    FeedRefused
        The feed does not fit the engine or the profile.
    WorkerError
        TensorRT failed, or there is no such engine.
    CudaLost
        CUDA failed for good.
    """
    engine = loaded(state, request["engine"])
    with cuda.mapped_errors("inference"):
        execution = prepare(state, engine, request, is_fresh=bool(request.get("fresh_context")))
        execution.upload()
        with _heard(engine, execution, request.get("debug") or ()) as listener:
            if request.get("find_unwritten"):
                tensors, unwritten, gpu_ms = _run_twice(engine, execution)
            else:
                (tensors, gpu_ms), unwritten = _run(engine, execution), {}
        debug = {"debug": listener.take()} if listener is not None else {}
    return {"tensors": tensors, "unwritten": unwritten, "gpu_ms": gpu_ms, **debug}


def _heard(engine: LoadedEngine, execution: Execution, wanted: Sequence[str]) -> Any:
    return listening(engine, execution.context, wanted) if wanted else nullcontext()


def prepare(state: Any, engine: LoadedEngine, request: Mapping[str, Any], *, is_fresh: bool) -> Execution:
    """Bind a request's feed to a context.

    Parameters
    ----------
    is_fresh
        In a context of its own, which ends with the execution; else in the engine's.

    Raises
    ------
    FeedRefused, WorkerError
        As ``infer``.
    """
    engine.begin(state.log)
    feed = fit_feed(request["tensors"], engine.bindings)
    situation = situation_of(engine.bindings, feed, request.get("profile") or 0, engine.profile_count)
    context = engine.fresh_context() if is_fresh else engine.kept_context()
    execution = Execution(engine, context, situation, feed)
    engine.situation = situation
    return execution


def _run(engine: LoadedEngine, execution: Execution) -> tuple[Outputs, float]:
    start, end = engine.driver.Event(), engine.driver.Event()
    start.record(engine.stream)
    execution.enqueue()
    end.record(engine.stream)
    execution.download()
    return execution.outputs(), float(start.time_till(end))


def _run_twice(engine: LoadedEngine, execution: Execution) -> tuple[Outputs, dict[str, int], float]:
    first, second = PATTERNS
    try:
        execution.poison(first)
        outputs, _ = _run(engine, execution)
        kept = {name: keeps_pattern(tensor.array, first) for name, tensor in outputs.items()}
        execution.poison(second)
        outputs, gpu_ms = _run(engine, execution)
    finally:
        execution.poison(None)
    for name, tensor in outputs.items():
        if tensor.array.shape != kept[name].shape:
            raise WorkerError(f"output {name} had shape {kept[name].shape}, then {tensor.array.shape}, for one feed")
    return outputs, {name: count_unwritten(kept[name], tensor.array) for name, tensor in outputs.items()}, gpu_ms
