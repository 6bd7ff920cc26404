from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parity.errors import RunError
from parity.run_file import load_run
from parity.runner import RunFolder, RunSettings, run_cases
from tests.plugin.conftest import PLAIN_AND_XDIST
from tests.tiny_cases import write_matmul_case

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import RunPytest


@PLAIN_AND_XDIST
def test_one_run_is_saved_with_all_outcomes_and_reports(
    run_pytest: RunPytest, good: Path, hot: Path, pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    result = run_pytest(*workers, "--parity-out", "reports")
    result.assert_outcomes(passed=3, failed=1)
    [folder] = (pytester.path / "reports").iterdir()
    run = load_run(folder)
    assert {outcome.key: str(outcome.verdict) for outcome in run.outcomes} == {
        ("good", "fp32@onnxruntime", "outputs"): "pass",
        ("good", "fp16@onnxruntime", "outputs"): "pass",
        ("hot", "fp32@onnxruntime", "outputs"): "pass",
        ("hot", "fp16@onnxruntime", "outputs"): "fail",
    }
    assert {case.name for case in run.cases} == {"good", "hot"}
    assert run.is_complete
    assert {path.name for path in folder.iterdir()} >= {"outputs.csv", "summary.md", "report.html", "feeds"}
    [feed] = (folder / "feeds").iterdir()
    assert feed.name in next(outcome.replay for outcome in run.outcomes if outcome.replay)
    result.stdout.fnmatch_lines([f"parity: report: *{folder.name}/report.html"])


def test_nothing_is_made_where_nothing_is_judged(run_pytest: RunPytest, good: Path, pytester: pytest.Pytester) -> None:
    run_pytest("--parity-out", "reports", "--collect-only")
    run_pytest("--parity-out", "reports", "-k", "nothing")
    assert not (pytester.path / "reports").exists()


@PLAIN_AND_XDIST
def test_a_folder_that_cannot_be_made_ends_the_run_with_one_sentence(
    run_pytest: RunPytest, good: Path, pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    (pytester.path / "taken").write_text("a file", encoding="utf-8")
    result = run_pytest(*workers, "--parity-out", "taken")
    assert result.ret == 4
    assert "taken" in result.stderr.str()
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_a_run_that_cannot_be_saved_is_not_a_success(
    run_pytest: RunPytest, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: RunFolder, run: object) -> None:
        raise RunError("run.json: no space")

    monkeypatch.setattr(RunFolder, "save", refuse)
    result = run_pytest("--parity-out", "reports")
    result.assert_outcomes(passed=2)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["parity: the run could not be saved: run.json: no space"])


def test_two_cases_of_one_name_do_not_overwrite_each_other_in_silence(
    run_pytest: RunPytest, good: Path, pytester: pytest.Pytester
) -> None:
    write_matmul_case(pytester.path / "other" / "good")
    result = run_pytest("--parity-out", "reports")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*are cases of one name*"])


def test_the_command_line_does_not_resume_what_pytest_saved_and_says_what_does(
    run_pytest: RunPytest, good: Path, pytester: pytest.Pytester
) -> None:
    run_pytest("--parity-out", "reports")
    [folder] = (pytester.path / "reports").iterdir()
    with pytest.raises(RunError, match=r"was saved by pytest; run pytest again"):
        run_cases(RunSettings(resume=folder))
