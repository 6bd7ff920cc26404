"""What C++ gets of the worker's objects that TensorRT calls, through their tables of virtual functions."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from loaded import trt, worker
from strict import Strict, VirtualCalls


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
