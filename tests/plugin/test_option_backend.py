from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from tests.plugin.conftest import PLAIN_AND_XDIST

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import RunPytest


@PLAIN_AND_XDIST
def test_onnxruntime_is_taken(run_pytest: RunPytest, good: Path, workers: tuple[str, ...]) -> None:
    run_pytest(*workers, "--parity-backend", "onnxruntime").assert_outcomes(passed=2)


def test_a_backend_that_is_not_known_is_a_usage_error(run_pytest: RunPytest, good: Path) -> None:
    result = run_pytest("--parity-backend", "tensorflow")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--parity-backend*tensorflow*onnxruntime*"])


def test_without_a_tensorrt_every_item_is_an_error_of_one_sentence(run_pytest: RunPytest, good: Path) -> None:
    result = run_pytest("--parity-backend", "tensorrt", "--parity-tensorrt-python", "/nowhere/python")
    result.assert_outcomes(failed=6)
    said = "ERROR: TensorRT's interpreter '/nowhere/python': there is no such file; *"
    assert len(fnmatch.filter(result.outlines, said)) == 6
    result.stdout.no_fnmatch_line("*Traceback*")
