"""A stand-in for ``pycuda.driver``: a GPU of host memory, with faults to plant."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pytest


class CudaError(Exception):
    """``pycuda.driver.Error``."""


class CudaMemoryError(CudaError):
    """``pycuda.driver.MemoryError``, which is no ``MemoryError``."""


class Allocation:
    """Device memory: bytes of the host with an address."""

    def __init__(self, size: int) -> None:
        self.data = np.zeros(size, np.uint8)
        self.is_free = False

    def __int__(self) -> int:
        return int(self.data.ctypes.data)

    def free(self) -> None:
        self.is_free = True


class FakeContext:
    """``pycuda.driver.Context``: remembers what is current."""

    def __init__(self, gpu: FakeGpu, index: int) -> None:
        self.gpu = gpu
        self.index = index

    def push(self) -> None:
        self.gpu.stack.append(self.index)

    def pop(self) -> None:
        assert self.gpu.stack.pop() == self.index


class FakeGpu:
    """What the stand-in's functions answer and remember.

    Attributes
    ----------
    faults
        By function (``init``, ``mem_get_info``, ``synchronize``, …): what it raises.
    stack
        Devices whose context is pushed, the current one last.
    """

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self.faults: dict[str, Exception] = {}
        self.stack: list[int] = []
        self.retained: list[int] = []
        self.allocations: list[Allocation] = []

    def fail(self, name: str) -> None:
        if name in self.faults:
            raise self.faults[name]

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Put the module where ``import pycuda.driver`` finds it, and return it."""
        package, module = ModuleType("pycuda"), _module(self)
        package.driver = module  # type: ignore[attr-defined]  # as the real package has it
        monkeypatch.setitem(sys.modules, "pycuda", package)
        monkeypatch.setitem(sys.modules, "pycuda.driver", module)
        return module


def _module(gpu: FakeGpu) -> Any:
    module: Any = ModuleType("pycuda.driver")
    module.Error, module.MemoryError = CudaError, CudaMemoryError
    module.Device, module.Context = _device_class(gpu), _context_class(gpu)

    def mem_alloc(size: int) -> Allocation:
        gpu.fail("mem_alloc")
        gpu.allocations.append(Allocation(size))
        return gpu.allocations[-1]

    def memcpy_htod(target: Allocation, source: np.ndarray) -> None:
        gpu.fail("memcpy_htod")
        target.data[: source.nbytes] = np.frombuffer(source.tobytes(), np.uint8)

    def mem_get_info() -> tuple[int, int]:
        gpu.fail("mem_get_info")
        return 3 << 30, 139 << 30

    module.init = lambda: gpu.fail("init")
    module.mem_alloc, module.memcpy_htod, module.mem_get_info = mem_alloc, memcpy_htod, mem_get_info
    module.get_driver_version = lambda: 13000
    module.get_version = lambda: (12, 2, 0)
    return module


def _device_class(gpu: FakeGpu) -> type:
    class Device:
        def __init__(self, index: int) -> None:
            self.index = index

        @staticmethod
        def count() -> int:
            return gpu.count

        def name(self) -> str:
            return f"Stand-in GPU {self.index}"

        def compute_capability(self) -> tuple[int, int]:
            return 9, 0

        def total_memory(self) -> int:
            return 139 << 30

        def retain_primary_context(self) -> FakeContext:
            gpu.fail("retain_primary_context")
            gpu.retained.append(self.index)
            return FakeContext(gpu, self.index)

    return Device


def _context_class(gpu: FakeGpu) -> type:
    class Context:
        @staticmethod
        def synchronize() -> None:
            gpu.fail("synchronize")

    return Context
