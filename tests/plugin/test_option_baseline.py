from __future__ import annotations

import json
from typing import TYPE_CHECKING

from parity.run_file import load_run
from parity.runner.settings import LatencyProtocol
from tests.plugin.conftest import PLAIN_AND_XDIST

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.plugin.conftest import RunPytest


def file_of(case: Path) -> Path:
    [file] = (case / "baseline").glob("*.json")
    return file


def test_without_the_option_there_is_no_such_item(run_pytest: RunPytest, good: Path) -> None:
    result = run_pytest("--collect-only", "-q")
    assert "baseline" not in result.stdout.str()


@PLAIN_AND_XDIST
def test_a_baseline_is_missing_then_made_by_all_workers_then_kept(
    run_pytest: RunPytest, good: Path, workers: tuple[str, ...]
) -> None:
    missing = run_pytest(*workers, "--parity-baseline", "check")
    missing.assert_outcomes(passed=2, failed=2)
    missing.stdout.fnmatch_lines(["next: parity baseline update *good --variant fp16@onnxruntime"])
    run_pytest(*workers, "--parity-baseline", "update").assert_outcomes(passed=4)
    assert set(json.loads(file_of(good).read_text(encoding="utf-8"))["variants"]) == {
        *("fp32@onnxruntime", "fp16@onnxruntime"),
    }
    run_pytest(*workers, "--parity-baseline", "check").assert_outcomes(passed=4)


def test_the_item_stands_behind_the_variants_other_checks(run_pytest: RunPytest, good: Path) -> None:
    result = run_pytest("--collect-only", "-q", "--parity-baseline=check")
    result.stdout.fnmatch_lines(
        ["cases/good/case.toml::fp32@onnxruntime::outputs", "cases/good/case.toml::fp32@onnxruntime::baseline"],
        consecutive=True,
    )


def test_an_item_alone_judges_what_it_needs(run_pytest: RunPytest, good: Path) -> None:
    run_pytest("--parity-baseline", "update")
    result = run_pytest("--parity-baseline", "check", "cases/good/case.toml::fp16@onnxruntime::baseline")
    result.assert_outcomes(passed=1)


def test_a_changed_figure_fails_and_the_saved_run_says_so(
    run_pytest: RunPytest, good: Path, pytester: pytest.Pytester
) -> None:
    run_pytest("--parity-baseline", "update")
    file = file_of(good)
    content = json.loads(file.read_text(encoding="utf-8"))
    content["variants"]["fp16@onnxruntime"]["figures"]["outputs"]["y"]["sqnr_db"] = 200
    file.write_text(json.dumps(content), encoding="utf-8")
    result = run_pytest("--parity-baseline", "check", "--parity-out", "reports")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["outputs y sqnr_db 200 -> * dB, worse: is not what was accepted"])
    [folder] = (pytester.path / "reports").iterdir()
    verdicts = {outcome.key: str(outcome.verdict) for outcome in load_run(folder).outcomes}
    assert verdicts["good", "fp16@onnxruntime", "baseline"] == "fail"
    assert verdicts["good", "fp32@onnxruntime", "baseline"] == "pass"


def test_what_was_accepted_and_is_no_more_is_an_item_of_its_own(run_pytest: RunPytest, good: Path) -> None:
    run_pytest("--parity-baseline", "update")
    case_file = good / "case.toml"
    text = case_file.read_text(encoding="utf-8")
    case_file.write_text(text.replace("[variants.fp16]", "[variants.half]"), encoding="utf-8")
    result = run_pytest("--parity-baseline", "check", "--parity-variant", "fp32")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*has fp16@onnxruntime, and the case has no such variant"])
    result.stdout.fnmatch_lines(["FAILED cases/good/case.toml::baseline*"])


def test_a_damaged_file_is_an_error_and_no_difference(run_pytest: RunPytest, good: Path) -> None:
    run_pytest("--parity-baseline", "update")
    file_of(good).write_text("{", encoding="utf-8")
    result = run_pytest("--parity-baseline", "check")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["ERROR: *is no baseline*"])


def test_latency_is_measured_where_it_was_accepted(
    run_pytest: RunPytest, good: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = LatencyProtocol.__init__.__defaults__ or ()
    monkeypatch.setattr(LatencyProtocol.__init__, "__defaults__", (0.0, 3, 0.0, *defaults[3:]))
    run_pytest("--parity-baseline", "update")
    file = file_of(good)
    content = json.loads(file.read_text(encoding="utf-8"))
    # Whatever this machine does, it does not take ten seconds for two matrix products.
    series = {"clock": "host", "measurements_ms": [[1e4, 1e4], [1e4, 1e4]]}
    content["variants"]["fp16@onnxruntime"]["latency"] = {"4": series}
    file.write_text(json.dumps(content), encoding="utf-8")
    result = run_pytest("--parity-baseline", "check", "--parity-out", "reports")
    result.assert_outcomes(passed=4)
    [folder] = (pytester.path / "reports").iterdir()
    timed = [outcome.variant for outcome in load_run(folder).outcomes if outcome.check == "latency"]
    assert timed == ["fp16@onnxruntime"]
