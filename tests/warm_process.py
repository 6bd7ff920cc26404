"""Processes forked from one that has imported all the command line needs: imports are most of a short command's time.

What a command does is done in a process of its own, with its own working directory, environment and streams. Only the
start of the interpreter is shared; where that is what is tested, start ``python -m parity`` instead.
"""

from __future__ import annotations

import multiprocessing.popen_forkserver
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import execnet.gateway_io

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

    import pytest

# What the commands load on their way, and tests.warmth what they make once in a process. A name that is gone is passed
# over, and costs nothing but time.
PRELOADED = [
    "tests.warmth",
    *("onnxruntime", "onnx", "pandas", "scipy.stats", "cv2", "jinja2", "rich.console", "rich.table", "rich.progress"),
    *("typer", "platformdirs", "tomlkit", "pytest", "execnet"),
    *("parity.cli", "parity.case.loader", "parity.runner.case_judge", "parity.backends.onnxruntime"),
    *("parity.report.html", "parity.report.markdown", "parity.report.layers_csv", "parity.report.decoded_csv"),
    *("parity.report.pictures", "parity.layers", "parity.precision", "parity.repair", "parity.history"),
]
LIMIT_S = 120


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _go_to(cwd: Path, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)


def _enter(cwd: Path, environment: dict[str, str], output: Path, errors: Path) -> None:
    """Make the forked process one that was started there, with these streams."""
    _go_to(cwd, environment)
    for descriptor, file in ((1, output), (2, errors)):
        written = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(written, descriptor)
        os.close(written)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8")  # type: ignore[union-attr]


def _run_module(
    module: str, words: list[str], *, cwd: Path, environment: dict[str, str], output: Path, errors: Path
) -> None:
    _enter(cwd, environment, output, errors)
    sys.argv[1:] = words
    sys.path.insert(0, str(cwd))
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def run_warm(
    module: str,
    words: list[str],
    cwd: Path,
    environment: dict[str, str],
    *,
    joined: bool = False,
    limit_s: float = LIMIT_S,
) -> subprocess.CompletedProcess[str]:
    """Return what ``python -m MODULE WORDS`` printed and its exit code; with ``joined``, all is standard output."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "stdout"
        errors = output if joined else Path(folder) / "stderr"
        streams = {"output": output, "errors": errors}
        process = _context().Process(
            target=_run_module, args=(module, words), kwargs={"cwd": cwd, "environment": environment, **streams}
        )
        process.start()
        process.join(limit_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([module, *words], limit_s)
        told = "" if joined else errors.read_text(encoding="utf-8")
        return subprocess.CompletedProcess(words, process.exitcode, output.read_text(encoding="utf-8"), told)


def _serve(bootstrap: str, cwd: Path, environment: dict[str, str], told: Path, answers: Path) -> None:
    _go_to(cwd, environment)
    for descriptor, pipe, mode in ((0, told, os.O_RDONLY), (1, answers, os.O_WRONLY)):
        opened = os.open(pipe, mode)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = os.fdopen(0, closefd=False)
    exec(bootstrap, {"__name__": "__main__"})


class _WarmPopen:
    """What execnet asks of ``subprocess.Popen``, of a forked process that runs the same line of Python."""

    def __init__(self, bootstrap: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            told, answers = Path(folder, "told"), Path(folder, "answers")
            os.mkfifo(told)
            os.mkfifo(answers)
            arguments = bootstrap, Path.cwd(), dict(os.environ), told, answers
            self._process = _context().Process(target=_serve, args=arguments)
            self._process.start()
            # Each waits for its other end, in the order of the forked process.
            self.stdin, self.stdout = told.open("wb"), answers.open("rb")
        self.kill = self._process.kill

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode


def fork_execnets_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the processes of execnet that run this interpreter, such as pytest-xdist's, forked from the warm one."""
    kind = execnet.gateway_io.Popen2IOMaster
    plain = kind.__init__

    def start(self: Any, args: list[str], execmodel: Any) -> None:
        interpreter, *options, bootstrap = args
        if interpreter != sys.executable or options != ["-u", "-c"]:
            plain(self, args, execmodel)
            return
        self.popen = _WarmPopen(bootstrap)
        execnet.gateway_io.Popen2IO.__init__(self, self.popen.stdin, self.popen.stdout, execmodel)

    monkeypatch.setattr(kind, "__init__", start)
