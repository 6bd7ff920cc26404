"""Toys: engines that run a NumPy function on the stand-in's device memory, as a context tells them to."""

from __future__ import annotations

import ctypes
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Shape = tuple[int, ...]
    Arrays = Mapping[str, np.ndarray]


@dataclass
class Port:
    """An input or output of a toy.

    Attributes
    ----------
    dtype
        Member of ``trt.DataType``.
    profiles
        (min, opt, max) by profile: shapes, or values of an input on the host; none told where empty.
    is_called_shape_io
        Whether the engine calls it an input that is read for shapes, although it lies on the device: 8.6 does so where
        a data-dependent shape hangs on it.
    vector_format
        ``CHW4`` for a port of shape (channels, height, width) in vectors of four channels; else it is linear.
    """

    name: str
    shape: Shape
    mode: str = "INPUT"
    dtype: str = "FLOAT"
    location: str = "DEVICE"
    profiles: list[tuple[Any, Any, Any]] = field(default_factory=list)
    is_called_shape_io: bool = False
    vector_format: str = ""


@dataclass
class Toy:
    """What an engine does.

    Attributes
    ----------
    compute
        Arrays of inputs by name -> arrays of outputs by name.
    shapes
        Shapes of outputs by name, given shapes of inputs and values on the host; -1 where data decides.
    unwritten
        Flat indices of elements that are left as they were, by output.
    faults
        ``enqueue``, ``infer_shapes``, ``context``: fails with this text in the log.
    contexts, live
        How many contexts there ever were; those that there are.
    runs
        How often it ran; each takes 0.25 ms.
    debug
        Debug tensors, whose arrays ``compute`` gives beside its outputs; their memory is gone when they were shown.
    unfused
        Names among them that survived fusion: the engine does not call them debug tensors.
    shares_profiles
        Whether one engine may have several contexts at a time.
    """

    ports: list[Port]
    compute: Callable[[Arrays], Arrays]
    shapes: Callable[[Mapping[str, Shape], Arrays], Mapping[str, Shape]]
    profile_count: int = 1
    unwritten: dict[str, list[int]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    layers: list[str] = field(default_factory=lambda: ["conv", "relu", "conv"])
    implicit_batch: bool = False
    debug: list[Port] = field(default_factory=list)
    unfused: set[str] = field(default_factory=set)
    shares_profiles: bool = False
    contexts: int = 0
    runs: int = 0
    live: weakref.WeakSet[Any] = field(default_factory=weakref.WeakSet)

    def port(self, name: str) -> Port:
        return next(port for port in self.ports if port.name == name)


NUMPY = {
    "FLOAT": "f4",
    "HALF": "f2",
    "INT32": "i4",
    "INT64": "i8",
    "BOOL": "?",
    "INT8": "i1",
    "BF16": "u2",
    "FP8": "u1",
}


def enum_member(module: Any, owner: str, name: str) -> Any:
    return getattr(getattr(module, owner), name)


def inputs_of(toy: Toy) -> list[Port]:
    return [port for port in toy.ports if port.mode == "INPUT"]


def shapes_of(context: Any) -> dict[str, Shape]:
    """Give the shapes of every port as the context tells them: of outputs that data sizes, as the last run found."""
    return {**inferred_shapes(context), **context.__dict__.setdefault("found", {})}


def inferred_shapes(context: Any) -> dict[str, Shape]:
    toy = context.toy
    given = {port.name: context.given.get(port.name, port.shape) for port in inputs_of(toy)}
    told = [port for port in inputs_of(toy) if port.location == "HOST" and port.name in context.addresses]
    return {**given, **toy.shapes(given, {port.name: _read(context, port, port.shape) for port in told})}


def _flat(context: Any, port: Port, count: int) -> np.ndarray:
    """Give ``count`` scalars at a port's address."""
    dtype = np.dtype(NUMPY[port.dtype])
    address, nbytes = context.addresses[port.name], count * dtype.itemsize
    if port.location == "HOST":
        return np.frombuffer((ctypes.c_uint8 * nbytes).from_address(address), dtype)
    return context.gpu.view(address, nbytes).view(dtype)


def _read(context: Any, port: Port, shape: Shape) -> np.ndarray:
    if not port.vector_format:
        return _flat(context, port, int(np.prod(shape, dtype=int))).reshape(shape)
    channels, height, width = shape
    vectors = -(-channels // 4)
    lanes = _flat(context, port, vectors * height * width * 4).reshape(vectors, height, width, 4)
    return np.stack([lanes[c // 4, :, :, c % 4] for c in range(channels)])


def _write(context: Any, port: Port, array: np.ndarray) -> None:
    kept = context.toy.unwritten.get(port.name, [])
    target = _flat(context, port, array.size)
    written = np.setdiff1d(np.arange(array.size), kept)
    target[written] = array.reshape(-1)[written]


def shown_ports(context: Any) -> list[Port]:
    unfused = context.toy.unfused if vars(context).get("unfused_tensors_debug_state") else set()
    names = vars(context).get("shown", set()) | unfused
    return [port for port in context.toy.debug if port.name in names]


def show(context: Any, ports: list[Port], stream_handle: int) -> None:
    """Show debug tensors as the bindings do: what the listener raises is lost, and their memory is gone behind it."""
    shapes = shapes_of(context)
    arrays = context.toy.compute(
        {port.name: _read(context, port, shapes[port.name]) for port in inputs_of(context.toy)}
    )
    for port in ports:
        array = np.ascontiguousarray(arrays[port.name])
        memory = context.gpu.mem_alloc(max(array.nbytes, 1))
        memory.data[: array.nbytes] = array.reshape(-1).view(np.uint8)
        location, dtype = (
            enum_member(context.module, *which)
            for which in (("TensorLocation", port.location), ("DataType", port.dtype))
        )
        with suppress(Exception):
            context.listener().process_debug_tensor(int(memory), location, dtype, array.shape, port.name, stream_handle)
        memory.data[:] = 0x33
        memory.free()


def _compute(context: Any) -> Arrays:
    toy, shapes = context.toy, shapes_of(context)
    toy.runs += 1
    context.gpu.clock_ms += 0.25
    hidden = {port.name for port in toy.debug}
    arrays = toy.compute({port.name: _read(context, port, shapes[port.name]) for port in inputs_of(toy)})
    return {name: array for name, array in arrays.items() if name not in hidden}


def execute(context: Any, addresses: dict[str, int]) -> None:
    """Run with the addresses of the time when it was enqueued."""
    own = context.__dict__
    now, own["addresses"] = own["addresses"], addresses
    for name, array in _compute(context).items():
        _write(context, context.toy.port(name), array)
    own["addresses"] = now


def place(context: Any) -> bool:
    """Run with outputs whose shape is known only now."""
    arrays = _compute(context)
    for name, array in arrays.items():
        # As 8.6 does, whoever gives the memory.
        context.__dict__.setdefault("found", {})[name] = array.shape
        allocator = context.allocators.get(name)
        if allocator is None:
            continue
        allocator.notify_shape(name, array.shape)
        address = allocator.reallocate_output(name, 0, max(array.nbytes, 1), 256)
        if not address:
            return False
        context.addresses[name] = address
    for name, array in arrays.items():
        _write(context, context.toy.port(name), array)
    return True
