"""Engines for the stand-in of TensorRT: what its runtime, engines and contexts answer for a ``Toy``.

A toy's plan is the key that it has in the ``Shop``. Members that a release lacks are missing from its objects, as
``fake_tensorrt`` has it.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from tests.fake_tensorrt import fake_tensorrt
from tests.toy_engines import (
    enum_member,
    execute,
    inferred_shapes,
    inputs_of,
    place,
    shapes_of,
    show,
    shown_ports,
)

if TYPE_CHECKING:
    from tests.fake_cuda import ExecutingGpu
    from tests.toy_engines import Shape, Toy


class Shop:
    """A ``tensorrt`` module of a release whose runtime knows some toys by their plans.

    Attributes
    ----------
    refusals
        What TensorRT logs for a plan that it refuses, by plan.
    """

    def __init__(self, gpu: ExecutingGpu, release: str = "8.6.0") -> None:
        self.gpu = gpu
        self.toys: dict[bytes, Toy] = {}
        self.refusals: dict[bytes, str] = {}
        answers = {"Runtime.deserialize_cuda_engine": self._deserialize}
        for owner, behaviour in _BEHAVIOUR.items():
            members = {name: member for name, member in vars(behaviour).items() if not name.startswith("_")}
            answers.update({f"{owner}.{name}": member for name, member in members.items()})
        self.trt = fake_tensorrt(release, answers)

    def _deserialize(self, runtime: Any, plan: bytes) -> Any:
        logger = runtime.calls[0][1][0]
        if plan not in self.toys:
            text = self.refusals.get(plan, "Unexpected end of memory buffer")
            logger.log(self.trt.ILogger.Severity.ERROR, text)
            return None
        native = self.trt.ICudaEngine()
        native.__dict__.update(toy=self.toys[plan], shop=self, logger=logger, live=weakref.WeakSet())
        return native


class _Engine:
    num_io_tensors = property(lambda self: len(self.toy.ports))
    num_optimization_profiles = property(lambda self: self.toy.profile_count)
    device_memory_size = property(lambda _self: 4096)
    device_memory_size_v2 = property(lambda _self: 8192)
    num_aux_streams = property(lambda _self: 2)
    has_implicit_batch_dimension = property(lambda self: self.toy.implicit_batch)
    max_batch_size = property(lambda _self: 32)

    def get_tensor_name(self: Any, index: int) -> str:
        return self.toy.ports[index].name

    def get_tensor_mode(self: Any, name: str) -> Any:
        return enum_member(self.module, "TensorIOMode", self.toy.port(name).mode)

    def get_tensor_dtype(self: Any, name: str) -> Any:
        return enum_member(self.module, "DataType", self.toy.port(name).dtype)

    def get_tensor_shape(self: Any, name: str) -> Shape:
        return self.toy.port(name).shape

    def get_tensor_location(self: Any, name: str) -> Any:
        return enum_member(self.module, "TensorLocation", self.toy.port(name).location)

    def is_shape_inference_io(self: Any, name: str) -> bool:
        port = self.toy.port(name)
        return port.location == "HOST" or port.is_called_shape_io

    def get_tensor_format(self: Any, name: str) -> Any:
        return enum_member(self.module, "TensorFormat", self.toy.port(name).vector_format or "LINEAR")

    def get_tensor_vectorized_dim(self: Any, name: str) -> int:
        return 0 if self.toy.port(name).vector_format else -1

    def get_tensor_components_per_element(self: Any, name: str) -> int:
        return 4 if self.toy.port(name).vector_format else -1

    def get_tensor_profile_shape(self: Any, name: str, profile: int) -> list[Any]:
        port = self.toy.port(name)
        return list(port.profiles[profile]) if port.profiles else []

    def get_tensor_profile_values(self: Any, profile: int, name: str) -> list[Any]:
        return list(self.toy.port(name).profiles[profile])

    def get_profile_shape_input(self: Any, profile: int, name: str) -> list[Any]:
        return list(self.toy.port(name).profiles[profile])

    def is_debug_tensor(self: Any, name: str) -> bool:
        return any(port.name == name and name not in self.toy.unfused for port in self.toy.debug)

    def create_execution_context(self: Any, *_args: Any) -> Any:
        toy = self.toy
        # A profile belongs to one context at a time, unless the engine was built with profile sharing.
        is_taken = self.live and not toy.shares_profiles
        refused = "Profile 0 has been chosen by another IExecutionContext" if is_taken else toy.faults.get("context")
        if refused:
            self.logger.log(self.module.ILogger.Severity.ERROR, refused)
            return None
        context = self.module.IExecutionContext()
        toy.contexts += 1
        toy.live.add(context)
        self.live.add(context)
        context.__dict__.update(
            toy=toy, gpu=self.shop.gpu, logger=self.logger, given={}, addresses={}, allocators={}, index=0
        )
        return context

    def create_engine_inspector(self: Any) -> Any:
        inspector = self.module.EngineInspector()
        inspector.__dict__["toy"] = self.toy
        return inspector


class _Inspector:
    def get_engine_information(self: Any, _format: Any) -> str:
        context = self.__dict__.get("execution_context")
        told = sorted(shapes_of(context).items()) if context is not None else "no context"
        return '{"Layers": "\x1e' + str(told) + '"}'


class _Context:
    active_optimization_profile = property(lambda self: self.index)

    def set_optimization_profile_async(self: Any, index: int, stream: int) -> bool:
        assert stream in self.gpu.streams
        self.__dict__.update(index=index, given={})
        return True

    def set_input_shape(self: Any, name: str, shape: Shape) -> bool:
        low, _, high = self.toy.port(name).profiles[self.index]
        if not all(least <= size <= most for least, size, most in zip(low, shape, high, strict=True)):
            return False
        self.given[name] = tuple(shape)
        return True

    def set_tensor_address(self: Any, name: str, address: int) -> bool:
        assert address
        self.addresses[name] = address
        return True

    def set_output_allocator(self: Any, name: str, allocator: Any) -> bool:
        self.allocators[name] = allocator
        return True

    def set_debug_listener(self: Any, listener: Any) -> bool:
        self.__dict__["listener"] = weakref.ref(listener)
        return "listener" not in self.toy.faults

    def set_tensor_debug_state(self: Any, name: str, flag: bool) -> bool:
        shown = self.__dict__.setdefault("shown", set())
        (shown.add if flag else shown.discard)(name)
        return True

    def infer_shapes(self: Any) -> list[str]:
        if "infer_shapes" in self.toy.faults:
            raise RuntimeError(self.toy.faults["infer_shapes"])
        return [p.name for p in inputs_of(self.toy) if min(p.shape, default=0) < 0 and p.name not in self.given]

    def get_tensor_shape(self: Any, name: str) -> Shape:
        return shapes_of(self)[name]

    def get_tensor_strides(self: Any, name: str) -> Shape:
        _, height, width = shapes_of(self)[name]
        return (height * width, width, 1)

    def execute_async_v3(self: Any, stream_handle: int) -> bool:
        if "enqueue" in self.toy.faults:
            self.logger.log(self.module.ILogger.Severity.ERROR, self.toy.faults["enqueue"])
            return False
        stream = self.gpu.streams[stream_handle]
        if any(min(shape, default=0) < 0 for shape in inferred_shapes(self).values()):
            stream.synchronize()
            return place(self)
        shown = shown_ports(self)
        if shown:
            stream.synchronize()
            show(self, shown, stream_handle)
        addresses = dict(self.addresses)
        stream.put(lambda: execute(self, addresses))
        return True

    def report_to_profiler(self: Any) -> bool:
        for layer in self.toy.layers:
            self.profiler.report_layer_time(layer, self.toy.runs * 0.25)
        return True


_BEHAVIOUR = {"ICudaEngine": _Engine, "IExecutionContext": _Context, "EngineInspector": _Inspector}
