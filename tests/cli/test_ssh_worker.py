"""A worker behind a true ssh: what it answers, what its death costs, and what a way that is shut is told as."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.backends.tensorrt.cache_key import hash_file
from parity.backends.tensorrt.conversation import SentFile, WrittenFile
from parity.backends.tensorrt.interpreter import parse_interpreter
from parity.backends.tensorrt.link import Link
from parity.backends.tensorrt.process import LiveConversation
from parity.backends.tensorrt.session import PlanFile, TensorRTSession
from parity.errors import BackendCrash, BackendTimeout
from parity.results import EngineRecord
from tests.conversations import closing, is_gone, toy_conversation, wait_until
from tests.ssh_server import ssh_server
from tests.tiny_cases import ROOT, write_matmul_case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import RunParity
    from tests.ssh_server import SshServer

LIMIT_S = 120.0
ME = sys.executable
STAND_IN = {"stand_in.py": Path(ROOT, "tests", "stand_in_worker.py").read_bytes()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.fixture(scope="module")
def toys(server: SshServer) -> Iterator[LiveConversation]:
    yield from closing(toy_conversation(server.spec(ME)))


def test_arrays_come_back_bit_for_bit_through_the_channel(toys: LiveConversation) -> None:
    generator = np.random.default_rng(1)
    arrays = {
        "half": generator.standard_normal((3, 5)).astype(np.float16),
        "large": generator.standard_normal(2**18).astype(np.float32),
        "odd": np.array([np.nan, -0.0, np.inf], np.float64),
        "mask": generator.random((2, 3)) < 0.5,
        "none": np.zeros((0, 4), np.int64),
    }
    answer = toys.ask("allocated", {"tensors": arrays}, LIMIT_S)["tensors"]
    assert {name: (array.dtype, array.shape) for name, array in answer.items()} == {
        name: (array.dtype, array.shape) for name, array in arrays.items()
    }
    assert all(answer[name].tobytes() == array.tobytes() for name, array in arrays.items())
    assert not toys._worker.is_mapped


def test_files_go_there_and_come_back(toys: LiveConversation, tmp_path: Path) -> None:
    source, target = tmp_path / "model.onnx", tmp_path / "engine.plan"
    source.write_text("ü" * 10, encoding="utf-8")
    answer = toys.ask("write_file", {"source": SentFile(source), "target": WrittenFile(target)}, LIMIT_S)
    assert answer["seen"] == target.read_text(encoding="utf-8") == "ü" * 10
    assert Path(answer["source"]) != source


def answers_of(where: str, folder: Path) -> list[np.ndarray]:
    """Return what a toy engine behind the worker's own operations answers to three feeds."""
    conversation = LiveConversation(parse_interpreter(where), handlers="parity_worker.stand_in", extra_sources=STAND_IN)
    plan = folder / "twice"
    plan.write_text("twice", encoding="utf-8")
    feeds = [{"x": np.full((rows, 4), rows / 3, np.float32)} for rows in (1, 4, 2)]
    with TensorRTSession(
        Link(conversation), PlanFile(plan, 0, {}, EngineRecord(hash_file(plan), 5, "file")), LIMIT_S
    ) as session:
        answers = [session.run(feed)["y"] for feed in feeds]
    conversation.close()
    return answers


def test_an_engine_there_answers_as_one_here(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The worker imports its stand-ins: here from the variable, there from what the command says.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    there = answers_of(server.spec(f"env PYTHONPATH={ROOT} {ME}"), tmp_path)
    for mine, theirs in zip(answers_of(ME, tmp_path), there, strict=True):
        np.testing.assert_array_equal(theirs, mine)


def test_words_for_ssh_stand_before_the_host(server: SshServer) -> None:
    for way in (f"ssh=-F {server.config} -p {server.port} here", f"ssh=here//ssh_config={server.config}"):
        toys = toy_conversation(f"{way}//python={ME}")
        assert toys.ask("echo", {"way": way}, LIMIT_S) == {"way": way}
        toys.close()


@pytest.mark.parametrize("delay_s", [None, 0.3], ids=["between two requests", "in the middle of one"])
def test_a_worker_killed_there_costs_one_request_and_is_replaced(toys: LiveConversation, delay_s: float | None) -> None:
    pid, generation = toys.ask("facts", {}, LIMIT_S)["pid"], toys.generation
    if delay_s is None:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not toys._worker.process.is_alive)
    else:
        threading.Timer(delay_s, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(BackendCrash, match=r"was killed over there, or the connection broke \(exit code 255 of ssh\)"):
        toys.ask("sleep", {"s": 60}, LIMIT_S)
    assert toys.ask("echo", {"a": 1}, LIMIT_S) == {"a": 1}
    assert (toys.generation, is_gone(pid)) == (generation + 1, True)


def test_a_worker_that_hangs_there_is_given_up_here_and_ends_there_by_itself(server: SshServer) -> None:
    toys = toy_conversation(server.spec(ME))
    facts = toys.ask("facts", {}, LIMIT_S)
    with pytest.raises(BackendTimeout, match=r"gave no answer within 0\.5 s"):
        toys.ask("sleep", {"s": 120}, 0.5)
    assert toys.ask("echo", {"a": 1}, LIMIT_S) == {"a": 1}
    wait_until(lambda: is_gone(facts["pid"]))
    toys.close()


def test_what_a_library_prints_there_is_in_the_log(toys: LiveConversation) -> None:
    toys.ask("print_lines", {"count": 1}, LIMIT_S)
    wait_until(lambda: toys._worker.process.log.tail()[-1:] == ["an error line"])


WAYS = {
    "here": (ME, r"There is no tensorrt in .*: run .* -m pip install tensorrt"),
    "noisy": (ME, r"something else was printed first \(shell start-up files must print nothing\)"),
    "stranger": (ME, r"Permission denied .*; see that this works without a password"),
    "nobody-listens": (ME, r"Connection refused; see that this works without a password"),
    "unverified": (ME, r"Host key verification failed\.; see that this works without a password"),
    "here without python": ("/nowhere/python3", r"exit code 127, .*/nowhere/python3: [Nn]o.*; see that this works"),
}


@pytest.mark.parametrize("way", [*WAYS, "unknown"])
def test_a_way_that_is_shut_is_one_sentence_and_exit_code_2(
    server: SshServer, run_parity: RunParity, tmp_path: Path, way: str
) -> None:
    python, reason = WAYS.get(way, (ME, r"Could not resolve hostname .*; see that this works without a password"))
    where = "ssh=no-such-host.invalid" if way == "unknown" else server.spec(python, way.split(maxsplit=1)[0])
    case = write_matmul_case(tmp_path / "case")
    done = run_parity("run", case, "--variant", "fp32", "--tensorrt-python", where, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert not done.stdout.strip()
    [sentence] = done.stderr.splitlines()
    assert re.search(reason, sentence), sentence
