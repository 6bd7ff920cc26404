"""Every script of the documentation is run, by the command that a page gives for it.

Benchmarks and trainings take minutes, and some of them a GPU: they are run in their own smoke form, the exports with
one model. ``PARITY_DOCUMENTED=full`` leaves that away. Exports and trainings need torch, which is skipped for where it
is missing. The run that makes the committed samples is run as it stands.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.doc_commands import FULL, matching, run_in
from tests.pages import PAGES, ROOT
from tests.tiny_cases import process_environment

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_S = 7200 if FULL else 600
pytestmark = pytest.mark.timeout(LIMIT_S)
BENCHMARKS = matching("python benchmarks/")
# Those that no page names have a smoke form as well.
UNNAMED = [
    text
    for path in sorted((ROOT / "benchmarks").glob("bench_*.py"))
    if (text := f"python benchmarks/{path.name}") not in BENCHMARKS
]
CASE_SCRIPTS = matching("python cases/")
# What is appended so that a command costs seconds, by a part of it; anything else has a smoke form.
SHORTER = {"try_exports.py": "resnet18", "--smoke": ""}
NEEDED = {
    "bench_compare.py": ("polygraphy",),
    "try_exports.py": ("torch", "torchvision", "timm"),
    "/training/": ("torch",),
}
# What a checkout has that scripts do not read.
NOT_READ = shutil.ignore_patterns(".*_cache", "__pycache__")


def shorten(text: str) -> str:
    """Return a command with what makes it cost seconds."""
    added = next((more for part, more in SHORTER.items() if part in text), "--smoke")
    return text if FULL else f"{text} {added}".strip()


def require_packages(text: str) -> None:
    """Skip where a script's packages are missing: but for Polygraphy, no extra brings them."""
    needed = next((names for part, names in NEEDED.items() if part in text), ())
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        pytest.skip(f"{', '.join(missing)}: not installed")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of the checkout, because scripts write beside what they read."""
    for name in ("benchmarks", "cases", "parity", "reports/samples", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=NOT_READ)
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    return tmp_path


def run_script(text: str, checkout: Path, folder: str = ".") -> str:
    """Run a command in a folder of the checkout, require exit code 0, and return what it printed."""
    path = os.pathsep.join(filter(None, [str(checkout), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *shlex.split(text)[1:]],
        cwd=checkout / folder,
        env=process_environment(PARITY_CACHE_DIR=str(checkout / "cache"), PYTHONPATH=path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, f"$ {text}\n{done.stdout}"
    return done.stdout


@pytest.mark.parametrize("text", [*BENCHMARKS, *UNNAMED])
def test_a_benchmark_is_run_by_its_command(text: str, checkout: Path) -> None:
    require_packages(text)
    printed = run_script(shorten(text), checkout)
    assert re.search(r"\d", printed), printed


@pytest.mark.parametrize("text", CASE_SCRIPTS)
def test_a_script_of_a_case_writes_its_model_again(text: str, checkout: Path) -> None:
    require_packages(text)
    model = (checkout / shlex.split(text)[1]).parent
    model = (model.parent if model.name == "training" else model) / "model.onnx"
    committed = model.read_bytes()
    model.unlink()
    is_training = "/training/" in text
    run_script(shorten(text) if is_training else text, checkout)
    # Few steps of a training give another network, and the same one every time the converter.
    assert (model.read_bytes() == committed) is not is_training


def pages_with(text: str) -> list[str]:
    """Return the case folders on whose page a command stands."""
    of_cases = [page for page in PAGES if page.parent.parent.name == "cases"]
    return [page.parent.name for page in of_cases if text in page.read_text(encoding="utf-8")]


def pictures(folder: Path) -> dict[str, bytes]:
    """Return the pixels of the PNG files in a folder, by name."""
    import cv2

    return {path.name: cv2.imread(str(path)).tobytes() for path in folder.glob("*.png")}


@pytest.mark.parametrize("case", pages_with("`python data.py images`"))
def test_the_sample_images_of_a_case_are_drawn_again_as_they_are(case: str, checkout: Path) -> None:
    folder = checkout / "cases" / case
    committed = pictures(folder / "images")
    shutil.rmtree(folder / "images")
    run_script("python data.py images", checkout, f"cases/{case}")
    assert len(committed) == 4
    assert pictures(folder / "images") == committed


def test_the_committed_samples_are_made_by_the_pages_command(checkout: Path) -> None:
    [text] = matching("parity run cases/shapes_classifier cases/shapes_yolo ")
    committed = set((checkout / "reports/samples").glob("*-sample"))
    made = run_in(checkout, "python -m tests.planted_case reports/hot_classifier", checkout / "cache")
    assert made.returncode == 0, made.stdout
    done = run_in(checkout, text, checkout / "cache", limit_s=LIMIT_S)
    # The planted overflow fails.
    assert done.returncode == 1, done.stdout
    [made_now] = {*(checkout / "reports/samples").glob("*-sample")} - committed
    [kept] = committed
    assert {path.name for path in kept.iterdir()} <= {path.name for path in made_now.iterdir()}


def test_every_script_has_a_test_here() -> None:
    here = {*BENCHMARKS, *CASE_SCRIPTS, "python data.py images"}
    assert [text for text in matching("python ") if text not in here] == []
    assert len(BENCHMARKS) + len(UNNAMED) >= len(list((ROOT / "benchmarks").glob("*.py")))
    assert len(CASE_SCRIPTS) >= 5
