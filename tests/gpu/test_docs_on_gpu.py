"""Every command of the documentation that needs a GPU is run on one, in copies of the checkout with few images.

Inline commands are run as ``FILLED_ON_GPU`` fills them in, and Polygraphy by the interpreter with TensorRT.

Three things are not as on the pages. ``cases/shapes_yolo`` is the classifier again, because half engines of the
detector take minutes; variants are built at optimization level 1; readings of latency are few and short. The board
behind ssh is this host: ``jetson`` leads to an sshd of the tests' own, whose ``python3`` is the interpreter with
TensorRT. All commands share a cache, and one that stands on several pages is run once.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
import tomlkit

from parity.backends import get_backend
from parity.errors import BackendError
from parity.options import Provider, SessionOptions
from tests.doc_commands import (
    FILLED_ON_GPU,
    POLYGRAPHY,
    WITH_COMMANDS,
    copy_checkout,
    expand,
    needs_gpu,
    run_in,
    simple_commands,
    without_digits,
)
from tests.gpu.models import conv_net, images
from tests.gpu.rig import TACTIC_SOURCES
from tests.pages import ROOT, Command
from tests.ssh_server import ssh_on_path, ssh_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from parity.backends.tensorrt.interpreter import Interpreter

    Figure = Callable[[str, float | str], None]

# The first page builds most of the engines.
pytestmark = [pytest.mark.gpu, pytest.mark.timeout(900)]

IMAGES = 8
LIMIT_S = 280.0
# Short readings of a small network are unsteady now and then, and what is told then is to measure again.
ATTEMPTS = 5
INTERPRETER = "~/trt86/bin/python"
BOARD = "ssh=jetson//"
ENGINE_FILES = ("release/model.plan", "release/detector.engine")
# What is added to a command, by its beginning, so that it costs seconds: of an option's values the last one counts.
SHORTER = {
    "parity baseline update": "--variant fp16 --measurements 2 --seconds 3",
    # Readings of a second scatter more than engines do: which one is slower is not asked here.
    "parity run .*--baseline check": "--variant fp16 --no-latency",
    "pytest .*--parity-baseline": "--parity-variant fp16 --parity-no-latency",
    "pytest": "--parity-variant fp16 --parity-variant int8",
    "parity latency": "--seconds 1 --warm-up-ms 20",
    "parity layers": "--limit 1",
}
# Whose output is not as the page shows it, with the reason.
UNLIKE_THE_PAGE = {
    "parity run cases/shapes_yolo --variant fp16 --backend tensorrt --baseline check": "the page shows one line of it"
}
ON_GPU = {page: [command for command in simple_commands(page) if needs_gpu(command)] for page in WITH_COMMANDS}


def is_of_onnxruntime(command: Command) -> bool:
    return "--backend onnxruntime-" in command.text


def is_of_a_board(command: Command) -> bool:
    return BOARD in command.text


def is_of_polygraphy(command: Command) -> bool:
    return command.text.startswith("polygraphy ")


def has_its_own_test(command: Command) -> bool:
    return is_of_onnxruntime(command) or is_of_a_board(command) or is_of_polygraphy(command)


def shorten(text: str) -> str:
    """Return a command with what makes it cost seconds."""
    added = next((more for beginning, more in SHORTER.items() if re.match(beginning, text)), "")
    return f"{text} {added}".strip()


def build_quickly(case_file: Path) -> None:
    """Let a case's variants be built in seconds, and give it the one that only the detector has."""
    case = tomlkit.parse(case_file.read_text(encoding="utf-8")).unwrap()
    calibrated = {"quantization": "implicit", "calibrator": "minmax"}
    case["variants"]["int8_minmax"] = {"precision": "int8", "build": calibrated}
    for variant in case["variants"].values():
        variant.setdefault("build", {}).update(optimization_level=1, tactic_sources=list(TACTIC_SOURCES))
    case_file.write_text(tomlkit.dumps(case), encoding="utf-8")


def open_checkout(folder: Path) -> Path:
    """Fill a folder with a copy of the checkout, and return it."""
    checkout = copy_checkout(folder, IMAGES)
    build_quickly(checkout / "cases/shapes_classifier/case.toml")
    shutil.copytree(checkout / "cases/shapes_classifier", checkout / "cases/shapes_yolo")
    return checkout


class Desk:
    """Where commands are run: the interpreter and the cache that all of them share, and what was run already."""

    def __init__(self, interpreter: str, cache: Path) -> None:
        self._interpreter = interpreter
        self.cache = cache
        self._done: set[str] = set()

    def run(self, text: str, checkout: Path, **more: str) -> tuple[int, str] | None:
        """Return a command's exit code and what it printed; None where another page has had it run."""
        short = shorten(text)
        if short in self._done:
            return None
        self._done.add(short)
        here = short.replace(INTERPRETER, shlex.quote(self._interpreter))
        variables = {"PARITY_TENSORRT_PYTHON": self._interpreter, **more}
        for _ in range(ATTEMPTS):
            done = run_in(checkout, here, self.cache, limit_s=LIMIT_S, **variables)
            if done.returncode != 2 or "unsteady:" not in done.stdout:
                break
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def desk(interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(interpreter.label, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def plan(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an engine file: what a command that stands on several pages builds."""
    checkout = open_checkout(tmp_path_factory.mktemp("release"))
    text = f"parity run cases/shapes_classifier --variant fp16 --tensorrt-python {INTERPRETER}"
    code, printed = desk.run(text, checkout) or (None, "")
    assert code == 0, f"$ {text}\n{printed}"
    [engine] = desk.cache.glob("engines/*/engine.plan")
    return engine


@pytest.fixture
def checkout(plan: Path, tmp_path: Path) -> Path:
    """Return a copy of the checkout, with the engine files that pages name."""
    for file in ENGINE_FILES:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copyfile(plan, tmp_path / file)
    return open_checkout(tmp_path)


def require_as_on_the_page(command: Command, code: int, printed: str) -> None:
    """Assert a command's exit code, and its output where the page shows one."""
    told = f"$ {command.text}\n{printed}"
    if command.text.startswith("parity doctor"):
        # What else is amiss on the machine is not the question.
        assert code in {0, 2}, told
        assert re.search(r"^good +tensorrt in ", printed, re.MULTILINE), told
        return
    assert code == 0, told
    if command.output.strip() and command.text not in UNLIKE_THE_PAGE:
        assert without_digits(printed) == without_digits(command.output), told


@pytest.mark.parametrize(
    "page",
    [page for page, found in ON_GPU.items() if not all(map(has_its_own_test, found))],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_the_commands_of_a_page_do_on_a_gpu_what_it_says(
    desk: Desk, checkout: Path, page: Path, figure: Figure
) -> None:
    for command in ON_GPU[page]:
        began = time.perf_counter()
        if has_its_own_test(command) or (done := desk.run(command.text, checkout)) is None:
            continue
        figure(f"s, {shorten(command.text)}", round(time.perf_counter() - began, 1))
        require_as_on_the_page(command, *done)


@pytest.fixture
def cuda_provider() -> None:
    """Skip where ONNX Runtime has no CUDA provider, or has one that does not load."""
    try:
        with get_backend("onnxruntime").open(conv_net(1, 8), SessionOptions(provider=Provider.CUDA)) as session:
            session.run(images(1, 8))
    except BackendError as missing:
        pytest.skip(f"ONNX Runtime on CUDA: {missing}")


def test_the_commands_of_onnxruntime_on_a_gpu_do_what_the_pages_say(
    desk: Desk, checkout: Path, cuda_provider: None
) -> None:
    for command in filter(is_of_onnxruntime, [command for found in ON_GPU.values() for command in found]):
        done = desk.run(command.text, checkout)
        assert done is not None
        require_as_on_the_page(command, *done)


def test_inline_commands_do_on_a_gpu_what_the_pages_say(desk: Desk, checkout: Path) -> None:
    for text in FILLED_ON_GPU.values():
        if (done := desk.run(text, checkout)) is not None:
            assert done[0] == 0, f"$ {text}\n{done[1]}"


def test_polygraphys_own_engines_agree_with_the_page(
    checkout: Path, interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if "python=" not in interpreter.spec or not interpreter.is_local:
        pytest.skip(f"{interpreter.label} is no path, which could start Polygraphy")
    page = ROOT / "docs/interop.md"
    cache = tmp_path_factory.mktemp("interop")
    for command in simple_commands(page)[:3]:
        run_in(checkout, command.text, cache)
    codes = []
    for command in ON_GPU[page]:
        words = [word for part in shlex.split(command.text)[1:] for word in expand(part, checkout)]
        words += ["--builder-optimization-level", "1"]
        python = interpreter.spec.partition("python=")[2]
        done = subprocess.run(
            [python, "-c", POLYGRAPHY, *words],
            cwd=checkout,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
        assert re.search(r"(?:PASSED|FAILED) \|", done.stdout), done.stdout
        codes.append(done.returncode)
    assert codes == [0, 1]


@pytest.fixture
def way_to_the_board(interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return a PATH whose ``ssh`` finds the board by its name on the pages."""
    if "python=" not in interpreter.spec or not interpreter.is_local:
        pytest.skip(f"{interpreter.label} is no path, which ssh could start")
    folder = tmp_path_factory.mktemp("board")
    python = folder / "there" / "python3"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {interpreter.spec.partition("python=")[2]} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    with ssh_server(folder, python.parent) as server:
        yield ssh_on_path(server, folder)


def test_the_commands_for_a_board_do_what_the_pages_say(desk: Desk, checkout: Path, way_to_the_board: str) -> None:
    for command in filter(is_of_a_board, [command for found in ON_GPU.values() for command in found]):
        code, printed = desk.run(command.text, checkout, PATH=way_to_the_board) or (None, "")
        assert code is not None
        require_as_on_the_page(command, code, printed)
        # Of the same release as the interpreter here, so that it is the second of its name.
        there = r"good tensorrt in ssh=jetson//" if "parity doctor" in command.text else r"fp16@tensorrt-[\d.]+-2\b"
        assert re.search(there, " ".join(printed.split())), f"$ {command.text}\n{printed}"


def test_no_exception_has_outlived_its_command() -> None:
    texts = [command.text for found in ON_GPU.values() for command in found]
    beginnings = [pattern for pattern in SHORTER if not any(re.match(pattern, text) for text in texts)]
    assert beginnings + sorted(set(UNLIKE_THE_PAGE) - set(texts)) == []
    assert all(any(part in text for text in texts) for part in (INTERPRETER, BOARD, *ENGINE_FILES))
