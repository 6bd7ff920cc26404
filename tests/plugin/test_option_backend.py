from __future__ import annotations

import fnmatch
import os
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from parity.backends.tensorrt.backend import TensorRTBackend
from parity.errors import BackendError
from parity.pytest_backends import SessionBackends
from parity.pytest_settings import Settings
from tests.plugin.conftest import PLAIN_AND_XDIST
from tests.simulated_worker import SimulatedWorker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from parity.backends import TensorRTSettings
    from tests.plugin.conftest import RunPytest


@PLAIN_AND_XDIST
def test_onnxruntime_is_taken(run_pytest: RunPytest, good: Path, workers: tuple[str, ...]) -> None:
    run_pytest(*workers, "--parity-backend", "onnxruntime").assert_outcomes(passed=2)


def test_a_backend_that_is_not_known_is_a_usage_error(run_pytest: RunPytest, good: Path) -> None:
    result = run_pytest("--parity-backend", "tensorflow")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--parity-backend*tensorflow*onnxruntime*"])


def test_without_a_tensorrt_every_item_is_an_error_of_one_sentence(run_pytest: RunPytest, good: Path) -> None:
    result = run_pytest("--parity-backend", "tensorrt", "--parity-tensorrt-python", "/nowhere/python")
    result.assert_outcomes(failed=6)
    said = "ERROR: TensorRT's interpreter '/nowhere/python': there is no such file; *"
    assert len(fnmatch.filter(result.outlines, said)) == 6
    result.stdout.no_fnmatch_line("*Traceback*")


def test_who_names_an_interpreter_means_tensorrt(run_pytest: RunPytest, good: Path) -> None:
    result = run_pytest("--collect-only", "-q", "--parity-tensorrt-python", "/nowhere/python")
    result.stdout.fnmatch_lines(["*::fp16@tensorrt::census"])


def test_a_backend_that_is_given_wins(run_pytest: RunPytest, good: Path) -> None:
    words = ("--parity-backend", "onnxruntime", "--parity-tensorrt-python", "/nowhere/python")
    run_pytest(*words).assert_outcomes(passed=2)


@pytest.fixture
def two_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open two simulated TensorRT in place of those of the interpreters."""

    @contextmanager
    def open_backends(names: Sequence[str], tensorrt: TensorRTSettings) -> Iterator[tuple[TensorRTBackend, ...]]:
        backends = tuple(TensorRTBackend(SimulatedWorker(release), None) for release in ("8.6.0", "10.16.1.11"))
        yield backends
        for backend in backends:
            backend.close()

    monkeypatch.setattr("parity.backends.open_backends", open_backends)


def test_every_interpreter_of_the_variable_judges(
    run_pytest: RunPytest, good: Path, two_releases: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARITY_TENSORRT_PYTHON", os.pathsep.join(("/trt86/python", "/trt10/python")))
    result = run_pytest("-v", "--parity-backend", "tensorrt", "-k", "fp16")
    result.assert_outcomes(passed=6)
    for release in ("8.6", "10.16"):
        result.stdout.fnmatch_lines([f"*::fp16@tensorrt-{release}::outputs PASSED*"])


def test_interpreters_of_the_variable_are_not_asked_for_a_forecast(
    run_pytest: RunPytest, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARITY_TENSORRT_PYTHON", os.pathsep.join(("/nowhere/a", "/nowhere/b")))
    run_pytest().assert_outcomes(passed=2)


def test_no_other_interpreter_stands_in_for_one_that_is_not_open(two_releases: None) -> None:
    settings = Settings("tensorrt", ("/trt86/python", "/trt10/python"), 0, (), None, allow_python=True, collect=True)
    with closing(SessionBackends(settings)) as backends:
        assert backends.names == ("tensorrt-8.6", "tensorrt-10.16")
        assert [backends.find(name).name for name in backends.names] == list(backends.names)
        for name in ("tensorrt", "tensorrt-11.4"):
            with pytest.raises(BackendError, match=r"expected one of tensorrt-8\.6, tensorrt-10\.16"):
                backends.find(name)
