from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from parity.baseline.machine import machine_of
from parity.errors import BaselineError, RunError
from parity.pytest_recorder import Recorder
from parity.pytest_settings import SETTINGS
from parity.run_file import load_run, run_to_json
from parity.runner import RunFolder, RunSettings, run_cases
from tests.accepted import GPU_HOST, WORKER, gpu_run, outputs_outcome
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


@pytest.mark.parametrize(
    ("workers", "fault_and_what_is_told"),
    [
        (("-n", "1"), ("os._exit(3)", "crashed while running")),
        ((), ("raise OSError('no device')", "no device")),
    ],
    ids=["a process that is killed", "a hook that fails"],
)
def test_an_item_that_ends_without_an_outcome_is_an_error_of_the_saved_run(
    run_pytest: RunPytest,
    good: Path,
    pytester: pytest.Pytester,
    workers: tuple[str, ...],
    fault_and_what_is_told: tuple[str, str],
) -> None:
    fault, told = fault_and_what_is_told
    pytester.makeconftest(f"import os\ndef pytest_runtest_setup(item):\n    if 'fp16' in item.nodeid: {fault}\n")
    run_pytest(*workers, "--parity-out", "reports", "--parity-history", "history.db")
    [folder] = (pytester.path / "reports").iterdir()
    run = load_run(folder)
    verdicts = {outcome.variant: str(outcome.verdict) for outcome in run.outcomes}
    assert verdicts == {"fp32@onnxruntime": "pass", "fp16@onnxruntime": "error"}
    assert told in run.outcomes[-1].headline
    assert run.exit_code == 2
    assert told in (folder / "summary.md").read_text(encoding="utf-8")


def test_a_run_that_stops_at_its_first_failure_is_not_finished_and_not_in_the_history(
    run_pytest: RunPytest, hot: Path, pytester: pytest.Pytester
) -> None:
    result = run_pytest("-x", "--parity-variant", "fp16", "--parity-out", "reports", "--parity-history", "history.db")
    [folder] = (pytester.path / "reports").iterdir()
    assert not load_run(folder).is_complete
    assert not (pytester.path / "history.db").exists()
    result.stdout.fnmatch_lines(["parity: the run was not finished, so it is not in *history.db"])


def test_processes_on_two_kinds_of_gpu_stand_in_the_run_both_and_no_figure_is_taken_for_one_of_them(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    recorder = Recorder(replace(pytestconfig.stash[SETTINGS], history=None), tmp_path)
    recorder._open()
    for label, gpu in (("fp32@tensorrt-8.6", "NVIDIA H200"), ("fp16@tensorrt-8.6", "NVIDIA L4")):
        host = replace(GPU_HOST, workers=(replace(WORKER, gpu=gpu),))
        arrived = replace(gpu_run(outputs_outcome(label=label)), environment=host)
        for _ in range(2):
            recorder.pytest_runtest_logreport(SimpleNamespace(parity_run=run_to_json(arrived), nodeid=label))
    [folder] = tmp_path.iterdir()
    environment = load_run(folder).environment
    assert [worker.gpu for worker in environment.workers] == ["NVIDIA H200", "NVIDIA L4"]
    with pytest.raises(BaselineError, match="does not say on which GPU it ran"):
        machine_of(environment, "fp16@tensorrt-8.6")
