"""Runs, end to end on a tiny model: what is judged and recorded, what is refused, and one bad case among good ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parity.errors import BackendUnavailable, RunError
from parity.run_file import load_run
from parity.runner import JudgeSettings, RunSettings, open_run, run_cases
from parity.runner import case_judge as case_judge_module
from parity.verdict import Verdict
from tests.runner_examples import SETTINGS, enter_tiny_case
from tests.unit.tiny_case import CASE_FILE, make_model, write_case


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every test in a folder of its own that has the tiny case."""
    return enter_tiny_case(tmp_path, monkeypatch)


def test_a_sound_case_passes_and_leaves_a_complete_run() -> None:
    opened = open_run(SETTINGS)
    opened.judge_all()
    assert [(o.case, o.variant, o.check, o.verdict) for o in opened.run.outcomes] == [
        ("tiny", "fp32@onnxruntime", "outputs", Verdict.PASS),
        ("tiny", "fp16@onnxruntime", "outputs", Verdict.PASS),
    ]
    assert opened.run.is_complete
    assert opened.run.exit_code == 0
    assert load_run(opened.folder.path) == opened.run
    assert opened.folder.path.parent == Path("reports")
    assert opened.folder.path.name.endswith("-tiny")
    assert [path.name for path in opened.folder.path.iterdir()] == ["run.json"]


def test_an_outcome_tells_what_was_executed_and_how_much() -> None:
    fp32, fp16 = run_cases(SETTINGS).outcomes
    assert fp16.feed_count == 4
    assert fp16.duration_s > 0
    assert fp16.message == ""
    assert fp16.failing_feed is None
    assert fp16.model is not None
    assert fp16.model.rounded_sha256 != fp16.model.reference_sha256
    assert fp16.model.rounded_tensor_count > 0
    assert fp32.model is not None
    assert fp32.model.node_count == 2


def test_a_run_records_its_cases_its_environment_and_no_path_of_the_machine(tmp_path: Path) -> None:
    opened = open_run(replace(SETTINGS, cases=(tmp_path / "cases" / "tiny",), command=("parity", "run")))
    opened.judge_all()
    text = (opened.folder.path / "run.json").read_text()
    assert str(tmp_path) not in text
    assert opened.run.selection["cases"] == ["cases/tiny"]
    (record,) = opened.run.cases
    assert (record.name, record.description, record.feed_count) == ("tiny", "a tiny case", 4)
    assert all(len(sha) == 64 for sha in (record.model_sha256, record.case_file_sha256, record.feeds_sha256))
    assert opened.run.environment.packages["numpy"] == np.__version__


def test_a_limit_judges_the_first_feeds_only() -> None:
    run = run_cases(replace(SETTINGS, judging=JudgeSettings(limit=2)))
    assert [outcome.feed_count for outcome in run.outcomes] == [2, 2]
    assert run.cases[0].feed_count == 2


def test_variants_are_chosen_by_name_label_and_wildcard() -> None:
    for pattern in ("fp16", "fp16@onnxruntime", "*16", "fp16@onnx*"):
        run = run_cases(replace(SETTINGS, variants=(pattern,)))
        assert [outcome.variant for outcome in run.outcomes] == ["fp16@onnxruntime"]


@pytest.mark.parametrize("pattern", ["int4", "fp16@tensorrt"])
def test_an_unknown_variant_names_the_known_ones_and_makes_nothing(pattern: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="known are fp32@onnxruntime, fp16@onnxruntime"):
        run_cases(replace(SETTINGS, variants=(pattern,)))
    assert not (tmp_path / "reports").exists()


def test_a_missing_runtime_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise BackendUnavailable("onnxruntime: is not installed")

    monkeypatch.setattr("parity.backends.onnxruntime._require_sound_installation", missing)
    with pytest.raises(BackendUnavailable, match="not installed"):
        run_cases(SETTINGS)
    assert not (tmp_path / "reports").exists()


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(RunError, match="at least 1 feed; got 0"):
        JudgeSettings(limit=0)


def test_no_case_is_an_error_and_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no case was given"):
        run_cases(RunSettings())
    assert not (tmp_path / "reports").exists()


def test_two_cases_of_one_name_are_refused_and_one_case_given_twice_is_one(tmp_path: Path) -> None:
    write_case(tmp_path / "more" / "tiny")
    with pytest.raises(RunError, match="2 cases are called 'tiny'"):
        run_cases(replace(SETTINGS, cases=(Path("cases/tiny"), Path("more/tiny"))))
    run = run_cases(replace(SETTINGS, cases=(Path("cases/tiny"), Path("cases/tiny/case.toml"))))
    assert len(run.outcomes) == 2


def test_a_case_file_with_mistakes_is_an_error_outcome_and_the_next_case_is_judged(tmp_path: Path) -> None:
    write_case(tmp_path / "cases" / "broken", CASE_FILE.replace('"fp16"', '"int9"'))
    run = run_cases(replace(SETTINGS, cases=(Path("cases/broken"), Path("cases/tiny"))))
    assert [(o.case, o.check, o.verdict) for o in run.outcomes] == [
        ("broken", "case", Verdict.ERROR),
        ("tiny", "outputs", Verdict.PASS),
        ("tiny", "outputs", Verdict.PASS),
    ]
    assert "variants.fp16.precision" in run.outcomes[0].message
    assert run.exit_code == 2
    assert run.name == "run"


def test_a_model_that_the_runtime_refuses_is_an_error_of_every_variant_and_not_of_the_next_case(
    tmp_path: Path,
) -> None:
    model = make_model()
    model.graph.node[0].op_type = "NoSuchOperator"
    write_case(tmp_path / "cases" / "bad", model=model)
    run = run_cases(replace(SETTINGS, cases=(Path("cases/bad"), Path("cases/tiny"))))
    assert [outcome.verdict for outcome in run.outcomes] == [Verdict.ERROR] * 2 + [Verdict.PASS] * 2
    assert "NoSuchOperator" in run.outcomes[0].headline


def test_the_reference_is_made_once_for_all_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    prepare = case_judge_module.prepare_case

    def counted(*arguments: object) -> object:
        calls.append("prepared")
        return prepare(*arguments)

    monkeypatch.setattr(case_judge_module, "prepare_case", counted)
    run_cases(SETTINGS)
    assert calls == ["prepared"]


def test_temporary_tensors_are_gone_after_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    run_cases(SETTINGS)
    assert not list((tmp_path / "temporary").iterdir())


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(RunError, match="reports: cannot be written"):
        run_cases(SETTINGS)


def test_runs_of_one_second_have_folders_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {open_run(replace(SETTINGS, name="same / name")).folder.path for _ in range(3)}
    assert len(folders) == 3
    assert all("-same-name" in folder.name for folder in folders)


def test_a_run_name_is_the_end_of_the_folder() -> None:
    opened = open_run(replace(SETTINGS, name="nightly"))
    assert opened.folder.path.name.endswith("-nightly")
