"""Runs in a process that has TensorRT's bindings: each check is a function; the last line printed has what all found.

Nothing of this project is installed for it: the worker's sources become the package ``parity_worker``, as in a worker.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

# A TensorRT of this machine would be found by its own wheel, and its libraries would be loaded for the stubs.
sys.modules["tensorrt_libs"] = None  # type: ignore[assignment]
import tensorrt_bindings as trt  # noqa: E402 - after the line above

sys.modules["tensorrt"] = trt

WORKER = Path(__file__).parents[2] / "parity" / "worker"


def load_worker() -> None:
    """Make the worker's sources importable as ``parity_worker``."""
    spec = importlib.util.spec_from_file_location(
        "parity_worker", WORKER / "__init__.py", submodule_search_locations=[str(WORKER)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["parity_worker"] = package
    spec.loader.exec_module(package)


def worker(module: str) -> Any:
    """Import a module of the worker."""
    return importlib.import_module(f"parity_worker.{module}")


class Dims(ctypes.Structure):
    """``nvinfer1::Dims64``."""

    _fields_ = (("count", ctypes.c_int32), ("extents", ctypes.c_int64 * 8))


def in_cxx(shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return a shape as the argument of a virtual call."""
    return ctypes.c_void_p, ctypes.addressof(keep(Dims(len(shape), (ctypes.c_int64 * 8)(*shape))))


KEPT: list[Any] = []


def keep(thing: Any) -> Any:
    """Keep an object alive whose address is handed to C++."""
    KEPT.append(thing)
    return thing


def check_builders() -> Any:
    """Return the release and what making a builder and a runtime gives."""
    logger = trt.Logger()
    refused = {}
    for name in ("Builder", "Runtime"):
        try:
            getattr(trt, name)(logger)
        except TypeError as error:
            refused[name] = str(error)
    return {"version": trt.__version__, "refused": refused}


def check_logger() -> Any:
    """Return what the worker's listener hears of a message of each severity that C++ sends."""
    heard: list[list[str]] = []
    logger = worker("logger").make_logger(trt, lambda severity, text: heard.append([severity, text]))
    for name in ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO"):
        trt.ILogger.log(logger, getattr(trt.ILogger.Severity, name), f"said as {name}")
    return {"heard": heard, "is_logger": isinstance(logger, trt.ILogger)}


def check_profiler() -> Any:
    """Return what the worker's profiler keeps of the readings that C++ reports."""
    profiler = worker("layers").make_profiler(trt)
    for milliseconds in (1.5, 2.5):
        profiler.begin()
        trt.IProfiler.report_layer_time(profiler, "conv", milliseconds)
        trt.IProfiler.report_layer_time(profiler, "conv", 0.25)
    return worker("layers").by_position(profiler.iterations)


def check_monitor() -> Any:
    """Return the shares that the worker tells of steps that C++ reports, and what C++ gets."""
    shares: list[float] = []
    config = Strict(trt.IBuilderConfig)
    monitor = keep(worker("steps").watch_build(trt, config, shares.append))
    virtual = VirtualCalls(monitor)
    start, step, finish = (VirtualCalls.FIRST + slot for slot in range(3))
    outer, inner = ((ctypes.c_char_p, name) for name in (b"build", b"tactics"))
    number = ctypes.c_int32
    virtual.call(start, None, outer, (ctypes.c_char_p, None), (number, 2))
    virtual.call(start, None, inner, outer, (number, 4))
    answers = [virtual.call(step, ctypes.c_bool, inner, (number, 0))]
    virtual.call(finish, None, inner)
    answers.append(virtual.call(step, ctypes.c_bool, outer, (number, 0)))
    is_set = config.values["progress_monitor"] is monitor
    return {"interface": virtual.interface(), "answers": answers, "shares": shares, "is set": is_set}


def reallocations(allocator: Any) -> dict[str, Any]:
    """Return what C++ gets from both functions that ask an allocator for memory."""
    virtual = VirtualCalls(allocator)
    size, null = ctypes.c_uint64, (ctypes.c_void_p, None)
    asked = ((ctypes.c_char_p, b"boxes"), null, (size, 600), (size, 256))
    return {
        "interface": virtual.interface(),
        "plain": virtual.call(VirtualCalls.FIRST, ctypes.c_void_p, *asked),
        "with a stream": virtual.call(VirtualCalls.FIRST + 1, ctypes.c_void_p, *asked, null),
    }


def check_allocator() -> Any:
    """Return what C++ gets from the worker's output allocator, and what that has learned."""
    asked: list[Any] = []

    def allocate(name: str, size: int) -> int:
        asked.append([name, size])
        return 4096

    allocator = worker("allocator").make_allocator(trt, allocate)
    told = reallocations(allocator)
    VirtualCalls(allocator).call(VirtualCalls.FIRST + 2, None, (ctypes.c_char_p, b"boxes"), in_cxx((3, 0, 4)))
    return {**told, "asked": asked, "shapes": allocator.shapes, "failure": allocator.failure}


def check_failing_allocator() -> Any:
    """Return what C++ gets, and what is kept, where there is no memory."""

    def allocate(name: str, size: int) -> int:
        raise MemoryError(f"{name}: {size}")

    allocator = worker("allocator").make_allocator(trt, allocate)
    told = reallocations(allocator)
    return {**told, "failure": repr(allocator.failure)}


def check_misnamed_allocator() -> Any:
    """Return what C++ gets where the functions have names that the bindings do not call: a planted fault."""

    class Misnamed(trt.IOutputAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)

        def reallocate(self, *_: Any) -> int:
            return 4096

    return reallocations(keep(Misnamed()))


def check_strict_objects() -> Any:
    """Return what an object of the bindings' own class refuses: planted faults."""
    tries = {
        "a method of 8.6": lambda: Strict(trt.IExecutionContext).set_binding_shape(0, (1,)),
        "a property that is read-only": lambda: setattr(Strict(trt.ICudaEngine), "num_layers", 3),
        "a property of no release": lambda: setattr(Strict(trt.IBuilderConfig), "optimisation", 3),
    }
    refused = []
    for name, attempt in tries.items():
        try:
            attempt()
        except AttributeError:
            refused.append(name)
    return refused


class CopyingDriver:
    """Copies from the host's memory, which stands for the device's."""

    class Context:
        """The current context."""

        synchronize = staticmethod(lambda: None)

    @staticmethod
    def memcpy_dtoh(target: np.ndarray, source: int) -> None:
        ctypes.memmove(target.ctypes.data, source, target.nbytes)


def debug_listened(driver: Any) -> tuple[Any, dict[str, Any]]:
    """Return the worker's listener that C++ has shown three tensors to, and what C++ got."""
    listener = keep(worker("debug").make_debug_listener(trt, driver, {"half", "count"}))
    virtual = VirtualCalls(listener)
    half = keep(np.array([[1.5, -2.0, 65504.0]], np.float16))
    count = keep(np.array([7, 8], np.int32))

    def show(name: bytes, array: np.ndarray, location: str, dtype: str) -> bool:
        place, kind = getattr(trt.TensorLocation, location), getattr(trt.DataType, dtype)
        asked = ((ctypes.c_void_p, array.ctypes.data), (ctypes.c_int32, int(place)), (ctypes.c_int32, int(kind)))
        more = (in_cxx(array.shape), (ctypes.c_char_p, name), (ctypes.c_void_p, 4096))
        return bool(virtual.call(VirtualCalls.FIRST, ctypes.c_bool, *asked, *more))

    answers = [
        show(b"half", half, "DEVICE", "HALF"),
        show(b"count", count, "HOST", "INT32"),
        show(b"another", half, "DEVICE", "HALF"),
    ]
    return listener, {"interface": virtual.interface(), "answers": answers}


def check_debug_listener() -> Any:
    """Return what the worker's listener keeps of debug tensors that C++ shows."""
    listener, told = debug_listened(CopyingDriver)
    taken = {name: [one.dtype, list(one.array.shape), one.array.tolist()] for name, one in listener.take().items()}
    return {**told, "tensors": taken}


def check_failing_debug_listener() -> Any:
    """Return what is kept where a copy fails, and what C++ gets of it."""

    class Failing(CopyingDriver):
        @staticmethod
        def memcpy_dtoh(target: np.ndarray, _source: int) -> None:
            raise MemoryError(f"{target.nbytes} bytes")

    listener, told = debug_listened(Failing)
    try:
        listener.take()
    except MemoryError as error:
        return {**told, "raised": repr(error)}
    return told


def check_exposed_tensors() -> Any:
    """Return the calls that exposing a tensor becomes, in each way."""
    found = {}
    for how in ("output", "debug", "unfused"):
        tensor = Strict(trt.ITensor, {"name": "inner", "is_network_output": False})
        layer = Strict(trt.ILayer, {"num_outputs": 1, "get_output": tensor})
        network = Strict(
            trt.INetworkDefinition,
            {"__iter__": [layer], "mark_debug": True, "mark_unfused_tensors_as_debug_tensors": True},
        )
        asked = {"tensors": ["inner", "gone"], "how": how}
        notes = worker("observing").expose_tensors(trt, network, asked, is_strong=True)
        found[how] = {"calls": [call[0] for call in network.calls], "notes": notes}
    return found


class Batches:
    """The worker's batches of a calibrator, without device memory."""

    size = 4

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def next(self, names: list[str]) -> list[int] | None:
        self.heard.append(["next", list(names)])
        return [4096, 8192] if len(self.heard) == 1 else None

    def read_cache(self) -> bytes:
        return b"scales of before"

    def write_cache(self, content: Any) -> None:
        self.heard.append(["write", bytes(content).decode()])


def calibrated(kind: str) -> dict[str, Any]:
    """Return what C++ gets of a calibrator, and what that has heard."""
    batches = Batches()
    try:
        virtual = VirtualCalls(keep(worker("calibrator").make_calibrator(trt, kind, batches)))
    except worker("errors").PrecisionMissing as error:
        return {"refused": str(error)}
    addresses, names = (ctypes.c_void_p * 2)(), (ctypes.c_char_p * 2)(b"image", b"mask")
    asked = (
        (ctypes.c_void_p, ctypes.addressof(addresses)),
        (ctypes.c_void_p, ctypes.addressof(names)),
        (ctypes.c_int32, 2),
    )
    length, scales = ctypes.c_size_t(), b"new scales"
    first = VirtualCalls.FIRST
    told = {
        "interface": virtual.interface(),
        "size": virtual.call(first, ctypes.c_int32),
        "batches": [virtual.call(first + 1, ctypes.c_bool, *asked) for _ in range(2)],
        "addresses": list(addresses),
    }
    cache = virtual.call(first + 2, ctypes.c_void_p, (ctypes.c_void_p, ctypes.addressof(length)))
    virtual.call(first + 3, None, (ctypes.c_char_p, scales), (ctypes.c_size_t, len(scales)))
    return {**told, "cache": ctypes.string_at(cache, length.value).decode(), "heard": batches.heard}


def check_calibrators() -> Any:
    """Return what C++ gets of each calibrator, or the refusal."""
    return {kind: calibrated(kind) for kind in ("entropy", "minmax")}


def check_networks() -> Any:
    """Return the flags that an empty network of each typing is made with, as a set of names."""
    found = {}
    for name, is_strong in (("strong", True), ("weak", False)):
        builder = Strict(trt.Builder, {"create_network": object()})
        worker("network").new_network(trt, builder, is_strong=is_strong)
        [(_, flags)] = builder.calls
        members = trt.NetworkDefinitionCreationFlag.__members__.items()
        found[name] = [member for member, flag in members if flags & 1 << int(flag)]
    return found


def check_kept_layers() -> Any:
    """Return what keeping a node at float32 sets on its layer, or the refusal."""
    output = Strict(trt.ITensor, {"dtype": trt.DataType.HALF, "is_shape_tensor": False})
    about = {
        "name": "conv + relu",
        "metadata": "[ONNX Layer: conv]",
        "num_outputs": 1,
        "type": trt.LayerType.CONVOLUTION,
    }
    layer = Strict(trt.ILayer, {**about, "get_output": output})
    try:
        kept = worker("constraints").keep_layers(trt, [layer], ["conv"], "fp32")
    except worker("errors").PrecisionMissing as error:
        return {"refused": str(error)}
    set_types = [plain(list(call[1:])) for call in layer.calls if call[0] == "set_output_type"]
    return {"kept": kept, "precision": plain(layer.values["precision"]), "output types": set_types}


def check_dtypes() -> Any:
    """Return each data type's name here, and its size by TensorRT and by what carries it."""
    dtypes = worker("dtypes")
    found = {}
    for name, member in trt.DataType.__members__.items():
        told = dtypes.name_of(member)
        found[name] = {
            "name": told,
            "bits": None if member.itemsize is None else int(member.itemsize * 8),
            "carried": carried_bits(dtypes, told),
        }
    return found


def carried_bits(dtypes: Any, name: str) -> int | str:
    try:
        return int(dtypes.storage(name).itemsize) * 8
    except worker("errors").WorkerError:
        return "refused"


def check_bindings() -> Any:
    """Return what the worker reads of an engine whose answers are true enum members and shapes."""
    answers = {
        "num_io_tensors": 2,
        "num_optimization_profiles": 1,
        "get_tensor_name": lambda index: ("x", "y")[index],
        "get_tensor_mode": lambda name: trt.TensorIOMode.INPUT if name == "x" else trt.TensorIOMode.OUTPUT,
        "get_tensor_shape": lambda _name: trt.Dims((-1, 3)),
        "get_tensor_dtype": lambda name: trt.DataType.HALF if name == "x" else trt.DataType.BF16,
        "get_tensor_location": lambda _name: trt.TensorLocation.DEVICE,
        "get_tensor_format": lambda _name: trt.TensorFormat.LINEAR,
        "get_tensor_profile_shape": lambda _name, _profile: [trt.Dims((n, 3)) for n in (1, 2, 4)],
        "is_shape_inference_io": False,
    }
    return [binding.plain() for binding in worker("bindings").read_bindings(Strict(trt.ICudaEngine, answers))]


def check_capabilities() -> Any:
    """Return what the worker says that this TensorRT can do on a Hopper and on a Turing GPU."""
    return {gpu: worker("capabilities").capabilities(trt, gpu) for gpu in ("9.0", "7.5")}


def request_of(precision: str, typing: str, **more: Any) -> dict[str, Any]:
    """Return the fields of ``build`` that the choice of flags reads."""
    request = {
        "source": {"kind": "network"},
        "precision": precision,
        "typing": typing,
        "obey": False,
        "keep": [],
        "keep_precision": "fp32",
        "profiles": [],
        "timing_cache": None,
        "options": {},
    }
    return {**request, **more}


def configured(request: dict[str, Any]) -> Any:
    """Return Polygraphy's keywords and the flags that are set beside them, or the kind and text of the refusal."""
    config = worker("config")
    made: dict[str, Any] = {}

    def create(_builder: Any, keywords: Any) -> Any:
        made["keywords"] = {name: plain(value) for name, value in keywords.items()}
        return Strict(trt.IBuilderConfig)

    config._create = create
    builder = Strict(trt.Builder, {"create_optimization_profile": lambda: Strict(trt.IOptimizationProfile)})
    network = Strict(trt.INetworkDefinition, {"num_inputs": 0, "num_outputs": 0})
    try:
        worker("precision").require_precision(trt, builder, request["precision"], request["typing"], "9.0")
        set_up = config.make_config(trt, builder, network, request, lambda _text: None)
    except worker("errors").WorkerError as error:
        return {"kind": error.kind, "refused": str(error)}
    flags = sorted(call[1].name for call in set_up.calls if call[0] == "set_flag")
    return {**made, "flags": flags, "properties": {name: plain(value) for name, value in set_up.values.items()}}


def plain(value: Any) -> Any:
    """Return an enum member as ``Enum.MEMBER``, and containers of them likewise."""
    if isinstance(value, dict):
        return {str(plain(key)): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return f"{type(value).__name__}.{value.name}" if hasattr(type(value), "__members__") else value


def check_precisions() -> Any:
    """Return how each precision is asked for at each typing."""
    precisions = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8")
    found = {f"{p} {t}": configured(request_of(p, t)) for p in precisions for t in ("strong", "weak")}
    obeyed = request_of("int8", "weak", obey=True, keep=["softmax"], keep_precision="fp16")
    return {**found, "int8 obeyed": configured(obeyed)}


OPTIONS: dict[str, dict[str, Any]] = {
    "everything": {
        "avg_timing_iterations": 4,
        "direct_io": True,
        "distributive_independence": True,
        "hardware_compatibility": "ampere_plus",
        "max_aux_streams": 2,
        "max_tactics": 8,
        "memory_pool_mib": {"workspace": 64.0, "tactic_shared_memory": 1.0},
        "optimization_level": 3,
        "preview_features": {"aliased_plugin_io_10_03": True},
        "profiling_verbosity": "layer_names_only",
        "refit": "individual",
        "sparse_weights": True,
        "strict_nans": True,
        "tactic_sources": ["edge_mask_convolutions", "jit_convolutions"],
        "tiling": "fast",
        "timing_cache": "editable",
        "version_compatible": True,
        "weight_streaming": True,
    },
    "cublas": {"tactic_sources": ["cublas"]},
    "tactic_heuristic": {"tactic_heuristic": True},
    "build_route": {"build_route": 1},
}


def check_options() -> Any:
    """Return what sets of build options become."""
    return {name: configured(request_of("fp32", "strong", options=options)) for name, options in OPTIONS.items()}


def check_parser_flags() -> Any:
    """Return the calls that the parser's switches become."""
    parser = Strict(trt.OnnxParser)
    worker("config").set_parser_flags(trt, parser, {"native_instancenorm": False})
    return [[name, plain(flag)] for name, flag in parser.calls]


def as_json(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def outcome(check: Any) -> dict[str, Any]:
    """Return what a check found, or the traceback that its test shows."""
    try:
        return {"found": check()}
    except Exception:  # noqa: BLE001 - told to the check's test, so that the others are told as well
        return {"error": traceback.format_exc()}


def main() -> None:
    """Print what every check found, as one line of JSON."""
    load_worker()
    checks = {name.removeprefix("check_"): check for name, check in globals().items() if name.startswith("check_")}
    print(json.dumps({name: outcome(check) for name, check in checks.items()}, default=as_json))  # noqa: T201 - the answer


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    from strict import Strict, VirtualCalls

    main()
