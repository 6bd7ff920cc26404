"""A live worker: answers, failures by kind, crashes, hangs, and what is left behind."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.backends.tensorrt import generation, launch
from parity.errors import (
    BackendCrash,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    FeedError,
    ModelError,
    PrecisionError,
)
from parity.pace import listening, working
from tests.conversations import closing, is_gone, toy_conversation, wait_until
from tests.tiny_cases import ROOT, process_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity.backends.tensorrt.process import LiveConversation

LIMIT_S = 120.0
ME = sys.executable


@pytest.fixture(scope="module")
def toys() -> Iterator[LiveConversation]:
    yield from closing(toy_conversation())


@pytest.fixture(scope="module", params=["local", "elsewhere"])
def either(request: pytest.FixtureRequest) -> Iterator[LiveConversation]:
    """With a worker that shares files, and with one that is treated as if it were on another machine."""
    yield from closing(toy_conversation(mapped=request.param == "local"))


# --- failures that the worker tells ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        *(("model", ModelError), ("precision", PrecisionError), ("feed", FeedError)),
        *(("unavailable", BackendUnavailable), ("backend", BackendError)),
    ],
)
def test_a_failure_comes_back_by_its_kind_and_the_worker_stays(
    toys: LiveConversation, kind: str, error: type[Exception]
) -> None:
    toys.ask("echo", {}, LIMIT_S)
    generation = toys.generation
    with pytest.raises(error, match="the message") as caught:
        toys.ask("fail", {"kind": kind, "text": "the message"}, LIMIT_S)
    assert type(caught.value) is error
    assert "in fail" in caught.value.__notes__[0]
    assert toys.ask("echo", {"a": 1}, LIMIT_S) == {"a": 1}
    assert toys.generation == generation


def test_any_other_exception_is_told_with_its_type_and_text(toys: LiveConversation) -> None:
    with pytest.raises(BackendError, match=r"worker tensorrt \(.*\): KeyError: 'an unknown key'\n"):
        toys.ask("stumble", {}, LIMIT_S)


def test_a_function_that_ends_its_interpreter_ends_its_request_alone(toys: LiveConversation) -> None:
    toys.ask("echo", {}, LIMIT_S)
    generation = toys.generation
    with pytest.raises(BackendError, match="SystemExit: enough"):
        toys.ask("exit_politely", {}, LIMIT_S)
    toys.ask("echo", {}, LIMIT_S)
    assert toys.generation == generation


def test_an_unknown_operation_names_the_known_ones(toys: LiveConversation) -> None:
    with pytest.raises(BackendError, match=r"operation 'infre': not known to this worker; expected one of .*echo"):
        toys.ask("infre", {}, LIMIT_S)


def test_a_lost_cuda_context_replaces_the_worker(toys: LiveConversation) -> None:
    before = toys.ask("facts", {}, LIMIT_S)["pid"], toys.generation
    with pytest.raises(BackendCrash, match='lost its CUDA context while it did "fail": illegal address; its log'):
        toys.ask("fail", {"kind": "cuda", "text": "illegal address"}, LIMIT_S)
    assert is_gone(before[0])
    assert toys.ask("facts", {}, LIMIT_S)["engine"] == 1
    assert toys.generation == before[1] + 1


# --- crashes and hangs ----------------------------------------------------------------------------------------------


def test_a_crash_names_the_signal_the_operation_and_the_last_lines(toys: LiveConversation) -> None:
    toys.ask("say", {"severity": "warning", "text": "subnormal weights"}, LIMIT_S)
    toys.ask("print_lines", {"count": 3}, LIMIT_S)
    generation = toys.generation
    toys.name = "tensorrt-8.6"
    with pytest.raises(BackendCrash) as caught:
        toys.ask("crash", {"signal": "SIGSEGV"}, LIMIT_S)
    toys.name = "tensorrt"
    first, *lines = str(caught.value).splitlines()
    assert first == f'worker tensorrt-8.6 ({ME}): died with SIGSEGV while it did "crash"; last lines of its log:'
    text = "\n".join(lines)
    for part in ("[warning] subnormal weights", "printed 2", "another process", "an error line", "in crash"):
        assert part in text
    assert len(lines) <= 2 * 16
    toys.ask("echo", {}, LIMIT_S)
    assert toys.generation == generation + 1


def test_a_worker_that_leaves_names_its_exit_code(toys: LiveConversation) -> None:
    with pytest.raises(BackendCrash, match='ended with exit code 7 while it did "leave"'):
        toys.ask("leave", {"code": 7}, LIMIT_S)


@pytest.mark.parametrize("operation", ["spin", "sleep"])
def test_a_hanging_worker_is_ended_and_says_where_it_stood(toys: LiveConversation, operation: str) -> None:
    pid = toys.ask("facts", {}, LIMIT_S)["pid"]
    start = time.monotonic()
    with pytest.raises(BackendTimeout, match=f'gave no answer within 0.3 s while it did "{operation}"') as caught:
        toys.ask(operation, {"s": 60}, 0.3)
    assert f"in {operation}" in str(caught.value)
    assert time.monotonic() - start < 300
    assert is_gone(pid)


def test_a_stopped_worker_is_ended_though_its_pipe_is_full() -> None:
    toys = toy_conversation(mapped=False)
    pid = toys.ask("facts", {}, LIMIT_S)["pid"]
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(BackendTimeout):
        toys.ask("echo", {"text": "x" * 2**20}, 0.3)
    assert is_gone(pid)
    assert toys.ask("echo", {"a": 1}, LIMIT_S) == {"a": 1}
    toys.close()


def test_a_kill_in_the_middle_of_a_request_is_found_at_once(toys: LiveConversation) -> None:
    pid = toys.ask("facts", {}, LIMIT_S)["pid"]
    threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
    start = time.monotonic()
    with pytest.raises(BackendCrash, match='died with SIGKILL while it did "sleep"'):
        toys.ask("sleep", {"s": 60}, 60)
    assert time.monotonic() - start < 30


def test_a_kill_between_two_requests_costs_the_next_one(toys: LiveConversation) -> None:
    pid = toys.ask("facts", {}, LIMIT_S)["pid"]
    generation = toys.generation
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: is_gone(pid))
    with pytest.raises(BackendCrash, match="died with SIGKILL"):
        toys.ask("echo", {}, LIMIT_S)
    assert toys.ask("echo", {"a": 1}, LIMIT_S) == {"a": 1}
    assert toys.generation == generation + 1


def test_shared_folders_that_were_tidied_away_cost_one_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "_SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    toys = toy_conversation()
    tensors = {"a": np.arange(3)}
    toys.ask("facts", {}, LIMIT_S)
    for folder in tmp_path.glob("parity-*"):
        shutil.rmtree(folder)
    with pytest.raises(BackendCrash, match=r'lost the files that are shared with it .* while it did "echo"'):
        toys.ask("echo", tensors, LIMIT_S)
    assert toys.ask("echo", tensors, LIMIT_S)["a"].tolist() == [0, 1, 2]
    toys.close()
    assert not list(tmp_path.iterdir())


def test_an_interrupted_request_ends_the_worker_and_lets_the_interrupt_through(toys: LiveConversation) -> None:
    pid = toys.ask("facts", {}, LIMIT_S)["pid"]
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        toys.ask("sleep", {"s": 60}, 60)
    assert is_gone(pid)
    assert toys.ask("echo", {"a": 1}, LIMIT_S) == {"a": 1}


def test_the_terminals_ctrl_c_does_not_reach_the_worker(toys: LiveConversation) -> None:
    facts = toys.ask("facts", {}, LIMIT_S)
    assert facts["session"] == facts["pid"] != os.getsid(0)


# --- what is left behind --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mapped", [True, False], ids=["local", "elsewhere"])
def test_a_closed_conversation_leaves_neither_process_nor_folder(mapped: bool) -> None:
    toys = toy_conversation(mapped=mapped)
    facts = toys.ask("facts", {}, LIMIT_S)
    toys.close()
    assert is_gone(facts["pid"])
    assert not Path(facts["folder"]).exists()
    assert toys.process_id is None
    assert toys.ask("echo", {"a": 1}, LIMIT_S) == {"a": 1}
    toys.close()


@pytest.mark.parametrize("operation", ["echo", "sleep"])
def test_a_killed_harness_leaves_neither_worker_nor_folder(operation: str) -> None:
    code = (
        "import json, sys\n"
        "from tests.conversations import toy_conversation\n"
        "toys = toy_conversation()\n"
        "facts = toys.ask('facts', {}, 30)\n"
        "print(json.dumps([facts['pid'], facts['folder']]), flush=True)\n"
        f"toys.ask({operation!r}, {{'s': 60}}, 60)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [ME, "-c", code],
        cwd=ROOT,
        env=process_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as harness:
        assert harness.stdout is not None
        pid, folder = json.loads(harness.stdout.readline())
        time.sleep(0.2)
        harness.kill()
    wait_until(lambda: is_gone(pid))
    assert not Path(folder).exists()


def test_a_harness_that_forgets_to_close_ends_its_worker_and_prints_nothing() -> None:
    code = (
        "from tests.conversations import toy_conversation\n"
        "toys = toy_conversation()\n"
        "toys.ask('print_lines', {'count': 1}, 30)\n"
        "print(toys.ask('facts', {}, 30)['pid'])\n"
    )
    done = subprocess.run(
        [ME, "-W", "error", "-c", code],
        cwd=ROOT,
        env=process_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stderr == ""
    assert is_gone(int(done.stdout))


def test_nothing_of_the_worker_reaches_the_terminal(toys: LiveConversation, capfd: pytest.CaptureFixture[str]) -> None:
    toys.ask("print_lines", {"count": 2}, LIMIT_S)
    with pytest.raises(BackendCrash):
        toys.ask("crash", {"signal": "SIGABRT"}, LIMIT_S)
    assert capfd.readouterr() == ("", "")


def test_the_log_is_bounded(toys: LiveConversation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_LOG_BYTES", 1000)
    toys.ask("print_lines", {"count": 1000}, LIMIT_S)
    log = toys._worker.process.log
    # What was still on its way when the file was cut may stand in it.
    wait_until(lambda: os.fstat(log.fileno()).st_size < 1000)
    toys.ask("print_lines", {"count": 1}, LIMIT_S)
    assert log.tail()[-1] == "an error line"
    assert os.fstat(log.fileno()).st_size < 1000


def test_the_workers_lines_are_logged_by_severity(either: LiveConversation, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "parity")
    for severity in ("error", "warning", "info", "verbose"):
        either.ask("say", {"severity": severity, "text": f"a line of {severity}"}, LIMIT_S)
    found = {record.levelname: record.message for record in caplog.records if "a line" in record.message}
    assert found == {
        "ERROR": "a line of error ?",
        "WARNING": "a line of warning ?",
        "INFO": "a line of info ?",
        "DEBUG": "a line of verbose ?",
    }


def test_what_a_worker_has_done_is_told_to_the_work_that_waits_for_it(either: LiveConversation) -> None:
    heard: list[tuple[int, float]] = []
    whoever = SimpleNamespace(enter=lambda *_: 7, share=lambda *told: heard.append(told), leave=lambda _: None)
    with listening(whoever), working("building the engine"):
        assert either.ask("advance", {"shares": [0.25, 1.0]}, LIMIT_S) == {}
    assert heard == [(7, 0.25), (7, 1.0)]


def test_the_folder_of_a_worker_that_died_elsewhere_is_swept_by_the_next_one() -> None:
    toys = toy_conversation(mapped=False)
    folder = Path(toys.ask("facts", {}, LIMIT_S)["folder"])
    with pytest.raises(BackendCrash):
        toys.ask("crash", {"signal": "SIGKILL"}, LIMIT_S)
    assert folder.exists()
    assert Path(toys.ask("facts", {}, LIMIT_S)["folder"]).exists()
    assert not folder.exists()
    toys.close()
