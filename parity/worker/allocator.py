"""Outputs whose shape depends on data: TensorRT asks for their memory while it runs."""

from __future__ import annotations

from typing import Any, Callable

from .errors import WorkerError


def make_allocator(trt: Any, allocate: Callable[[str, int], int]) -> Any:
    """Make a ``trt.IOutputAllocator``; keep it alive as long as a context knows it.

    It has ``shapes``, the real shape by output; ``failure``, an exception that ``allocate`` raised, or None; and
    ``reset()``. TensorRT's binding prints exceptions of a callback and goes on with a null pointer, so they are kept
    here and raised by who enqueued.

    Parameters
    ----------
    allocate
        Takes an output's name and bytes; gives an address on the device.
    """

    class OutputAllocator(trt.IOutputAllocator):  # type: ignore[misc]  # the class of whichever TensorRT is given
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.reset()

        def reset(self) -> None:
            self.shapes: dict[str, tuple[int, ...]] = {}
            self.failure: BaseException | None = None

        def reallocate_output(self, tensor_name: str, _memory: int, size: int, alignment: int) -> int:
            try:
                return _aligned(allocate(tensor_name, size), tensor_name, alignment)
            except Exception as failure:  # noqa: BLE001 - kept, and raised after the enqueue; here TensorRT swallows it
                self.failure = failure
                return 0

        def reallocate_output_async(
            self, tensor_name: str, memory: int, size: int, alignment: int, _stream: int
        ) -> int:
            return self.reallocate_output(tensor_name, memory, size, alignment)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            self.shapes[tensor_name] = tuple(int(extent) for extent in shape)

    return OutputAllocator()


def _aligned(address: int, name: str, alignment: int) -> int:
    if alignment and address % alignment:
        raise WorkerError(f"TensorRT wants output {name} at a multiple of {alignment} bytes; CUDA gave {address:#x}")
    return address
