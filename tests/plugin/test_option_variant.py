from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import PLAIN_AND_XDIST

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import RunPytest


@PLAIN_AND_XDIST
def test_only_the_named_variants_are_collected(run_pytest: RunPytest, hot: Path, workers: tuple[str, ...]) -> None:
    run_pytest(*workers, "--parity-variant", "fp32").assert_outcomes(passed=1)


@pytest.mark.parametrize("pattern", ["fp16", "fp16@onnxruntime", "*16"])
def test_names_labels_and_wildcards_are_taken(run_pytest: RunPytest, hot: Path, pattern: str) -> None:
    run_pytest("--parity-variant", pattern).assert_outcomes(failed=1)


def test_the_option_is_repeatable(run_pytest: RunPytest, good: Path) -> None:
    run_pytest("--parity-variant", "fp32", "--parity-variant", "fp16").assert_outcomes(passed=2)
