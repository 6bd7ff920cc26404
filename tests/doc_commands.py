"""The documentation's commands, run in a copy of the checkout, and how what they print is held against the page."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from itertools import takewhile
from typing import TYPE_CHECKING

from tests.pages import PAGES, ROOT, Command, commands
from tests.tiny_cases import process_environment
from tests.warm_process import LIMIT_S, run_warm

if TYPE_CHECKING:
    from pathlib import Path

# Patterns of the beginnings of commands that are not run as they stand, each with its reason. Every one has a test of
# its own in tests/cli/test_docs_held.py, which fails where the command would.
NOT_RUN = {
    r"pip install|~/trt86/bin/pip install": "fills an environment, for a GPU with gigabytes",
    r"python3(?:\.10)? -m venv|source ": "of use to what follows in the same shell alone",
    r"pytest$|ruff |mypy$|lint-imports$": "examine the whole project, which .ci/run does; pytest would start itself",
    r"python benchmarks/": "minutes at full length, or torch and torchvision",
    r"parity run cases/shapes_classifier cases/shapes_yolo ": "a minute with all of its images",
}
# Those that tests/gpu/test_docs_on_gpu.py runs. The committed recording stands in for a GPU anywhere.
NEEDS_GPU = (
    r"(?:\w+=\S+ )*parity \w+ .*--(?:backend tensorrt|backend onnxruntime-|engine|tensorrt-python (?!recording=tests))",
    "pytest .*--parity-(?:backend tensorrt|tensorrt-python)",
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


def needs_gpu(command: Command) -> bool:
    return any(re.match(pattern, command.text) for pattern in NEEDS_GPU)


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
        "polygraphy": ["-c", "import sys; from polygraphy.tools import main; sys.exit(main())"],
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
