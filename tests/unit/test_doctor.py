"""The doctor's lines about this machine: packages that overwrite each other, GPUs, the cache."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from parity import doctor
from parity.backends import nvml
from parity.backends.nvml import Gpus, find_gpus
from parity.doctor import State
from tests.pages import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_every_dependency_of_the_package_is_looked_at() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    names = {re.split("[<>=~!]", requirement)[0] for requirement in declared}
    assert names == {*doctor._REQUIRED, "opencv-python-headless"}


def test_two_opencv_packages_are_told_with_the_command_that_separates_them(monkeypatch: pytest.MonkeyPatch) -> None:
    several = {"opencv-python-headless": "5.0", "opencv-python": "4.9"}
    monkeypatch.setattr(doctor, "package_versions", lambda _names: several)
    found = doctor._opencv()
    assert found.state is State.BAD
    assert "pip uninstall -y opencv-python-headless opencv-python && pip install opencv-python-headless" in found.detail


def test_every_gpu_has_a_line_with_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = Gpus(("NVIDIA H200, 139.8 GiB", "NVIDIA A2, 15.0 GiB"), "570.1", "12.8")
    monkeypatch.setattr(nvml, "find_gpus", lambda: gpus)
    assert [str(line) for line in doctor._gpus()] == [
        "good        gpu 0: NVIDIA H200, 139.8 GiB; driver 570.1, CUDA 12.8",
        "good        gpu 1: NVIDIA A2, 15.0 GiB; driver 570.1, CUDA 12.8",
    ]


@pytest.mark.parametrize("found", [Gpus((), "570.1", "12.8"), "no NVIDIA driver answers (x)"])
def test_a_machine_without_a_gpu_is_told_what_it_can_do(monkeypatch: pytest.MonkeyPatch, found: Gpus | str) -> None:
    monkeypatch.setattr(nvml, "find_gpus", lambda: found)
    [line] = doctor._gpus()
    assert (line.state, line.subject) == (State.NOT_NEEDED, "gpu")
    assert "forecasts need none" in line.detail


class _Nvml:
    """Two GPUs as NVML tells them."""

    NVMLError = RuntimeError

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's names
        self.is_open = True

    def nvmlShutdown(self) -> None:  # noqa: N802 - as above
        self.is_open = False

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - as above
        return 2

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:  # noqa: N802 - as above
        return number

    def nvmlDeviceGetName(self, handle: int) -> bytes:  # noqa: N802 - as above
        return f"GPU {handle}".encode()

    def nvmlDeviceGetMemoryInfo(self, _handle: int) -> object:  # noqa: N802 - as above
        return type("Memory", (), {"total": 8 * 2**30})

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802 - as above
        return "570.1"

    def nvmlSystemGetCudaDriverVersion(self) -> int:  # noqa: N802 - as above
        return 12080


def test_gpus_are_read_from_nvml_which_is_closed_behind_them(monkeypatch: pytest.MonkeyPatch) -> None:
    module = _Nvml()
    monkeypatch.setitem(__import__("sys").modules, "pynvml", module)
    assert find_gpus() == Gpus(("GPU 0, 8.0 GiB", "GPU 1, 8.0 GiB"), "570.1", "12.8")
    assert module.is_open is False


def test_a_driver_that_does_not_answer_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(_Nvml):
        def nvmlInit(self) -> None:  # noqa: N802 - NVML's name
            raise self.NVMLError("Driver Not Loaded")

    monkeypatch.setitem(__import__("sys").modules, "pynvml", Silent())
    assert find_gpus() == "no NVIDIA driver answers (Driver Not Loaded)"


def test_the_cache_tells_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARITY_CACHE_LIMIT_GIB", "3")
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "plan").write_bytes(bytes(2**20 * 52))
    found = doctor._cache(tmp_path)
    assert found.state is State.GOOD
    assert "holds 0.05 GiB; engines may take 3 GiB" in found.detail


def test_a_locale_that_cannot_name_every_file_is_told_with_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(doctor._names()) == []
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "iso8859-1")
    [finding] = doctor._names()
    assert finding.state is State.NOT_NEEDED
    assert finding.detail.startswith(
        "this Python takes names of files as iso8859-1, as the locale says: set PYTHONUTF8"
    )


def test_a_cache_that_cannot_be_written_is_told_with_the_variable_that_moves_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = doctor._cache(tmp_path / "file" / "cache")
    assert found.state is State.BAD
    assert found.detail.endswith("or name another folder by PARITY_CACHE_DIR")


def test_a_limit_that_is_no_number_is_a_line_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARITY_CACHE_LIMIT_GIB", "much")
    found = doctor._cache(tmp_path)
    assert (found.state, found.subject) == (State.BAD, "cache folder")
    assert "PARITY_CACHE_LIMIT_GIB: is 'much'" in found.detail
