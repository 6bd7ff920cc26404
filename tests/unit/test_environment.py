"""Environment: what is reported, and ONNX Runtime installed twice or not at all."""

from __future__ import annotations

import platform
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.environment import (
    THREADS_VARIABLE,
    describe_environment,
    gpu_count,
    onnxruntime_conflict,
    package_versions,
    thread_limit,
)
from parity.errors import BackendError
from parity.results import Environment

if TYPE_CHECKING:
    from pathlib import Path


def install(folder: Path, name: str, version: str = "1.0") -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_one_distribution_in_one_folder_is_in_order(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime")
    assert onnxruntime_conflict([tmp_path]) is None


@pytest.mark.parametrize("other", ["onnxruntime-gpu", "onnxruntime-directml", "ort-nightly"])
def test_two_distributions_in_one_folder_conflict_and_the_command_keeps_the_accelerated_one(
    tmp_path: Path, other: str
) -> None:
    install(tmp_path, "onnxruntime")
    install(tmp_path, other)
    message = onnxruntime_conflict([tmp_path])
    assert message is not None
    assert f"pip uninstall -y onnxruntime {other} && pip install {other}" in message


def test_two_distributions_in_two_folders_do_not_conflict(tmp_path: Path) -> None:
    install(tmp_path / "a", "onnxruntime")
    install(tmp_path / "b", "onnxruntime-gpu")
    assert onnxruntime_conflict([tmp_path / "a", tmp_path / "b"]) is None


def test_one_folder_named_twice_is_one_folder(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime")
    assert onnxruntime_conflict([tmp_path, tmp_path / ".." / tmp_path.name]) is None


def test_packages_that_only_share_the_name_do_not_conflict(tmp_path: Path) -> None:
    for name in ("onnxruntime", "onnxruntime-extensions", "onnxruntime-genai"):
        install(tmp_path, name)
    assert onnxruntime_conflict([tmp_path]) is None


def test_no_runtime_at_all_names_the_extra_to_install(tmp_path: Path) -> None:
    message = onnxruntime_conflict([tmp_path])
    assert message is not None
    assert 'pip install "trt-parity[cpu]"' in message


def test_a_runtime_without_metadata_counts_as_installed(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").touch()
    assert onnxruntime_conflict([tmp_path]) is None


def test_looking_for_a_conflict_imports_no_runtime() -> None:
    code = (
        "import sys; from parity.environment import onnxruntime_conflict, describe_environment\n"
        "onnxruntime_conflict(); describe_environment()\n"
        "assert not {'onnxruntime', 'tensorrt', 'pycuda', 'cv2', 'onnx', 'numpy'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_description_fills_the_saved_environment() -> None:
    environment = Environment(**describe_environment())
    assert environment.packages["numpy"] == np.__version__
    assert environment.core_count >= 1
    assert environment.processor


def test_the_description_holds_no_path_user_or_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "the-user")
    monkeypatch.setenv("HOME", "/home/the-user")
    monkeypatch.setattr(socket, "gethostname", lambda: "the-host")
    monkeypatch.setattr(platform, "node", lambda: "the-host")
    text = str(describe_environment())
    assert "the-user" not in text
    assert "the-host" not in text
    assert platform.uname().node not in text.split("'")


def test_versions_of_packages_that_are_not_installed_are_left_out() -> None:
    assert package_versions(["numpy", "no-such-distribution"]) == {"numpy": np.__version__}


@pytest.mark.parametrize(("visible", "count"), [("0", 1), ("2,3", 2), ("", 0), ("-1", 0), ("0,-1,1", 1)], ids=repr)
def test_as_many_gpus_as_cuda_is_shown_are_counted(monkeypatch: pytest.MonkeyPatch, visible: str, count: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_count() == count


def test_gpus_of_the_driver_are_counted_and_none_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / bus).mkdir()
    assert gpu_count(tmp_path) == 2
    assert gpu_count(tmp_path / "nowhere") == 0


def test_threads_are_limited_by_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, "3")
    assert thread_limit() == 3
    monkeypatch.setenv(THREADS_VARIABLE, "")
    assert thread_limit() == 0
    monkeypatch.delenv(THREADS_VARIABLE)
    assert thread_limit() == 0


@pytest.mark.parametrize("told", ["0", "-1", "two", "1.5", "\u0661", "9" * 5000])
def test_what_is_no_number_of_threads_is_refused(told: str) -> None:
    with pytest.raises(BackendError, match=f"^{THREADS_VARIABLE}: is .*; expected a number of threads"):
        thread_limit(told)
