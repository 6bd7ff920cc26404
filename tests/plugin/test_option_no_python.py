from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import PLAIN_AND_XDIST
from tests.tiny_cases import write_matmul_case

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import RunPytest


@pytest.fixture
def scripted(pytester: pytest.Pytester) -> Path:
    """A case with a Python function that leaves a mark when it runs."""
    folder = write_matmul_case(
        pytester.path / "scripted", inputs='[inputs]\nkind = "python"\nfunction = "feeds.py:make"\ncount = 1\n'
    )
    (folder / "feeds.py").write_text(
        "from pathlib import Path\n"
        "import numpy as np\n"
        "Path(__file__).with_name('mark').touch()\n"
        "def make(count):\n"
        "    yield {'x': np.linspace(-1, 1, 32, dtype=np.float32).reshape(4, 8)}\n",
        encoding="utf-8",
    )
    return folder


@PLAIN_AND_XDIST
def test_a_case_with_python_is_refused_and_its_file_is_not_executed(
    run_pytest: RunPytest, scripted: Path, workers: tuple[str, ...]
) -> None:
    result = run_pytest(*workers, "--parity-no-python")
    assert result.parseoutcomes().get("errors", 0) >= 1
    assert not (scripted / "mark").exists()


def test_without_the_option_its_function_runs(run_pytest: RunPytest, scripted: Path) -> None:
    run_pytest().assert_outcomes(passed=2)
    assert (scripted / "mark").exists()
