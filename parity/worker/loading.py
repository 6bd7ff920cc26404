"""Options of loading: plugins, the runtime, the execution context, and weights for a stripped plan.

The ``options`` of a ``load`` request, absent where a case leaves them out: ``plugins`` [paths], ``host_code`` (bool),
``lean_runtime`` path, ``weight_streaming_budget`` ("auto", {"share": 0.5} or {"bytes": n}), ``allocation`` "static" or
"on_profile_change", ``persistent_cache_mib``, ``dla_core``, ``refit`` (bool),
``temporary_folder`` path, ``temporary_files`` and ``in_memory_files`` (bool).
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, Iterable, Mapping

from .errors import ModelRefused, PrecisionMissing, WorkerError
from .symbols import lacks, member, require_property

_MIB = 2**20
# What a library exports that TensorRT's registry can load; others register their plugins as they are opened.
_DYNAMIC_PLUGINS = ("getCreators", "getPluginCreators")

_opened: dict[str, Any] = {}


def load_plugins(trt: Any, paths: Iterable[str]) -> None:
    """Register TensorRT's own plugins and those of libraries; a library that is loaded already stays as it is.

    Raises
    ------
    WorkerError
        A library cannot be opened, or TensorRT does not take its plugins.
    """
    trt.init_libnvinfer_plugins(None, "")
    for path in paths:
        known = str(Path(path).resolve())
        if known not in _opened:
            _opened[known] = _open_library(trt, known)


def _open_library(trt: Any, path: str) -> Any:
    try:
        library = ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise WorkerError(f"plugins: {path} cannot be opened: {error}") from error
    if not any(hasattr(library, name) for name in _DYNAMIC_PLUGINS):
        return library
    handle = trt.get_plugin_registry().load_library(path)
    if handle is None:
        raise WorkerError(
            f"plugins: TensorRT {trt.__version__} does not take {path}; a plugin of it has the name of one that is "
            "registered, or it was built for another TensorRT"
        )
    return handle


def apply_runtime_options(trt: Any, runtime: Any, options: Mapping[str, Any]) -> Any:
    """Set up a ``trt.Runtime``, and return the one to load with: a lean runtime's own where one is named.

    Raises
    ------
    WorkerError
        The lean runtime cannot be loaded.
    PrecisionMissing
        This machine has no such DLA core.
    """
    if options.get("lean_runtime"):
        lean = runtime.load_runtime(options["lean_runtime"])
        if lean is None:
            raise WorkerError(
                f"load.lean_runtime: {options['lean_runtime']} cannot be loaded; take libnvinfer_lean.so of the "
                "TensorRT that built the engine"
            )
        runtime = lean
    if options.get("host_code"):
        runtime.engine_host_code_allowed = True
    if options.get("temporary_folder"):
        runtime.temporary_directory = options["temporary_folder"]
    _set_temporary_files(trt, runtime, options)
    if options.get("dla_core") is not None:
        _set_dla_core(runtime, options["dla_core"])
    return runtime


def _set_temporary_files(trt: Any, runtime: Any, options: Mapping[str, Any]) -> None:
    flags = {"in_memory_files": "ALLOW_IN_MEMORY_FILES", "temporary_files": "ALLOW_TEMPORARY_FILES"}
    if all(options.get(option, True) for option in flags):
        return
    allowed = [getattr(trt.TempfileControlFlag, name) for option, name in flags.items() if options.get(option, True)]
    runtime.tempfile_control_flags = sum(1 << int(flag) for flag in allowed)


def _set_dla_core(runtime: Any, core: int) -> None:
    if core >= runtime.num_DLA_cores:
        raise PrecisionMissing(
            f"load.dla_core: this machine has {runtime.num_DLA_cores} DLA cores, counted from 0; got {core}. "
            "Jetson boards have them"
        )
    runtime.DLA_core = core


def create_context(trt: Any, engine: Any, options: Mapping[str, Any]) -> Any:
    """Return an execution context, or None where TensorRT makes none.

    The budget of streamed weights is set as well, which needs that the engine has no other context.

    Raises
    ------
    PrecisionMissing
        This TensorRT has no allocation strategy, or no weight streaming.
    WorkerError
        The engine has no weights to stream.
    """
    if options.get("weight_streaming_budget") is not None:
        _set_streaming_budget(trt, engine, options["weight_streaming_budget"])
    strategy = options.get("allocation")
    if strategy is None:
        context = engine.create_execution_context()
    else:
        context = engine.create_execution_context(
            member(trt, "ExecutionContextAllocationStrategy", strategy.upper(), "load.allocation")
        )
    if context is not None and options.get("persistent_cache_mib") is not None:
        context.persistent_cache_limit = int(options["persistent_cache_mib"] * _MIB)
    return context


def _set_streaming_budget(trt: Any, engine: Any, budget: Any) -> None:
    require_property(trt, "ICudaEngine", "weight_streaming_budget_v2", "load.weight_streaming_budget")
    streamable = engine.streamable_weights_size
    if not streamable:
        raise WorkerError(
            "load.weight_streaming_budget: the engine has no weights to stream; build it with weight_streaming = true"
        )
    if budget == "auto":
        size = engine.get_weight_streaming_automatic_budget()
    else:
        size = budget.get("bytes", int(budget.get("share", 0) * streamable))
    # TensorRT takes up to the streamable size, which means: stream nothing.
    size = min(size, streamable)
    if engine.weight_streaming_budget_v2 != size:
        engine.weight_streaming_budget_v2 = size


def refit_from_onnx(trt: Any, engine: Any, model: str, logger: Any) -> None:
    """Put the weights of an ONNX model into an engine, as a stripped plan needs before it runs.

    Raises
    ------
    PrecisionMissing
        This TensorRT refits from code only.
    ModelRefused
        The model is not the one that the engine was built from.
    """
    if not hasattr(trt, "OnnxParserRefitter"):
        raise PrecisionMissing(lacks(trt, "load.refit", "OnnxParserRefitter"))
    refitter = trt.Refitter(engine, logger)
    parser = trt.OnnxParserRefitter(refitter, logger)
    if not parser.refit_from_file(model):
        told = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise ModelRefused(f"load.refit: {model} does not fit the engine: {told or 'no reason given'}")
    if not refitter.refit_cuda_engine():
        missing = list(refitter.get_missing_weights())
        shown = ", ".join(missing[:3]) or "see TensorRT's messages"
        raise ModelRefused(
            f"load.refit: {len(missing)} weights are missing ({shown}); take the model it was built from"
        )
