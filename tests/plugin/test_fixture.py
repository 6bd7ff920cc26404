from __future__ import annotations

from typing import TYPE_CHECKING

from tests.plugin.conftest import PLAIN_AND_XDIST

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.plugin.conftest import RunPytest


@PLAIN_AND_XDIST
def test_the_fixture_judges_cases_and_compares_arrays(
    run_pytest: RunPytest, hot: Path, pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    pytester.makepyfile("""
        import numpy as np
        import pytest
        from parity.errors import RunError

        def test_outcome(parity):
            assert parity.run("cases/hot", variant="fp32").verdict == "pass"
            assert parity.run("cases/hot", variant="fp16").verdict == "fail"

        def test_unknown_variant(parity):
            with pytest.raises(RunError, match="fp8.*expected one of fp32, fp16"):
                parity.run("cases/hot", variant="fp8")

        def test_arrays(parity):
            expected = np.arange(3.0)
            parity.assert_close(expected, expected, rtol=1e-3, atol=1e-3)
            with pytest.raises(AssertionError):
                parity.assert_close(expected + 1, expected, rtol=1e-3, atol=1e-3)

        def test_detections(parity):
            image = {"boxes": [[0, 0, 10, 10], [20, 0, 30, 10]], "scores": [0.9, 0.8], "classes": [0, 1]}
            parity.assert_detections_agree(image, image)
            with pytest.raises(AssertionError, match="class_flip_share is 0.5"):
                parity.assert_detections_agree(image, {**image, "classes": [0, 0]})
    """)
    run_pytest(*workers, "-m", "not parity").assert_outcomes(passed=4)
