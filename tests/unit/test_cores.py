"""Who runs the whole suite uses every core; who runs one file waits for no other process."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests import cores
from tests.tiny_cases import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no GPU, and leave the environment as it was."""
    monkeypatch.setattr(cores, "gpu_count", lambda: 0)
    for name in cores.ONE_THREAD:
        # What is deleted is known to be put back.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def asked(*args: str, folder: Path = ROOT, **more: object) -> SimpleNamespace:
    """Return a configuration as pytest makes it, where nobody chose how many processes there are."""
    option = SimpleNamespace(**{"numprocesses": None, "dist": "no", "capture": "fd", **more})
    return SimpleNamespace(option=option, args=[*args], invocation_params=SimpleNamespace(dir=folder))


def spread(config: SimpleNamespace) -> tuple[object, str]:
    cores.spread(config)  # type: ignore[arg-type]
    return config.option.numprocesses, config.option.dist


@pytest.mark.parametrize("args", [("tests",), (str(ROOT / "tests"),), ("tests/unit", "tests/cli")])
def test_folders_of_tests_take_every_core_and_one_thread_each(args: tuple[str, ...]) -> None:
    assert spread(asked(*args)) == ("auto", "worksteal")
    assert {name: os.environ[name] for name in cores.ONE_THREAD} == cores.ONE_THREAD


@pytest.mark.parametrize(
    "args",
    [
        ("tests/unit/test_compare.py",),
        ("tests/unit", "tests/unit/test_compare.py::test_x"),
        ("cases",),
        ("cases/shapes_yolo/case.toml",),
    ],
)
def test_a_file_a_test_and_cases_stay_in_one_process(args: tuple[str, ...]) -> None:
    assert spread(asked(*args)) == (None, "no")
    assert not cores.ONE_THREAD.keys() & os.environ.keys()


def test_folders_are_looked_for_where_pytest_was_called() -> None:
    assert spread(asked("unit", folder=ROOT / "tests")) == ("auto", "worksteal")
    assert spread(asked("unit")) == (None, "no")


def test_what_somebody_chose_is_kept() -> None:
    assert spread(asked("tests", numprocesses=0)) == (0, "no")
    assert spread(asked("tests/unit/test_compare.py", numprocesses=3, dist="loadfile")) == (3, "loadfile")


def test_threads_that_somebody_chose_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cores.THREADS_VARIABLE, "4")
    spread(asked("tests"))
    assert os.environ[cores.THREADS_VARIABLE] == "4"


def test_output_that_is_not_captured_and_a_gpu_keep_the_tests_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spread(asked("tests", capture="no")) == (None, "no")
    monkeypatch.setattr(cores, "gpu_count", lambda: 1)
    assert spread(asked("tests")) == (None, "no")


def test_a_worker_starts_no_other_and_pytest_alone_is_enough() -> None:
    worker = asked("tests")
    worker.workerinput = {}
    assert spread(worker) == (None, "no")
    without = SimpleNamespace(option=SimpleNamespace(capture="fd"), args=["tests"])
    cores.spread(without)  # type: ignore[arg-type]
    assert not hasattr(without.option, "numprocesses")
