from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, NamedTuple

import pytest

from parity.run_file import load_run
from tests.tiny_cases import write_matmul_case

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

    from tests.cli.conftest import RunParity


class Judged(NamedTuple):
    """One run of a good and a hot case, on which many things are asserted."""

    root: Path
    folder: Path
    process: CompletedProcess[str]


@pytest.fixture(scope="module")
def judged(run_parity: RunParity, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    root = tmp_path_factory.mktemp("project")
    write_matmul_case(root / "cases" / "good")
    write_matmul_case(root / "cases" / "hot", scale=1e6)
    process = run_parity("run", cwd=root)
    [folder] = (root / "reports").iterdir()
    return Judged(root, folder, process)


def test_without_a_case_all_of_cases_are_judged(judged: Judged) -> None:
    assert {outcome.case for outcome in load_run(judged.folder).outcomes} == {"good", "hot"}


def test_a_disagreement_is_exit_code_1(judged: Judged) -> None:
    assert judged.process.returncode == 1


def test_nothing_is_said_on_standard_error(judged: Judged) -> None:
    assert judged.process.stderr == ""


def test_the_table_fits_100_columns_and_the_report_stands_last(judged: Judged) -> None:
    lines = judged.process.stdout.splitlines()
    table = lines[: next(i for i, line in enumerate(lines) if line.startswith("✗"))]
    assert max(map(len, table)) <= 100
    assert lines[-1] == f"report: reports/{judged.folder.name}/report.html"


def test_the_folder_holds_the_run_and_its_reports(judged: Judged) -> None:
    assert {path.name for path in judged.folder.iterdir()} == {
        *("run.json", "outputs.csv", "summary.md", "report.html", "feeds"),
    }


def test_the_printed_replay_command_reproduces_the_failure(judged: Judged, run_parity: RunParity) -> None:
    [command] = [line.strip() for line in judged.process.stdout.splitlines() if line.startswith("    parity run")]
    _, *words = shlex.split(command)
    again = run_parity(*words, "--json", cwd=judged.root)
    assert again.returncode == 1
    [outcome] = json.loads(again.stdout)["outcomes"]
    first = next(outcome for outcome in load_run(judged.folder).outcomes if outcome.verdict == "fail")
    assert (outcome["case"], outcome["variant"], outcome["verdict"]) == ("hot", "fp16@onnxruntime", "fail")
    assert outcome["outputs"][0]["mismatch_count"] == first.tensors[0].difference.mismatch_count / first.feed_count


def test_reports_are_made_again_without_the_model_and_without_onnxruntime(
    judged: Judged, run_parity: RunParity, tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_bytes((judged.folder / "run.json").read_bytes())
    for name in ("onnxruntime", "onnx"):
        (tmp_path / "blocked" / name).mkdir(parents=True)
        (tmp_path / "blocked" / name / "__init__.py").write_text("raise ImportError('blocked')", encoding="utf-8")
    from tests.tiny_cases import ROOT

    process = run_parity("report", ".", cwd=tmp_path, environment={"PYTHONPATH": f"{tmp_path / 'blocked'}:{ROOT}"})
    assert (process.returncode, process.stderr) == (1, "")
    for name in ("outputs.csv", "summary.md", "report.html"):
        assert (tmp_path / name).read_bytes() == (judged.folder / name).read_bytes()
    assert process.stdout.splitlines()[:-1] == judged.process.stdout.splitlines()[:-1]


def test_json_stands_alone_on_standard_output_and_variants_select(judged: Judged, run_parity: RunParity) -> None:
    process = run_parity(
        "run", "cases/good", "--variant", "fp16@onnxruntime", "--name", "mine", "--json", cwd=judged.root
    )
    assert process.returncode == 0
    summary = json.loads(process.stdout)
    assert [outcome["variant"] for outcome in summary["outcomes"]] == ["fp16@onnxruntime"]
    assert summary["folder"].endswith("-mine")


def test_resuming_a_finished_run_judges_nothing_again(judged: Judged, run_parity: RunParity) -> None:
    # As text: a NaN differs from itself.
    before = repr(load_run(judged.folder).outcomes)
    process = run_parity("run", "--resume", f"reports/{judged.folder.name}", cwd=judged.root)
    assert process.returncode == 1
    assert repr(load_run(judged.folder).outcomes) == before


def test_resuming_takes_no_selection(judged: Judged, run_parity: RunParity) -> None:
    process = run_parity("run", "cases/good", "--resume", f"reports/{judged.folder.name}", cwd=judged.root)
    assert process.returncode == 2
    assert "repeats its own selection" in process.stderr
