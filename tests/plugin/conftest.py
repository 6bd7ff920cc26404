"""A pytest run inside a test: the plugin on, two known cases beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from tests.tiny_cases import process_environment, write_matmul_case
from tests.warm_process import fork_execnets_workers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def _loaded_once() -> None:
    """Load what the plugin loads late: pytester forgets modules that a run inside a test was the first to import."""
    import cv2
    import onnxruntime
    import pandas as pd
    import scipy.optimize

    import parity.backends.onnxruntime
    import parity.pytest_fixture
    import parity.report.html
    import parity.report.markdown
    import parity.report.tables
    import parity.runner

    assert cv2
    assert onnxruntime
    assert pd
    assert scipy
    assert parity


class RunPytest(Protocol):
    def __call__(self, *words: str | Path) -> pytest.RunResult: ...


PLAIN_AND_XDIST = pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "xdist"])


@pytest.fixture
def run_pytest(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> RunPytest:
    """Run pytest in this process; workers of pytest-xdist are processes of their own, forked from one with its imports.

    That new interpreters do as well is seen where docs/pytest.md is run.
    """
    fork_execnets_workers(monkeypatch)
    monkeypatch.setenv("PARITY_CACHE_DIR", str(pytester.path / "cache"))
    monkeypatch.setenv("PYTHONPATH", process_environment()["PYTHONPATH"])
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    # Loading the other plugins of the environment and rewriting their assertions would take most of a run's time.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    options = ("-p", "parity.pytest_plugin", "-p", "xdist.plugin", "--assert=plain")
    return lambda *words: pytester.runpytest_inprocess(*options, *map(str, words))


@pytest.fixture
def good(pytester: pytest.Pytester) -> Path:
    """A case whose fp32 and fp16 pass."""
    return write_matmul_case(pytester.path / "cases" / "good")


@pytest.fixture
def hot(pytester: pytest.Pytester) -> Path:
    """A case whose fp32 passes and whose fp16 overflows."""
    return write_matmul_case(pytester.path / "cases" / "hot", scale=1e6)
