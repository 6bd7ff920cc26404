"""The libraries of ONNX Runtime's GPU providers: loaded from pip's packages first, told where they are missing."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from parity.backends.onnxruntime_provider import MEND, load_libraries, provider_entry, require_loaded
from parity.errors import BackendUnavailable
from parity.options import Provider, SessionOptions

if TYPE_CHECKING:
    from pathlib import Path

ON_A_GPU = (Provider.CUDA, Provider.TENSORRT)


class Runtime:
    """ONNX Runtime's module, as far as libraries go."""

    def __init__(self, *lines: str) -> None:
        self._lines = lines
        self.call_count = 0

    def preload_dlls(self) -> None:
        self.call_count += 1
        print(*self._lines, sep="\n")  # noqa: T201 - as ONNX Runtime tells it


@pytest.fixture
def own_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))


@pytest.mark.usefixtures("own_tensorrt")
@pytest.mark.parametrize("provider", ON_A_GPU)
def test_cuda_is_loaded_before_a_gpu_provider(provider: Provider) -> None:
    runtime = Runtime()
    assert load_libraries(runtime, provider) == ""
    assert runtime.call_count == 1


@pytest.mark.usefixtures("own_tensorrt")
def test_cuda_is_loaded_once_for_all_sessions_and_its_complaint_is_told_each_time() -> None:
    runtime = Runtime("Failed to load libcublas.so.13")
    told = [load_libraries(runtime, provider) for provider in (*ON_A_GPU, *ON_A_GPU)]
    assert told == ["Failed to load libcublas.so.13"] * 4
    assert runtime.call_count == 1


def test_nothing_is_loaded_for_the_cpu() -> None:
    runtime = Runtime("Failed to load libcublas.so.13")
    assert load_libraries(runtime, Provider.CPU) == ""
    assert runtime.call_count == 0


def test_a_release_that_cannot_load_them_is_left_to_the_linker() -> None:
    assert load_libraries(object(), Provider.CUDA) == ""


def test_what_cannot_be_loaded_is_returned_and_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    missing = "Failed to load libcublas.so.13: libcublas.so.13: cannot open shared object file"
    runtime = Runtime(missing, "Please follow https://onnxruntime.ai/docs/install/ to install CUDA.")
    assert load_libraries(runtime, Provider.CUDA) == missing
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("error", ["ImportError", "OSError"])
def test_a_tensorrt_that_does_not_load_is_told(error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text(f"raise {error}('libnvinfer.so.10 is not there')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    assert load_libraries(Runtime(), Provider.TENSORRT) == "libnvinfer.so.10 is not there"


@pytest.mark.parametrize("provider", ON_A_GPU)
def test_a_provider_that_was_dropped_is_refused_with_the_library_that_it_missed(provider: Provider) -> None:
    session = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    with pytest.raises(
        BackendUnavailable, match=r"CPUExecutionProvider was loaded \(no libcublas\); it needs"
    ) as error:
        require_loaded(session, provider, "no libcublas")
    assert str(error.value).endswith(MEND[provider])


def test_tf32_is_off_on_cuda_unless_asked_for() -> None:
    entry = provider_entry(SessionOptions(provider=Provider.CUDA))
    assert entry == ("CUDAExecutionProvider", {"use_tf32": "0"})
    asked = SessionOptions(provider=Provider.CUDA, provider_options=(("use_tf32", "1"), ("device_id", "3")))
    assert provider_entry(asked)[1] == {"use_tf32": "1", "device_id": "3"}
