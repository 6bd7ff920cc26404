from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.tiny_cases import PLUGIN, process_environment

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = (
    "cv2", "jinja2", "ml_dtypes", "numpy", "onnx", "onnxruntime", "pandas", "pydantic", "rich", "tensorrt", "typer",
)  # fmt: skip


def loaded_by(statement: str) -> set[str]:
    """Return which heavy packages a fresh interpreter has after a statement."""
    code = f"import sys\n{statement}\nprint('loaded:', *(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=process_environment()
    )
    return set(done.stdout.splitlines()[-1].removeprefix("loaded:").split())


def test_importing_the_package_and_the_plugin_loads_nothing_heavy() -> None:
    assert loaded_by("import parity, parity.pytest_plugin") == set()


def test_a_pytest_run_without_cases_loads_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text("def test_nothing(): pass", encoding="utf-8")
    arguments = [*PLUGIN, "-p", "no:cacheprovider", str(tmp_path)]
    statement = "import pytest; assert pytest.main({0!r}) == 0"
    with_plugin = loaded_by(statement.format(arguments))
    without_plugin = loaded_by(statement.format(["-p", "no:parity", *arguments[len(PLUGIN) :]]))
    assert with_plugin == without_plugin


def test_the_probe_sees_what_is_loaded() -> None:
    assert "numpy" in loaded_by("import numpy")
