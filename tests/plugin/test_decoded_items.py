"""Cases that decode have one more test a variant, which prints its own message and carries its own figures."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from tests.plugin.conftest import PLAIN_AND_XDIST
from tests.tiny_detector import CASE_FILE, IMAGE_COUNT, OBJECTS, write_detector_case

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import RunPytest

# What fp16 disagrees with: a gate that nothing meets.
GATE = '[[gates]]\nvariant = "fp16"\nfigure = "reference_count"\nmax = 1\nreason = "for this test"\n'


@pytest.fixture
def detector(pytester: pytest.Pytester) -> Path:
    """A case that decodes, whose fp16 fails that check alone."""
    return write_detector_case(pytester.path / "cases" / "tiny", text=CASE_FILE + GATE)


def test_the_check_is_an_item_behind_outputs(run_pytest: RunPytest, detector: Path) -> None:
    run_pytest("--collect-only", "-q").stdout.fnmatch_lines(
        [
            f"cases/tiny/case.toml::{variant}@onnxruntime::{check}"
            for variant in ("fp32", "fp16")
            for check in ("outputs", "decoded")
        ]
    )


def test_a_case_that_does_not_decode_has_no_such_item(run_pytest: RunPytest, good: Path) -> None:
    assert "decoded" not in run_pytest("--collect-only", "-q").stdout.str()


@PLAIN_AND_XDIST
def test_the_item_that_disagrees_fails_and_prints_its_message(
    run_pytest: RunPytest, detector: Path, workers: tuple[str, ...]
) -> None:
    result = run_pytest(*workers, "-rA")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*reference_count*",
            "in: tiny / fp16@onnxruntime / decoded",
            "next: parity run cases/tiny --variant fp16@onnxruntime*",
            "FAILED cases/tiny/case.toml::fp16@onnxruntime::decoded*",
        ]
    )


def test_an_id_selects_the_check_alone(run_pytest: RunPytest, detector: Path) -> None:
    run_pytest("cases/tiny/case.toml::fp32@onnxruntime::decoded").assert_outcomes(passed=1)


def test_junit_carries_the_decoded_figures(run_pytest: RunPytest, detector: Path, pytester: pytest.Pytester) -> None:
    run_pytest("--junit-xml", "junit.xml", "-k", "fp32 and decoded")
    [case] = ET.parse(pytester.path / "junit.xml").iter("testcase")
    figures = {entry.get("name"): entry.get("value") for entry in case.iter("property")}
    assert float(figures["decoded.reference_count"] or 0) == IMAGE_COUNT * (len(OBJECTS) - 1)
    assert float(figures["decoded.missed_share"] or 1) == 0


def test_a_saved_run_has_the_pictures_that_its_outcomes_name(
    run_pytest: RunPytest, detector: Path, pytester: pytest.Pytester
) -> None:
    from parity.run_file import load_run

    run_pytest("--parity-out", "reports", "-k", "fp32")
    [folder] = (pytester.path / "reports").iterdir()
    [record] = [outcome.decoded for outcome in load_run(folder).outcomes if outcome.decoded]
    assert all(image.picture and (folder / image.picture).is_file() for image in record.images)


def test_the_fixture_judges_the_check(run_pytest: RunPytest, detector: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        from pathlib import Path
        import pytest
        from parity.errors import RunError

        def test_outcome(parity):
            assert parity.run("cases/tiny", variant="fp32", check="decoded").verdict == "pass"
            assert parity.run("cases/tiny", variant="fp16", check="decoded").verdict == "fail"

        def test_what_a_case_does_not_decode(parity):
            folder = Path("cases/tiny")
            text = folder.joinpath("case.toml").read_text()
            start, end = text.index("[decode]"), text.index("[variants.fp32]")
            folder.joinpath("plain.toml").write_text(text[:start] + text[end : text.index("[[gates]]")])
            with pytest.raises(RunError, match="check 'decoded': is not made on onnxruntime; expected one of outputs"):
                parity.run("cases/tiny/plain.toml", variant="fp32", check="decoded")
    """)
    run_pytest("-m", "not parity").assert_outcomes(passed=2)
