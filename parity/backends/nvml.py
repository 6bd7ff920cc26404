"""What a GPU does while it is timed, by NVML: clocks, temperature, power, what slows it, who else is on it.

nvidia-ml-py is optional: without it, or without a driver, a measurement says that nobody looked.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

from parity.latency_table import GpuConditions
from parity.results import GpuRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PERIOD_S = 0.1

# The reasons of nvmlClocksEventReasons that mean slower clocks than asked for; idle and the clocks that somebody set
# are none.
THROTTLES = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}


class Watch(Protocol):
    """Who looks at a GPU while it is timed."""

    @property
    def device(self) -> str:
        """What tells the GPU from others on this machine."""
        ...

    @property
    def gpu(self) -> str:
        """The GPU's name, empty where nobody looks."""
        ...

    @property
    def note(self) -> str:
        """Why nobody looks; empty where somebody does."""
        ...

    def watching(self) -> Any:
        """Return a context that gives a ``Sampling``, which is whole behind it."""
        ...


@dataclass(slots=True)
class Sampling:
    """What was seen so far; ``conditions`` is None where nothing was."""

    gpu: str = ""
    clocks_mhz: list[int] = field(default_factory=list)
    temperatures_c: list[int] = field(default_factory=list)
    powers_w: list[float] = field(default_factory=list)
    reasons: dict[str, None] = field(default_factory=dict)
    own: set[int] = field(default_factory=set)
    present: set[int] = field(default_factory=set)
    busy: set[int] = field(default_factory=set)
    count: int = 0

    @property
    def other_processes(self) -> int:
        """How many others computed; where the driver does not tell that, how many had a context.

        A GPU that samples nobody's work, or not often enough to have seen this run's own, says nothing about others'.
        """
        seen = self.busy if self.busy & self.own else self.present
        return len(seen - self.own)

    @property
    def conditions(self) -> GpuConditions | None:
        """What was seen, in short."""
        if not self.count:
            return None
        clocks = self.clocks_mhz
        return GpuConditions(
            gpu=self.gpu,
            sample_count=self.count,
            clock_minimum_mhz=min(clocks, default=None),
            clock_median_mhz=int(median(clocks)) if clocks else None,
            clock_maximum_mhz=max(clocks, default=None),
            temperature_c=max(self.temperatures_c, default=None),
            power_w=max(self.powers_w, default=None),
            throttle_reasons=tuple(self.reasons),
            other_processes=self.other_processes,
        )


@dataclass(frozen=True, slots=True)
class Blind:
    """Nobody looks."""

    device: str
    note: str = ""
    gpu: str = ""

    @contextmanager
    def watching(self) -> Iterator[Sampling]:
        """Give an empty sampling."""
        yield Sampling()


class NvmlWatch:
    """Looks at one GPU from a thread of its own.

    Parameters
    ----------
    nvml
        The module ``pynvml``, initialized.
    number
        The GPU's number as CUDA counts it in this process.
    period_s
        Between two looks.
    """

    note = ""

    def __init__(self, nvml: Any, number: int, period_s: float = PERIOD_S) -> None:
        self._nvml = nvml
        self._period_s = period_s
        self._handle = _handle(nvml, number)
        self.device = _text(nvml.nvmlDeviceGetUUID(self._handle))
        self.gpu = _text(nvml.nvmlDeviceGetName(self._handle))
        # A container sees the process numbers of its host, so own processes are not told by theirs: whoever was there
        # before this run's workers is another one, and so is whoever comes once timing has begun.
        self._strangers = self._present()

    @contextmanager
    def watching(self) -> Iterator[Sampling]:
        """Sample until the end of the block."""
        sampling, ended = Sampling(self.gpu), threading.Event()
        present = self._present()
        # ONNX Runtime computes in this process, which may have been on the GPU before. In a container the number is
        # one of its own, and the host's low numbers are no processes on a GPU.
        sampling.own = (present - self._strangers) | (present & {os.getpid()})
        since_us = max((sample.timeStamp for sample in self._work(0)), default=0)

        def look_on() -> None:
            while not ended.wait(self._period_s):
                self._look(sampling, since_us)

        self._look(sampling, since_us)
        thread = threading.Thread(target=look_on, daemon=True)
        thread.start()
        try:
            yield sampling
        finally:
            ended.set()
            thread.join()

    def _look(self, sampling: Sampling, since_us: int) -> None:
        nvml, handle = self._nvml, self._handle
        sampling.count += 1
        _keep(nvml, sampling.clocks_mhz, lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
        _keep(
            nvml,
            sampling.temperatures_c,
            lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
        )
        _keep(nvml, sampling.powers_w, lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3)
        with suppress(nvml.NVMLError):
            bits = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
            sampling.reasons.update(dict.fromkeys(name for bit, name in THROTTLES.items() if bits & bit))
        sampling.present |= self._present()
        sampling.busy |= {sample.pid for sample in self._work(since_us) if sample.smUtil}

    def _present(self) -> set[int]:
        """Return who has a context on the GPU."""
        with suppress(self._nvml.NVMLError):
            return {process.pid for process in self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)}
        return set()

    def _work(self, since_us: int) -> list[Any]:
        """Return the driver's samples of who computed, behind a time of the driver's clock."""
        with suppress(self._nvml.NVMLError):
            return list(self._nvml.nvmlDeviceGetProcessUtilization(self._handle, since_us))
        return []


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs that the driver knows; ``cuda`` is the newest version that it supports, as text.

    Attributes
    ----------
    names
        Each with its memory: ``NVIDIA H200, 139.8 GiB``.
    """

    names: tuple[str, ...]
    driver: str
    cuda: str


class _UntoldError(Exception):
    """NVML tells nothing; the message is why."""


@contextmanager
def _started() -> Iterator[Any]:
    """Give the module ``pynvml``, initialized, for the length of the block.

    Raises
    ------
    _UntoldError
        It is missing, no driver answers, or NVML refuses what the block asks.
    """
    try:
        import pynvml
    except ImportError:
        raise _UntoldError("nvidia-ml-py is missing; run: pip install nvidia-ml-py") from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise _UntoldError(f"no NVIDIA driver answers ({error})") from None
    try:
        yield pynvml
    except pynvml.NVMLError as error:
        raise _UntoldError(f"the NVIDIA driver does not tell its GPUs ({error})") from None
    finally:
        pynvml.nvmlShutdown()


def find_gpus() -> Gpus | str:
    """Return the machine's GPUs, or why they cannot be told."""
    try:
        with _started() as nvml:
            return _gpus(nvml)
    except _UntoldError as reason:
        return str(reason)


def _gpus(nvml: Any) -> Gpus:
    handles = [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]
    sizes = [nvml.nvmlDeviceGetMemoryInfo(handle).total / 2**30 for handle in handles]
    names = [_text(nvml.nvmlDeviceGetName(handle)) for handle in handles]
    cuda = nvml.nvmlSystemGetCudaDriverVersion()
    return Gpus(
        tuple(f"{name}, {size_gib:.1f} GiB" for name, size_gib in zip(names, sizes, strict=True)),
        _text(nvml.nvmlSystemGetDriverVersion()),
        f"{cuda // 1000}.{cuda % 1000 // 10}",
    )


def describe_gpu(number: int) -> GpuRecord | None:
    """Return a GPU as a run keeps it; None where NVML does not tell.

    Parameters
    ----------
    number
        The GPU's number as CUDA counts it in this process.
    """
    with suppress(_UntoldError), _started() as nvml:
        return _gpu_record(nvml, _handle(nvml, number))
    return None


def _gpu_record(nvml: Any, handle: Any) -> GpuRecord:
    gpu, slices = _sliced(nvml, handle)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(gpu)
    name = _text(nvml.nvmlDeviceGetName(gpu))
    shapes = sorted({_text(nvml.nvmlDeviceGetName(part)).removeprefix(name).strip() for part in slices})
    # CUDA computes on one slice, by names such as "NVIDIA A100-SXM4-40GB MIG 1g.5gb"; of several it does not say which.
    whole_name = " ".join((name, " or ".join(shapes))).strip()
    return GpuRecord(whole_name, f"{major}.{minor}", _text(nvml.nvmlSystemGetDriverVersion()))


def _sliced(nvml: Any, handle: Any) -> tuple[Any, list[Any]]:
    """Return a GPU, and those of its MIG slices that this process may compute on."""
    # A GPU that cannot be sliced refuses to tell, and so does a driver of before.
    with suppress(nvml.NVMLError):
        if nvml.nvmlDeviceIsMigDeviceHandle(handle):
            return nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle), [handle]
        if nvml.nvmlDeviceGetMigMode(handle)[0] == nvml.NVML_DEVICE_MIG_ENABLE:
            return handle, list(_slices(nvml, handle))
    return handle, []


def _slices(nvml: Any, gpu: Any) -> Iterator[Any]:
    """Yield a GPU's slices that are there and may be seen; in a container these are its own."""
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
        with suppress(nvml.NVMLError):
            yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, number)


@contextmanager
def open_watch(number: int, gpu: str) -> Iterator[Watch]:
    """Open NVML for a GPU, before a worker begins to use it.

    Parameters
    ----------
    number
        The GPU's number as CUDA counts it in this process.
    gpu
        What is to be told where nobody can look.
    """
    with ExitStack() as stack:
        yield _watch(stack, number, gpu)


def _watch(stack: ExitStack, number: int, gpu: str) -> Watch:
    """Return a GPU's watch, with NVML open until the stack ends; it is closed at once where nobody can look."""
    try:
        with ExitStack() as opened:
            watch = NvmlWatch(opened.enter_context(_started()), number)
            stack.push(opened.pop_all())
        return watch
    except _UntoldError as reason:
        return Blind(gpu, f"nobody looked at the clocks and processes of GPU {number}: {reason}")


def _handle(nvml: Any, number: int) -> Any:
    """Return NVML's handle of a GPU that CUDA counts; NVML itself heeds no ``CUDA_VISIBLE_DEVICES``."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    name = visible[number] if number < len(visible) else str(number)
    if name.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name)


def _keep(nvml: Any, found: list[Any], read: Callable[[], Any]) -> None:
    """Add a reading; a GPU that does not tell one tells the others all the same."""
    with suppress(nvml.NVMLError):
        found.append(read())


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
