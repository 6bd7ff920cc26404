"""``build``: from a model or a network function to a plan file, with everything that TensorRT said on the way."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

from . import cuda, installation
from .atomic import write_atomically
from .calibrator import Batches, calibration_feeds, make_calibrator
from .capabilities import describe_gpu
from .config import flags_set, is_strongly_typed, load_plugins, make_config, require_precision
from .constraints import hold_types, keep_layers
from .errors import CudaLost, ModelRefused, WorkerError
from .heard import Listener, listener
from .logger import classify
from .network import fill, new_network
from .observing import expose_tensors
from .steps import watch_build

if TYPE_CHECKING:
    from .state import State

_MOST_ERRORS = 5
_MOST_NODES = 3


@dataclass(frozen=True)
class _Job:
    """A build under way.

    Attributes
    ----------
    notes
        Grows: a sentence on each thing that was done and was not asked for in so many words.
    tell_share
        Takes how much of it is done, where TensorRT says so.
    """

    trt: Any
    heard: Listener
    request: Mapping[str, Any]
    notes: list[str]
    tell_share: Callable[[float], None]


def build(state: State, request: dict[str, Any]) -> dict[str, Any]:
    """Answer ``build``.

    Raises
    ------
    ModelRefused
        The parser or the builder refuses the model.
    PrecisionMissing
        This TensorRT or this GPU lacks the precision or an option; nothing is built without it.
    FeedRefused
        The profiles or the feeds of calibration do not fit the network.
    Unavailable
        TensorRT, PyCUDA, the driver or a GPU is missing.
    CudaLost
        The CUDA context cannot be used any more.
    WorkerError
        Out of memory, or a file cannot be written.
    """
    trt = installation.tensorrt()
    cuda.context()
    heard = listener(trt)
    heard.begin(state.log)
    job = _Job(trt, heard, request, [], state.tell_share)
    started = perf_counter()
    builder = _ready_builder(job)
    is_strong = is_strongly_typed(trt, request["typing"])
    network = new_network(trt, builder, is_strong=is_strong)
    # Weights are read where they lie until the plan is there.
    kept = fill(trt, network, heard, request["source"], request["options"].get("parser_flags", {}))
    if not is_strong:
        _constrain(job, network)
    if request.get("observe"):
        job.notes.extend(expose_tensors(trt, network, request["observe"], is_strong=is_strong))
    plan, flags = _build_plan(job, builder, network)
    del kept
    write_atomically(request["plan"], plan)
    return {
        "sha256": hashlib.sha256(plan).hexdigest(),
        "size_bytes": memoryview(plan).nbytes,
        "build_s": perf_counter() - started,
        "messages": heard.heard.told(),
        "flags": flags,
        "typing": "strong" if is_strong else "weak",
        "notes": job.notes,
    }


def _ready_builder(job: _Job) -> Any:
    """Return a builder that has the plugins and, with this GPU, the precision."""
    request = job.request
    load_plugins(job.trt, request["options"].get("plugins", ()))
    builder = installation.make_builder(job.trt, job.heard)
    capability = describe_gpu(cuda.current())["compute_capability"]
    require_precision(job.trt, builder, request["precision"], request["typing"], capability)
    return builder


def _constrain(job: _Job, network: Any) -> None:
    request = job.request
    if request["typing"] == "strong":
        held = hold_types(job.trt, network, request.get("types") or {})
        job.notes.append(
            f"{held} of {network.num_layers} layers are held at the types of the model"
            if held
            else "no layer is held at the types of the model: Q/DQ pairs decide, or there are no float layers"
        )
    if request["keep"]:
        precision = request["keep_precision"]
        kept = keep_layers(job.trt, network, request["keep"], precision)
        job.notes.append(f"{len(request['keep'])} kept nodes are {kept.layer_count} layers held at {precision}")
        job.notes.extend(_free_note(kept.free_nodes, precision))


def _free_note(nodes: Sequence[str], precision: str) -> list[str]:
    if not nodes:
        return []
    more = f" and {len(nodes) - _MOST_NODES} more" if len(nodes) > _MOST_NODES else ""
    told = f"kept, and yet not held at {precision}: {', '.join(nodes[:_MOST_NODES])}{more}"
    return [
        f"{told}; a layer that reads floats and gives none takes no precision, TensorRT may compute it in a lower one"
    ]


def _build_plan(job: _Job, builder: Any, network: Any) -> tuple[Any, list[str]]:
    """Return the serialized plan, and the names of the builder flags that were set."""
    batches = _batches(job, network)
    try:
        calibrator = make_calibrator(job.trt, job.request["calibration"]["kind"], batches) if batches else None
        config = make_config(job.trt, builder, network, job.request, job.notes.append, calibrator=calibrator)
        _renew_refused_cache(job, config)
        monitor = watch_build(job.trt, config, job.tell_share)
        plan = builder.build_serialized_network(network, config)
        del monitor
        if batches:
            batches.check()
            job.notes.append(_calibration_note(batches))
    finally:
        if batches:
            batches.release()
    if plan is None:
        raise _refusal(job.request, job.heard.heard.errors())
    _write_timing_cache(job, config)
    return plan, flags_set(job.trt, config)


def _batches(job: _Job, network: Any) -> Batches | None:
    calibration = job.request.get("calibration")
    if calibration is None:
        return None
    return Batches(calibration_feeds(job.trt, network, calibration["feeds"]), calibration.get("cache"))


def _calibration_note(batches: Batches) -> str:
    if batches.has_read_cache and not batches.served:
        return "calibrated from the cache file: no feed was run"
    return f"calibrated on {batches.served} feeds of {batches.size} rows"


def _uses_timing_cache(request: Mapping[str, Any]) -> bool:
    return bool(request.get("timing_cache")) and request["options"].get("timing_cache") != "off"


def _renew_refused_cache(job: _Job, config: Any) -> None:
    """Begin an empty timing cache where TensorRT took none: a file of another release or GPU, or a damaged one."""
    if not _uses_timing_cache(job.request) or config.get_timing_cache() is not None:
        return
    config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    job.notes.append(
        "TensorRT refuses the timing cache, damaged or of another release or GPU: every tactic is measured anew"
    )


def _write_timing_cache(job: _Job, config: Any) -> None:
    if not _uses_timing_cache(job.request):
        return
    cache = config.get_timing_cache()
    if cache is None:
        job.notes.append("the timing cache is not kept: TensorRT has none after the build")
        return
    write_atomically(job.request["timing_cache"], cache.serialize())


def _refusal(request: Mapping[str, Any], errors: list[str]) -> WorkerError:
    """Return why there is no plan, from what TensorRT logged."""
    source = request["source"]
    name = Path(source.get("model") or source["file"]).name
    told = "; ".join(errors[:_MOST_ERRORS]) or "TensorRT logged no error"
    more = f"; and {len(errors) - _MOST_ERRORS} more" if len(errors) > _MOST_ERRORS else ""
    if any(cuda.is_lost(text) for text in errors):
        return CudaLost(f"building {name}: {told}{more}; the CUDA context cannot be used any more")
    # Tactics are skipped for other reasons too; of those only the ones without room to run are meant.
    if any(classify(text) == "memory" or "insufficient" in text for text in errors):
        free = cuda.memory(None, {})["free_bytes"] >> 20
        return WorkerError(
            f"building {name}: out of memory, {free} MiB of the GPU are free now: limit "
            f"build.memory_pool_mib.workspace, lower the profiles' max, or end other processes. {told}{more}"
        )
    return ModelRefused(f"TensorRT's builder refuses {name}: {told}{more}")
