"""The documentation's commands, run in a copy of the checkout, and how what they print is held against the page."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import takewhile
from typing import TYPE_CHECKING

import pytest
import typer.main

from parity.cli import app
from parity.pytest_settings import add_options
from tests.pages import PAGES, ROOT, Command, commands, read
from tests.tiny_cases import process_environment
from tests.warm_process import LIMIT_S, run_warm

if TYPE_CHECKING:
    from pathlib import Path

# Patterns of the beginnings of commands that test_docs_commands.py does not run, and what runs them.
NOT_RUN = {
    r"pip install|~/trt86/bin/pip install": "tests/documented/test_installs.py, because they fill an environment",
    r"python3(?:\.10)? -m venv|source ": "tests/documented/test_installs.py, for the installs that follow in one shell",
    r"pytest(?: tests/documented)?$|ruff |mypy$|lint-imports$": ".ci/run, because they examine the whole project",
    r"python benchmarks/": "tests/documented/test_scripts.py, because of the minutes",
    r"parity run cases/shapes_classifier cases/shapes_yolo ": "tests/documented/test_scripts.py, as above",
}
# Its program, for an interpreter whose folder of programs is not on the PATH.
POLYGRAPHY = "import sys; from polygraphy.tools import main; sys.exit(main())"
# Whether the tests of tests/documented run what they run at full length.
FULL = os.environ.get("PARITY_DOCUMENTED") == "full"
# Inline commands with something to fill in whose options stand in no block: what is run in their place.
FILLED = {
    "parity baseline update CASE --from RUN": "parity baseline update cases/shapes_classifier --from reports/*-kept",
    "parity run --resume RUN": "parity run --resume reports/*-kept",
    "parity run --resume RUN --history FILE": "parity run --resume reports/*-kept --history history.db",
}
_LATENCY = "parity latency cases/shapes_classifier --backend tensorrt --variant fp16"
FILLED_ON_GPU = {
    "parity latency --cuda-graph": f"{_LATENCY} --cuda-graph",
    "parity latency --layers": f"{_LATENCY} --layers",
    "parity latency --rebuilds": f"{_LATENCY} --rebuilds 1",
    "parity latency --rebuilds N": f"{_LATENCY} --rebuilds 1",
    "parity latency --seconds": f"{_LATENCY} --seconds 2",
    "parity latency --streams": f"{_LATENCY} --streams 2",
    "parity latency --warm-up-ms": f"{_LATENCY} --warm-up-ms 30",
}
# Those that tests/gpu/test_docs_on_gpu.py runs. The committed recording stands in for a GPU anywhere.
NEEDS_GPU = (
    r"(?:\w+=\S+ )*parity \w+ .*--(?:backend tensorrt|backend onnxruntime-|engine|tensorrt-python (?!recording=tests))",
    "pytest .*--parity-(?:backend tensorrt|tensorrt-python)",
    "polygraphy run .*--trt ",
)
WITH_COMMANDS = [page for page in PAGES if commands(page.read_text(encoding="utf-8"))]


# Programs that stand in inline code and in the cells of tables.
PROGRAMS = r"parity|pytest|python3?|pip|polygraphy|trtexec|ssh|bash|ruff|mypy|lint-imports|source|export"


def inline_commands(text: str) -> list[str]:
    """Return the commands in a page's inline code, of tables too, in order and once each; a bare name is none."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    codes = (" ".join(code.replace("\\|", "|").split()) for code in re.findall(r"`([^`]+)`", prose))
    lines = (line for code in codes for line in code.split(" && "))
    return list(dict.fromkeys(line for line in lines if re.match(rf"(?:\w+=\S+ )*(?:{PROGRAMS}) ", line)))


def simple_commands(page: Path) -> list[Command]:
    """Return a page's commands, those that ``&&`` joins each by itself; what is printed is the last one's."""
    found = []
    for command in commands(page.read_text(encoding="utf-8")):
        *first, last = command.text.split(" && ")
        found += [*(Command(text, "") for text in first), Command(last, command.output)]
    return found


def is_not_run(command: Command) -> bool:
    return any(re.match(pattern, command.text) for pattern in NOT_RUN)


def held_texts() -> list[str]:
    """Return every command that is not run as it stands by test_docs_commands.py: of blocks, and of inline code."""
    console = [command.text for page in WITH_COMMANDS for command in simple_commands(page) if is_not_run(command)]
    inline = [text for page in PAGES for text in inline_commands(page.read_text(encoding="utf-8"))]
    return list(dict.fromkeys([*console, *inline]))


def matching(pattern: str) -> list[str]:
    """Return those of the held commands that begin with a pattern."""
    return [text for text in held_texts() if re.match(pattern, text)]


# What the script of the continuous integration does, without its comments and headings.
CI = "\n".join(line for line in read(".ci/run").splitlines() if not re.match(r"\s*#|heading ", line))


def stands_in_ci(text: str) -> bool:
    """Tell whether .ci/run executes a command word for word."""
    return re.search(rf"(?:^|&& |\{{ ){re.escape(text)}(?:$|;| &&)", CI, re.MULTILINE) is not None


def needs_gpu(command: Command) -> bool:
    return any(re.match(pattern, command.text) for pattern in NEEDS_GPU)


def read_options(words: list[str]) -> None:
    """Read the options of a command without doing anything; an error if one does not exist or take its value."""
    if words[0] == "parity":
        typer.main.get_command(app).commands[words[1]].make_context(words[1], words[2:])  # type: ignore[attr-defined]
        return
    parser = pytest.Parser(_ispytest=True)
    add_options(parser)
    _, unknown = parser.parse_known_and_unknown_args(words[1:])
    # No assertion: outside of a test module it would say nothing.
    if missing := [word for word in unknown if word.startswith("--parity-")]:
        raise ValueError(f"there is no option {missing[0]}")


def without_digits(output: str) -> str:
    """Return an output with numbers, rules and line breaks evened out; of pytest's, what follows its header."""
    body = re.sub(r"\A.*test session starts.*?^(?=collected )", "", output, flags=re.DOTALL | re.MULTILINE)
    body = re.sub(r"[=_─]{3,}", " ", body)
    body = re.sub(r"\b(?:nan|inf)\b|[-+]?\d[\d.,e+-]*", "#", body)
    return " ".join(body.split())


def copy_checkout(folder: Path, count: int) -> Path:
    """Fill a folder with what the pages' commands read, and return it; the classifier judges so many images."""
    for name in ("cases/shapes_classifier", "reports/samples", "tests/data"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
    case_file = folder / "cases/shapes_classifier/case.toml"
    text = case_file.read_text(encoding="utf-8")
    case_file.write_text(text.replace("count = 256", f"count = {count}"), encoding="utf-8")
    return folder


def split_words(text: str) -> tuple[dict[str, str], list[str]]:
    """Return the variables that a command sets before its program, and its words from the program on."""
    words = shlex.split(text)
    assigned = list(takewhile(re.compile(r"[A-Z_]+=").match, words))
    return dict(word.split("=", 1) for word in assigned), words[len(assigned) :]


def expand(word: str, folder: Path) -> list[str]:
    """Return a word as a shell makes it: the files that a wildcard matches, else the word itself."""
    found = sorted(path.relative_to(folder).as_posix() for path in folder.glob(word)) if "/*" in word else []
    return found or [word]


def run_in(
    checkout: Path, text: str, cache: Path, *, limit_s: float = LIMIT_S, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Return what a command printed, on both streams, and its exit code."""
    programs = {
        "python": [],
        "polygraphy": ["-c", POLYGRAPHY],
    }
    own = {"parity": [], "pytest": ["-p", "parity.pytest_plugin", "-p", "xdist.plugin"]}
    assigned, plain = split_words(text)
    first, *words = (found for word in plain for found in expand(word, checkout))
    variables = {"PARITY_CACHE_DIR": str(cache), **variables, **assigned}
    environment = process_environment(COLUMNS="80", PYTHONUTF8="1", **variables)
    # Under CI pytest shortens no line; a user's own options must not change what is printed.
    kept = {name: value for name, value in environment.items() if name not in {"CI", "BUILD_NUMBER", "PYTEST_ADDOPTS"}}
    # Loading the environment's other plugins takes most of a short run's time, in each of its processes.
    kept["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    if first in own:
        return run_warm(first, [*own[first], *words], checkout, kept, joined=True, limit_s=limit_s)
    return subprocess.run(
        [sys.executable, *programs[first], *words],
        cwd=checkout,
        env=kept,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
        timeout=limit_s,
    )
