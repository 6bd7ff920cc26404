"""Interpreters: what can be named, what is wrong with a name, and workers in other Pythons."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from parity.backends.tensorrt.interpreter import Interpreter, named_interpreters, parse_interpreter
from parity.errors import BackendCrash, BackendTimeout, BackendUnavailable
from tests.conversations import is_gone, toy_conversation, wait_until

LIMIT_S = 120.0
PYENV = Path.home() / ".pyenv" / "versions"
OLD_PYTHONS = ("2.7", "3.6", "3.7")
PYTHONS = ("3.8", "3.9", "3.10", "3.12", "3.13", "3.14")
MORE_PYTHONS = os.environ.get("PARITY_TEST_PYTHONS", "")
"""Paths of interpreters with NumPy, separated by ``os.pathsep``, that the conversation is tried with as well."""


def script(folder: Path, text: str, name: str = "python") -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def failing_start(name: str, **more: float) -> str:
    with pytest.raises(BackendUnavailable) as caught:
        toy_conversation(name, **more).ask("echo", {}, LIMIT_S)
    return str(caught.value)


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("popen//python=", "its name is empty"),
        ("popen//python=' '", "its name is empty"),
        ("popen//python='", r"python= cannot be read \(No closing quotation\)"),
    ],
)
def test_a_spec_whose_python_is_none_is_refused(name: str, expected: str) -> None:
    with pytest.raises(BackendUnavailable, match=expected):
        parse_interpreter(name)


@pytest.mark.parametrize(
    ("name", "expected"), [("popen//nice=abc", "invalid literal for int"), ("popen//env:=1", "Invalid argument")]
)
def test_a_setting_of_a_spec_that_cannot_be_applied_is_told(name: str, expected: str) -> None:
    assert expected in failing_start(name)


def test_without_a_name_it_is_this_interpreter() -> None:
    [found] = named_interpreters([], {})
    assert (found.label, found.is_local) == (sys.executable, True)


def test_the_variable_holds_several_and_the_option_comes_before_it(tmp_path: Path) -> None:
    a, b = script(tmp_path, "", "a"), script(tmp_path, "", "b")
    environment = {"PARITY_TENSORRT_PYTHON": os.pathsep.join([a, b, a])}
    assert [found.label for found in named_interpreters([], environment)] == [a, b]
    assert [found.label for found in named_interpreters([b], environment)] == [b]


def test_a_virtual_environments_python_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to(sys.executable)
    assert parse_interpreter(str(tmp_path / "python")).label == str(tmp_path / "python")


def test_a_command_is_looked_up_and_a_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = script(tmp_path, "", "python3.8-trt")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_interpreter("python3.8-trt").label == parse_interpreter("~/python3.8-trt").label == found


def test_specs_are_taken_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, "", "ssh")
    monkeypatch.setenv("PATH", str(tmp_path))
    spec = "ssh=jetson//python=python3"
    assert parse_interpreter(spec) == Interpreter(spec, spec, is_local=False)
    assert parse_interpreter("popen").spec == f"popen//python={sys.executable}"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("/nowhere/python", "there is no such file; expected the path of a Python, or an execnet spec such as"),
        ("", "its name is empty, as a variable without a value is; expected the path of a Python"),
        ("python-of-nobody", "there is no such file or command; expected"),
        ("popen//python=/nowhere/python", "there is no such file"),
        ("ssh=a//ssh=b", "is no execnet spec (duplicate key: 'ssh'"),
        ("popen//_x=1", "is no execnet spec"),
        ("socket=host:8888", "only ssh= and popen are possible"),
        ("popen//via=gw0", "only ssh= and popen are possible"),
    ],
)
def test_a_wrong_name_is_one_sentence_with_what_to_do(name: str, part: str) -> None:
    with pytest.raises(BackendUnavailable) as caught:
        parse_interpreter(name)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_and_a_file_that_cannot_be_executed_are_told(tmp_path: Path) -> None:
    (tmp_path / "python").touch()
    with pytest.raises(BackendUnavailable, match=f"is a folder; expected a file in it, such as {tmp_path}/bin/python"):
        parse_interpreter(str(tmp_path))
    with pytest.raises(BackendUnavailable, match="cannot be executed; run: chmod"):
        parse_interpreter(str(tmp_path / "python"))


def test_ssh_is_asked_for_only_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendUnavailable, match="there is no ssh on this machine; install OpenSSH"):
        parse_interpreter("ssh=jetson")


# --- starts that fail -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("exit 3", ["ended with exit code 3"]),
        ("echo libpython3.8.so not found >&2; exit 127", ["exit code 127", "libpython3.8.so not found"]),
        (
            "printf '    except:\\n         ^\\nSyntaxError: invalid syntax\\n' >&2; exit 1",
            ["ended with exit code 1, except: / SyntaxError: invalid syntax; expected CPython 3.8"],
        ),
        ("echo Welcome; exec cat", ["something else was printed first", "start-up files must print nothing"]),
        ("kill -9 $$", ["died with SIGKILL"]),
        ("no shell", ["ended with exit code"]),
    ],
)
def test_a_start_that_fails_is_one_sentence_with_the_reason(tmp_path: Path, text: str, parts: list[str]) -> None:
    message = failing_start(script(tmp_path, text))
    for part in (f"worker tensorrt ({tmp_path}/python): no worker could be started there", *parts):
        assert part in message
    assert message.endswith("expected CPython 3.8 or later; name another one by --tensorrt-python")
    assert "\n" not in message


def test_a_start_that_hangs_ends_at_its_limit(tmp_path: Path) -> None:
    assert "no sign of life in 0.3 s" in failing_start(script(tmp_path, "sleep 60"), start_limit_s=0.3)


def test_a_file_that_is_no_program_is_told(tmp_path: Path) -> None:
    (tmp_path / "python").write_bytes(b"\x7fELF nonsense")
    (tmp_path / "python").chmod(0o755)
    assert "Exec format error" in failing_start(str(tmp_path / "python"))


def test_ssh_that_fails_tells_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "ssh: Could not resolve hostname jetson: Name or service not known"
    script(tmp_path, f"echo '{words}' >&2; exit 255", "ssh")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    message = failing_start("ssh=jetson//python=python3")
    assert "exit code 255" in message
    assert words in message
    assert message.endswith(
        "see that this works without a password: ssh HOST PYTHON -V, as in ssh=jetson//python=python3"
    )


def test_a_worker_behind_ssh_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In ssh's place: drops the host, and lets a shell run the command, as sshd does.
    script(tmp_path, 'shift; exec sh -c "$*"', "ssh")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    toys = toy_conversation(f"ssh=jetson//python={sys.executable}")
    toys.ask("print_lines", {"count": 1}, LIMIT_S)
    assert toys.ask("echo", {"x": np.arange(3)}, LIMIT_S)["x"].tolist() == [0, 1, 2]
    assert toys._worker.process.log.tail()[-1] == "an error line"
    toys.close()


def test_a_wrapper_that_stays_between_hides_no_signal(tmp_path: Path) -> None:
    toys = toy_conversation(script(tmp_path, f'{sys.executable} "$@"'))
    with pytest.raises(BackendCrash, match="died with SIGSEGV"):
        toys.ask("crash", {"signal": "SIGSEGV"}, LIMIT_S)
    toys.close()


def test_a_stopped_worker_behind_a_wrapper_is_ended(tmp_path: Path) -> None:
    toys = toy_conversation(script(tmp_path, f'{sys.executable} "$@"'))
    pid = toys.ask("facts", {}, LIMIT_S)["pid"]
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(BackendTimeout):
        toys.ask("echo", {}, 0.2)
    wait_until(lambda: is_gone(pid))


def test_a_path_with_a_space_and_doubled_slashes_is_one_path(tmp_path: Path) -> None:
    (tmp_path / "my python").mkdir()
    (tmp_path / "my python" / "python").symlink_to(sys.executable)
    toys = toy_conversation(f"{tmp_path}//my python//python")
    assert toys.ask("echo", {"a": 1}, LIMIT_S) == {"a": 1}
    toys.close()


# --- other Pythons --------------------------------------------------------------------------------------------------


def find_python(name: str) -> str:
    """Return the path of a version in pyenv, or a path as it is."""
    if "/" in name:
        return name
    found = sorted(PYENV.glob(f"{name}.*/bin/python{name}"))
    if not found:
        pytest.skip(f"there is no Python {name} in {PYENV}")
    return str(found[-1])


def said_by(python: str, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=False).stdout.strip()


@pytest.mark.parametrize("name", [*PYTHONS, *(name for name in MORE_PYTHONS.split(os.pathsep) if name)])
def test_a_worker_runs_in_another_python_or_says_that_numpy_is_missing(name: str) -> None:
    python = find_python(name)
    if not said_by(python, "import numpy; print(numpy.__version__)"):
        message = failing_start(python)
        assert message.startswith(f"worker tensorrt ({python}): NumPy cannot be imported in this interpreter (")
        assert message.endswith(f"run: {python} -m pip install numpy")
        return
    toys = toy_conversation(python)
    sent = {"x": np.arange(6, dtype=">f4").reshape(2, 3)[:, ::2], "empty": np.empty((0, 3), bool)}
    answer = toys.ask("allocated", {"tensors": sent}, LIMIT_S)["tensors"]
    assert all(np.array_equal(answer[name], sent[name]) for name in sent)
    version = toys.ask("facts", {}, LIMIT_S)["version"]
    assert str(version) == said_by(python, "import sys; print(list(sys.version_info[:2]))")
    with pytest.raises(BackendCrash, match=r"(?s)died with SIGSEGV.*in crash"):
        toys.ask("crash", {"signal": "SIGSEGV"}, LIMIT_S)
    toys.close()


@pytest.mark.parametrize("version", OLD_PYTHONS)
def test_a_python_that_is_too_old_is_told(version: str) -> None:
    message = failing_start(find_python(version))
    assert "Error: " in message
    assert "expected CPython 3.8 or later" in message
