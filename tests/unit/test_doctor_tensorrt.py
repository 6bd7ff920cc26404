"""The doctor's lines about TensorRT: what an interpreter answers, or what keeps it from answering."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from parity import doctor
from parity.backends.tensorrt.process import LiveConversation
from parity.backends.tensorrt.recording import RecordingConversation
from parity.doctor import State
from parity.errors import BackendUnavailable
from tests.scripted_worker import ScriptedConversation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FACTS = {
    "python": "3.10.13",
    "packages": {"tensorrt": "8.6.1", "pycuda": "2026.1"},
    "gpu": "NVIDIA H200",
    "compute_capability": "9.0",
    "driver": "570.1",
    "cuda": "12.8",
}


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARITY_TENSORRT_PYTHON", raising=False)


def answering(answer: dict[str, object] | Exception) -> Callable[..., dict[str, object]]:
    def ask(self: LiveConversation, operation: str, fields: dict[str, object], timeout_s: float) -> dict[str, object]:
        assert (operation, fields) == ("hello", {"device": 0})
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


def test_without_tensorrt_and_without_a_name_it_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    [finding] = doctor._tensorrt(())
    assert (finding.state, finding.subject) == (State.NOT_NEEDED, "tensorrt")
    assert "--tensorrt-python" in finding.detail


def test_an_interpreter_that_answers_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveConversation, "ask", answering(FACTS))
    [finding] = doctor._tensorrt([sys.executable])
    assert str(finding) == (
        f"good        tensorrt in {sys.executable}: tensorrt 8.6.1, pycuda 2026.1; Python 3.10.13; "
        "NVIDIA H200 (compute capability 9.0); driver 570.1, CUDA 12.8"
    )


def test_a_recording_says_that_it_is_one_and_of_what(tmp_path: Path) -> None:
    worker = RecordingConversation(ScriptedConversation({"hello": lambda _: FACTS}), tmp_path / "1")
    worker.ask("hello", {"device": 0}, 5)
    [finding] = doctor._tensorrt([f"recording={tmp_path / '1'}"])
    assert finding.state is State.GOOD
    assert finding.detail.startswith("a recording of tensorrt 8.6.1, pycuda 2026.1, recording ")
    assert "NVIDIA H200" in finding.detail


def test_a_recording_that_is_not_there_is_bad(tmp_path: Path) -> None:
    [finding] = doctor._tensorrt([f"recording={tmp_path / 'absent'}"])
    assert finding.state is State.BAD
    assert "absent" in finding.detail


def test_what_a_named_interpreter_lacks_is_bad_and_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveConversation, "ask", answering(BackendUnavailable("PyCUDA: is missing; run: pip")))
    [finding] = doctor._tensorrt([sys.executable])
    assert (finding.state, finding.detail) == (State.BAD, "PyCUDA: is missing; run: pip")


def test_what_an_unnamed_one_lacks_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda _: object())
    monkeypatch.setattr(LiveConversation, "ask", answering(BackendUnavailable("no GPU")))
    [finding] = doctor._tensorrt(())
    assert finding.state is State.NOT_NEEDED


def test_each_name_of_the_variable_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARITY_TENSORRT_PYTHON", f"/nowhere/python:{sys.executable}")
    monkeypatch.setattr(LiveConversation, "ask", answering(FACTS))
    first, second = doctor._tensorrt(())
    assert (first.state, second.state) == (State.BAD, State.GOOD)
    assert "there is no such file" in first.detail
