"""Capabilities follow a release's symbols, and whatever is missing is told with what mends it."""

from __future__ import annotations

import builtins
import sys
from importlib import metadata
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from parity.worker import capabilities, cuda, installation
from parity.worker.errors import Unavailable
from parity.worker.heard import Listener, listener
from tests.fake_pycuda import CudaError, FakeGpu
from tests.fake_tensorrt import RELEASES, fake_tensorrt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# From the releases' notes and headers, not from their symbols: rows are releases, in the order of RELEASES.
TRUTH = {
    "strongly_typed": (False, True, True, True),
    "weakly_typed": (True, True, True, False),
    "strong_typing_recommended": (False, False, True, True),
    "fp16_flag": (True, True, True, False),
    "int8_flag": (True, True, True, False),
    "implicit_int8": (True, True, True, False),
    "obey_precision": (True, True, True, False),
    "layer_precision": (True, True, True, False),
    "tf32": (True, True, True, True),
    "fp16": (True, True, True, True),
    "bf16": (False, True, True, True),
    "int8": (True, True, True, True),
    "fp8": (False, True, True, True),
    "int64": (False, True, True, True),
    "debug_tensors": (False, True, True, True),
    "unfused_debug_tensors": (False, False, True, True),
    "editable_timing_cache": (False, False, True, True),
    "version_compatible": (True, True, True, True),
    "hardware_compatible": (True, True, True, True),
    "refit": (True, True, True, True),
    "refit_from_onnx": (False, True, True, True),
    "strip_plan": (False, True, True, True),
    "weight_streaming": (False, True, True, True),
    "parser_flags": (False, True, True, True),
    "parser_node_names": (False, True, True, True),
}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGpu]:
    """TensorRT 10.16, PyCUDA and a GPU."""
    gpu = FakeGpu()
    gpu.install(monkeypatch)
    sys.modules["pycuda"].VERSION_TEXT = "2026.1"  # type: ignore[attr-defined]  # as the real package has it
    trt = fake_tensorrt("10.16.1.11")
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    yield gpu
    cuda.release()
    listener.cache_clear()


def _hello(device: int = 0) -> dict[str, Any]:
    return capabilities.hello(SimpleNamespace(log=lambda *_: None), {"device": device})


@pytest.mark.parametrize("name", TRUTH)
def test_a_release_can_what_it_is_known_to(name: str) -> None:
    found = [capabilities.capabilities(fake_tensorrt(release), "9.0")[name] for release in RELEASES]
    assert tuple(found) == TRUTH[name]


@pytest.mark.parametrize(("generation", "missing"), [("7.5", {"tf32", "bf16", "fp8"}), ("8.6", {"fp8"})])
def test_an_older_gpu_lacks_precisions(generation: str, missing: set[str]) -> None:
    trt = fake_tensorrt("10.16.1.11")
    newest, older = (capabilities.capabilities(trt, number) for number in ("9.0", generation))
    assert {name for name in newest if newest[name] and not older[name]} == missing


def test_hello_tells_the_interpreter_the_gpu_and_the_driver(
    machine: FakeGpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    version = tmp_path / "version"
    version.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\nGCC 13.3.0\n"
    )
    monkeypatch.setattr(installation, "_PROC_VERSION", version)
    told = _hello()
    assert told["packages"]["tensorrt"] == "10.16.1.11"
    assert told["packages"].keys() == {"tensorrt", "pycuda", "numpy", "polygraphy"}
    assert (told["gpu"], told["compute_capability"], told["memory_bytes"]) == ("Stand-in GPU 0", "9.0", 139 << 30)
    assert (told["driver"], told["cuda"]) == ("580.65.06", "13.0")
    assert machine.stack == [0]


def test_the_proprietary_module_is_read_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    version = tmp_path / "version"
    version.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n")
    monkeypatch.setattr(installation, "_PROC_VERSION", version)
    assert installation.driver_version() == "535.104.05"


def test_nvml_is_asked_first_for_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml: Any = ModuleType("pynvml")
    nvml.NVMLError, nvml.nvmlInit, nvml.nvmlShutdown = OSError, lambda: None, lambda: None
    nvml.nvmlSystemGetDriverVersion = lambda: b"570.86.15"
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert installation.driver_version() == "570.86.15"


def test_a_driver_that_nothing_tells_of_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(installation, "_PROC_VERSION", tmp_path / "absent")
    assert installation.driver_version() == "unknown"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            ModuleNotFoundError("No module named 'tensorrt'", name="tensorrt"),
            "There is no tensorrt in .* --tensorrt-python",
        ),
        (
            ModuleNotFoundError("No module named 'tensorrt_libs'", name="tensorrt_libs"),
            "incomplete .*--force-reinstall",
        ),
        (ImportError("libnvinfer.so.10: cannot open shared object file"), r"libnvinfer\.so\.10.* LD_LIBRARY_PATH"),
        (OSError("libcudnn.so.8: cannot open shared object file"), r"libcudnn\.so\.8.* LD_LIBRARY_PATH"),
    ],
)
def test_a_tensorrt_that_cannot_be_imported_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str
) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any) -> Any:
        if name == "tensorrt":
            raise error
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(Unavailable, match=expected):
        _hello()


def test_a_machine_without_a_gpu_is_unavailable(machine: FakeGpu) -> None:
    machine.faults["init"] = CudaError("cuInit failed: no CUDA-capable device is detected")
    with pytest.raises(Unavailable, match="No GPU can be used"):
        _hello()


def test_a_device_that_is_not_there_is_unavailable(machine: FakeGpu) -> None:
    with pytest.raises(Unavailable, match="GPU 3 was asked for"):
        _hello(device=3)


def test_a_driver_older_than_tensorrts_cuda_is_unavailable(machine: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    sys.modules["pycuda.driver"].get_driver_version = lambda: 12020  # type: ignore[attr-defined]  # a stand-in's
    monkeypatch.setattr(installation, "_is_installed", lambda name: name == "tensorrt-cu13-bindings")
    with pytest.raises(Unavailable, match=r"offers CUDA 12\.2, .*built for CUDA 13; .*install tensorrt-cu12`"):
        _hello()


def test_a_wheel_of_the_drivers_cuda_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_is_installed", lambda name: name == "tensorrt-cu12-bindings")
    installation.require_driver("12.2")


def test_a_tensorrt_that_does_not_start_is_unavailable_in_its_own_words() -> None:
    trt = fake_tensorrt("8.6.0")
    heard = Listener(trt)
    heard.begin(lambda *_: None)

    def null(logger: Any) -> Any:
        logger.log(trt.ILogger.Severity.WARNING, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    trt.Builder = null
    with pytest.raises(Unavailable, match=r"cannot start .*CUDA initialization failure with error: 35.*nvidia-smi"):
        installation.make_builder(trt, heard)


def test_a_missing_polygraphy_is_unavailable(machine: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_name: str) -> str:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(Unavailable, match="-m pip install polygraphy"):
        _hello()
