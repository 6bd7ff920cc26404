"""NVML is asked while a GPU is timed: through a stand-in, with what real drivers do not tell."""

# ruff: noqa: N802 - the stand-in has the names that NVML gives its functions

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace

import pytest

from parity.backends.nvml import THROTTLES, NvmlWatch, describe_gpu, find_gpus, open_watch
from parity.results import GpuRecord
from tests.conversations import wait_until


class FakeNvml(ModuleType):
    """One GPU. ``untold`` are the functions that this GPU does not have."""

    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU, NVML_DEVICE_MIG_ENABLE = 1, 0, 1

    class NVMLError(Exception):
        pass

    def __init__(self, untold: tuple[str, ...] = (), reasons: int = 0) -> None:
        super().__init__("pynvml")
        self.untold = untold
        self.reasons = reasons
        self.processes = {1}
        self.work: list[SimpleNamespace] = []
        self.clocks = iter([1500, 1980, *[1980] * 10_000])
        self.is_open = False
        self.look_count = 0

    def __getattribute__(self, name: str):
        if name.startswith("nvml") and name in super().__getattribute__("untold"):
            return self._refuse
        return super().__getattribute__(name)

    def _refuse(self, *_asked: object) -> None:
        raise self.NVMLError("Not Supported")

    def nvmlInit(self) -> None:
        self.is_open = True

    def nvmlShutdown(self) -> None:
        self.is_open = False

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        if index > 3:
            raise self.NVMLError("Invalid Argument")
        return f"gpu {index}"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        return f"GPU-{handle}"

    def nvmlDeviceGetName(self, _handle: str) -> bytes:
        return b"NVIDIA H200"

    def nvmlDeviceGetCudaComputeCapability(self, _handle: str) -> list[int]:
        return [9, 0]

    def nvmlDeviceIsMigDeviceHandle(self, _handle: str) -> bool:
        return False

    def nvmlDeviceGetMigMode(self, _handle: str) -> list[int]:
        return [0, 0]

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.159.04"

    def nvmlDeviceGetClockInfo(self, _handle: str, _kind: int) -> int:
        return next(self.clocks)

    def nvmlDeviceGetTemperature(self, _handle: str, _sensor: int) -> int:
        return 51

    def nvmlDeviceGetPowerUsage(self, _handle: str) -> int:
        return 412_500

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, _handle: str) -> int:
        return self.reasons

    def nvmlDeviceGetComputeRunningProcesses(self, _handle: str) -> list[SimpleNamespace]:
        self.look_count += 1
        return [SimpleNamespace(pid=pid) for pid in self.processes]

    def nvmlDeviceGetProcessUtilization(self, _handle: str, since_us: int) -> list[SimpleNamespace]:
        if found := [sample for sample in self.work if sample.timeStamp > since_us]:
            return found
        raise self.NVMLError("Not Found")


def wait_for_a_sample(nvml: FakeNvml) -> None:
    """Wait until a whole sample was taken of what the stand-in says now; the one under way may have begun before."""
    enough = nvml.look_count + 2
    wait_until(lambda: nvml.look_count >= enough)


def work(pid: int, at_us: int, share: int = 40) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, timeStamp=at_us, smUtil=share)


def test_what_is_seen_is_kept_in_short() -> None:
    nvml = FakeNvml(reasons=0x04 | 0x01)
    nvml.processes = set()
    watch = NvmlWatch(nvml, 0, period_s=0.005)
    with watch.watching() as sampling:
        wait_until(lambda: nvml.look_count > 4)
    seen = sampling.conditions
    assert seen is not None
    assert seen.sample_count > 2
    assert (seen.gpu, seen.clock_minimum_mhz, seen.clock_median_mhz, seen.clock_maximum_mhz) == (
        *("NVIDIA H200", 1500),
        *(1980, 1980),
    )
    assert (seen.temperature_c, seen.power_w, seen.other_processes) == (51, 412.5, 0)
    assert seen.throttle_reasons == ("power cap",), "idle, bit 0, is no throttle"


def test_own_workers_are_told_from_strangers_whatever_their_numbers() -> None:
    nvml = FakeNvml()
    watch = NvmlWatch(nvml, 0, period_s=60)
    nvml.processes = {1, 7}  # The worker has come; the stranger was there before.
    with watch.watching() as sampling:
        pass
    assert sampling.other_processes == 1
    nvml.processes = {7}
    with watch.watching() as sampling:
        pass
    assert sampling.other_processes == 0


def test_a_process_that_comes_while_timing_goes_on_is_a_stranger() -> None:
    nvml = FakeNvml()
    nvml.processes = set()
    watch = NvmlWatch(nvml, 0, period_s=0.005)
    with watch.watching() as sampling:
        nvml.processes = {9}
        wait_for_a_sample(nvml)
        nvml.processes = set()
    assert sampling.other_processes == 1


@pytest.fixture
def beside_a_stranger() -> tuple[FakeNvml, NvmlWatch]:
    """A stranger, 1, was there before this run's worker, 7."""
    nvml = FakeNvml()
    watch = NvmlWatch(nvml, 0, period_s=0.005)
    nvml.processes = {1, 7}
    return nvml, watch


def test_a_stranger_that_does_nothing_disturbs_nobody(beside_a_stranger: tuple[FakeNvml, NvmlWatch]) -> None:
    nvml, watch = beside_a_stranger
    nvml.work = [work(1, 50)]
    with watch.watching() as sampling:
        nvml.work += [work(7, 100), work(1, 100, share=0)]
        wait_for_a_sample(nvml)
    assert sampling.other_processes == 0, "what the stranger did before timing began does not count"


def test_this_process_is_no_stranger_though_it_was_there_before() -> None:
    nvml = FakeNvml()
    nvml.processes = {os.getpid(), 1}
    watch = NvmlWatch(nvml, 0, period_s=60)
    with watch.watching() as sampling:
        pass
    assert sampling.other_processes == 1


def test_a_stranger_that_computes_counts_even_if_it_is_gone_again(
    beside_a_stranger: tuple[FakeNvml, NvmlWatch],
) -> None:
    nvml, watch = beside_a_stranger
    with watch.watching() as sampling:
        nvml.work = [work(7, 100), work(1, 100), work(9, 120)]
        wait_for_a_sample(nvml)
    assert sampling.other_processes == 2


def test_samples_that_miss_the_own_work_clear_nobody(beside_a_stranger: tuple[FakeNvml, NvmlWatch]) -> None:
    nvml, watch = beside_a_stranger
    with watch.watching() as sampling:
        nvml.work = [work(12, 100)]  # As a container sees its host's numbers in one list and its own in the other.
        wait_for_a_sample(nvml)
    assert sampling.other_processes == 1


@pytest.mark.parametrize(
    "untold",
    [
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetCurrentClocksThrottleReasons",
        "nvmlDeviceGetComputeRunningProcesses",
        "nvmlDeviceGetProcessUtilization",
    ],
)
def test_a_gpu_that_does_not_tell_one_figure_tells_the_others(untold: str) -> None:
    with NvmlWatch(FakeNvml((untold,)), 0, period_s=60).watching() as sampling:
        pass
    assert sampling.conditions is not None
    assert sampling.conditions.temperature_c == 51


def test_a_gpu_is_found_behind_cuda_visible_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    for visible, number, device in [("2,0", 0, "GPU-gpu 2"), ("", 1, "GPU-gpu 1"), ("GPU-abc", 0, "GPU-GPU-abc")]:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert NvmlWatch(FakeNvml(), number).device == device


def test_without_nvml_a_measurement_says_that_nobody_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with open_watch(0, "gpu-0") as watch, watch.watching() as sampling:
        assert (watch.device, sampling.conditions) == ("gpu-0", None)
    assert "nvidia-ml-py is missing" in watch.note


REFUSALS = {
    "missing": (None, 0, "nvidia-ml-py is missing; run: pip install nvidia-ml-py"),
    "not started": (FakeNvml(("nvmlInit",)), 0, "no NVIDIA driver answers (Not Supported)"),
    "not told": (FakeNvml(("nvmlDeviceGetName",)), 0, "the NVIDIA driver does not tell its GPUs (Not Supported)"),
    "not there": (FakeNvml(), 9, "the NVIDIA driver does not tell its GPUs (Invalid Argument)"),
}


@pytest.mark.parametrize(("nvml", "number", "said"), REFUSALS.values(), ids=REFUSALS)
def test_why_nobody_looks_is_told_and_nvml_is_closed_at_once(
    nvml: FakeNvml | None, number: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    with open_watch(number, "gpu") as watch:
        assert watch.note == f"nobody looked at the clocks and processes of GPU {number}: {said}"
        assert nvml is None or not nvml.is_open


@pytest.mark.parametrize("name", ["missing", "not started"])
def test_a_refusal_is_told_in_the_same_words_wherever_gpus_are_asked_for(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml, _, said = REFUSALS[name]
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert find_gpus() == said


def test_what_fails_under_the_watch_comes_through_and_nvml_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    with pytest.raises(KeyError, match="a defect"), open_watch(0, "gpu"):
        raise KeyError("a defect")
    assert not nvml.is_open


def test_nvml_is_closed_behind_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    with open_watch(0, "gpu") as watch:
        assert (nvml.is_open, watch.note, watch.gpu) == (True, "", "NVIDIA H200")
    assert not nvml.is_open


def test_a_gpu_is_described_without_its_host_and_nvml_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert describe_gpu(0) == GpuRecord("NVIDIA H200", "9.0", "580.159.04")
    assert not nvml.is_open


class SlicedNvml(FakeNvml):
    """A GPU with MIG slices: those given are seen, at odd places, and their handles are ``MIG-`` and their shape."""

    def __init__(self, *shapes: str) -> None:
        super().__init__()
        self.shapes = dict(zip(range(1, 7, 2), shapes, strict=False))

    def nvmlDeviceGetMigMode(self, handle: str) -> list[int]:
        assert not handle.startswith("MIG"), "NVML tells the mode of whole GPUs"
        return [self.NVML_DEVICE_MIG_ENABLE] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, _handle: str) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, _handle: str, number: int) -> str:
        if number not in self.shapes:
            raise self.NVMLError("Not Found")
        return f"MIG-{self.shapes[number]}"

    def nvmlDeviceIsMigDeviceHandle(self, handle: str) -> bool:
        return handle.startswith("MIG")

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, _handle: str) -> str:
        return "gpu 0"

    def nvmlDeviceGetName(self, handle: str) -> bytes:
        return f"NVIDIA H200 {handle.replace('-', ' ')}".encode() if handle.startswith("MIG") else b"NVIDIA H200"

    def nvmlDeviceGetCudaComputeCapability(self, handle: str) -> list[int]:
        if handle.startswith("MIG"):
            raise self.NVMLError("Invalid Argument")
        return [9, 0]


@pytest.mark.parametrize(
    ("nvml", "visible", "name"),
    [
        (SlicedNvml("1g.18gb", "3g.71gb"), "MIG-3g.71gb", "NVIDIA H200 MIG 3g.71gb"),
        (SlicedNvml("1g.18gb"), None, "NVIDIA H200 MIG 1g.18gb"),
        (SlicedNvml("1g.18gb", "1g.18gb"), "0", "NVIDIA H200 MIG 1g.18gb"),
        (SlicedNvml("3g.71gb", "1g.18gb"), None, "NVIDIA H200 MIG 1g.18gb or MIG 3g.71gb"),
        (SlicedNvml(), None, "NVIDIA H200"),
        (FakeNvml(("nvmlDeviceIsMigDeviceHandle", "nvmlDeviceGetMigMode")), None, "NVIDIA H200"),
    ],
    ids=["by name", "alone", "of one shape", "of several shapes", "none", "no driver that slices"],
)
def test_a_slice_of_a_gpu_is_another_machine_than_its_gpu_and_another_slice(
    nvml: FakeNvml, visible: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert describe_gpu(0) == GpuRecord(name, "9.0", "580.159.04")


@pytest.mark.parametrize(
    "nvml",
    [None, FakeNvml(("nvmlInit",)), FakeNvml(("nvmlDeviceGetCudaComputeCapability",))],
    ids=["missing", "not started", "not told"],
)
def test_a_gpu_that_nvml_does_not_tell_is_none(nvml: FakeNvml | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert describe_gpu(0) is None


def test_every_reason_is_one_bit_and_neither_idle_nor_a_clock_that_somebody_set() -> None:
    assert all(bit.bit_count() == 1 for bit in THROTTLES)
    assert {0x01, 0x02} & set(THROTTLES) == set()
