"""Processes forked from one that has imported all the command line needs: imports are most of a short command's time.

What a command does is done in a process of its own, with its own working directory, environment and streams. Only the
start of the interpreter is shared; where that is what is tested, start ``python -m parity`` instead.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

# What the commands load on their way. A name that is gone is passed over, and costs nothing but time.
PRELOADED = [
    *("onnxruntime", "onnx", "pandas", "scipy.stats", "cv2", "jinja2", "rich.table", "typer", "platformdirs"),
    *("parity.cli", "parity.case.loader", "parity.runner.case_judge", "parity.backends.onnxruntime"),
    *("parity.report.html", "parity.report.markdown", "parity.report.layers_csv", "parity.report.decoded_csv"),
    *("parity.layers", "parity.precision", "parity.repair", "parity.history"),
]
LIMIT_S = 120


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _enter(cwd: Path, environment: dict[str, str], output: Path, errors: Path) -> None:
    """Make the forked process one that was started there, with these streams."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for descriptor, file in ((1, output), (2, errors)):
        written = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(written, descriptor)
        os.close(written)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8")  # type: ignore[union-attr]


def _parity(words: list[str], cwd: Path, environment: dict[str, str], output: Path, errors: Path) -> None:
    _enter(cwd, environment, output, errors)
    sys.argv[1:] = words
    runpy.run_module("parity", run_name="__main__", alter_sys=True)


def run_warm_parity(
    words: list[str], cwd: Path, environment: dict[str, str], *, joined: bool = False, limit_s: float = LIMIT_S
) -> subprocess.CompletedProcess[str]:
    """Return what ``parity WORDS`` printed and its exit code; with ``joined``, all of it as standard output."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "stdout"
        errors = output if joined else Path(folder) / "stderr"
        process = _context().Process(target=_parity, args=(words, cwd, environment, output, errors))
        process.start()
        process.join(limit_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["parity", *words], limit_s)
        told = "" if joined else errors.read_text(encoding="utf-8")
        return subprocess.CompletedProcess(words, process.exitcode, output.read_text(encoding="utf-8"), told)
