from __future__ import annotations

from typing import TYPE_CHECKING

from tests.plugin.conftest import PLAIN_AND_XDIST

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import RunPytest


@PLAIN_AND_XDIST
def test_onnxruntime_is_taken(run_pytest: RunPytest, good: Path, workers: tuple[str, ...]) -> None:
    run_pytest(*workers, "--parity-backend", "onnxruntime").assert_outcomes(passed=2)


def test_a_backend_that_is_not_there_is_a_usage_error(run_pytest: RunPytest, good: Path) -> None:
    result = run_pytest("--parity-backend", "tensorrt")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--parity-backend*tensorrt*onnxruntime*"])
