"""Runs, end to end on tiny models: planted faults are found, one failure does not stop the next, runs are resumed."""

from __future__ import annotations

import errno
import json
import os
import shlex
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_case import CASE_FILE, make_model, write_case

from parity.backends import get_backend
from parity.backends.fake import (
    ConstantOutput,
    Crash,
    DropOutput,
    ExtraOutput,
    FakeBackend,
    Fault,
    FlipElement,
    LateAnswer,
    PermuteRows,
    ReplaceElement,
    ScaleOutput,
    StaleOutputs,
    SwapOutputs,
    WrongDtype,
    WrongShape,
)
from parity.case import load_case
from parity.errors import BackendUnavailable, FeedError, RunError
from parity.options import SessionOptions
from parity.preprocess import Geometry
from parity.run_file import load_run
from parity.runner import JudgeSettings, OpenRun, RunSettings, open_run, run_cases
from parity.runner import case_judge as case_judge_module
from parity.runner import planned as planned_module
from parity.runner.reference import prepare_case
from parity.runner.store import TensorStore
from parity.verdict import Verdict
from tests.tiny_models import write_case as write_image_case
from tests.tiny_models import write_images

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from parity.backends import Backend, TensorRTSettings
    from parity.results import Outcome
    from parity.runner.run import OpenBackends


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every test in a folder of its own that has the tiny case."""
    monkeypatch.chdir(tmp_path)
    write_case(tmp_path / "cases" / "tiny")
    return tmp_path


SETTINGS = RunSettings(cases=(Path("cases/tiny"),))
FAKE = replace(SETTINGS, backends=("fake",))


def with_inputs(table: str) -> str:
    """Return the tiny case's text with another [inputs] table."""
    start, end = CASE_FILE.index("[inputs]"), CASE_FILE.index("[variants.fp32]")
    return f"{CASE_FILE[:start]}[inputs]\n{table}\n\n{CASE_FILE[end:]}"


def fake(*faults: Fault) -> OpenBackends:
    """Open the backend ``fake`` with faults."""

    @contextmanager
    def open_backends(names: Sequence[str], tensorrt: TensorRTSettings) -> Iterator[tuple[Backend, ...]]:
        yield tuple(FakeBackend(faults) if name == "fake" else get_backend(name) for name in names)

    return open_backends


def judge_with(*faults: Fault, settings: RunSettings = FAKE) -> Outcome:
    """Return the first outcome of a run with faults."""
    return run_cases(replace(settings, variants=("fp32",)), open_backends=fake(*faults)).outcomes[0]


def open_with(*faults: Fault, settings: RunSettings = FAKE) -> OpenRun:
    return open_run(settings, fake(*faults))


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


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (FlipElement(), "beyond the bound"),
        (FlipElement(output="boxes", feed=2), "boxes: 1 / 24"),
        (ReplaceElement(), "beyond the bound"),
        (ReplaceElement(value=float("inf"), feed=3), "logits: 1 / 40"),
        (ConstantOutput(), "beyond the bound"),
        (ScaleOutput(factor=1.01), "beyond the bound"),
        (PermuteRows(), "beyond the bound"),
        (StaleOutputs(), "beyond the bound"),
        (SwapOutputs(first="logits", second="boxes"), "The variant gives shape"),
        (DropOutput(output="boxes"), "boxes: The variant does not give this output"),
        (ExtraOutput(), "extra: Only the variant gives this output"),
        (WrongDtype(), "The variant gives float64, expected float32"),
        (WrongShape(feed=1), "The variant gives shape (1, 2, 5), the reference (2, 5) (feed 1)"),
    ],
    ids=lambda value: f"{type(value).__name__} {value.feed}" if isinstance(value, Fault) else "",
)
def test_every_planted_fault_of_values_or_structure_fails(fault: Fault, text: str) -> None:
    outcome = judge_with(fault)
    assert outcome.verdict is Verdict.FAIL
    assert text in outcome.headline
    assert outcome.failing_feed is not None
    if fault.feed is not None:
        assert outcome.failing_feed == f"feeds/tiny-fp32@fake-{fault.feed}.npz"


@pytest.mark.parametrize("fault", [LateAnswer(feed=2), Crash()], ids=["late", "crash"])
def test_a_late_answer_or_a_crash_is_an_error_and_exit_code_2(fault: Fault) -> None:
    run = run_cases(replace(FAKE, variants=("fp32",)), open_backends=fake(fault))
    assert run.outcomes[0].verdict is Verdict.ERROR
    assert "planted" in run.outcomes[0].message
    assert run.exit_code == 2


def test_a_crash_in_one_variant_leaves_the_others() -> None:
    run = run_cases(FAKE, open_backends=fake(Crash(session=0)))
    assert [outcome.verdict for outcome in run.outcomes] == [Verdict.ERROR, Verdict.PASS]
    assert run.is_complete


def test_a_failure_message_has_its_parts_and_ends_with_the_command_that_replays_it() -> None:
    outcome = judge_with(FlipElement(output="boxes", feed=2))
    lines = outcome.message.splitlines()
    assert lines[0].startswith("boxes differs from its reference. 1 element of 24 beyond the bound")
    assert lines[1].startswith("mismatched: 1 / 24")
    assert any("of feed 2" in line for line in lines)
    assert "in: tiny / fp32@fake / outputs / boxes" in lines
    assert lines[-1] == f"next: {outcome.replay}"
    assert outcome.replay is not None
    assert "parity run cases/tiny --variant fp32@fake --backend fake --feed reports/" in outcome.replay


def test_of_several_failing_outputs_the_worst_is_told_whole_and_the_others_follow() -> None:
    message = judge_with(ScaleOutput(output="logits", factor=1.01), ScaleOutput(output="boxes", factor=3.0)).message
    assert message.startswith("boxes differs")
    assert message.splitlines()[-1].startswith("also logits: ")


def test_without_a_failure_no_feed_is_saved(tmp_path: Path) -> None:
    run_cases(SETTINGS)
    assert not list(tmp_path.glob("reports/*/feeds"))


def replay(outcome: Outcome, *faults: Fault, settings: RunSettings = FAKE) -> Outcome:
    """Judge what the outcome's command asks for."""
    assert outcome.replay is not None
    words = shlex.split(outcome.replay)
    chosen = replace(
        settings,
        cases=(Path(words[2]),),
        variants=(words[words.index("--variant") + 1],),
        judging=JudgeSettings(feed=Path(words[words.index("--feed") + 1])),
    )
    return run_cases(chosen, open_backends=fake(*faults)).outcomes[0]


def test_a_replay_judges_the_failing_feed_alone_by_the_same_bound_and_fails_again() -> None:
    first = judge_with(ScaleOutput(factor=1.01))
    again = replay(first, ScaleOutput(factor=1.01))
    assert (again.verdict, again.feed_count) == (Verdict.FAIL, 1)
    assert [tensor.tolerance for tensor in again.tensors] == [tensor.tolerance for tensor in first.tensors]
    assert replay(first).verdict is Verdict.PASS


def test_a_saved_feed_keeps_what_its_images_are_called_and_where_they_lie(in_folder: Path) -> None:
    inputs = 'kind = "images"\nfiles = ["*.png"]\npreprocess = { preset = "yolo", size = [8, 8] }'
    text = 'model = "model.onnx"\nbatch_size = 2\n[inputs]\n' + inputs + '\n[variants.fp32]\nprecision = "fp32"\n'
    folder = write_image_case(in_folder / "cases" / "seen", text)
    write_images(folder, ["a.png", "b.png", "c.png"], (4, 16))
    settings = replace(FAKE, cases=(folder,))
    outcome = judge_with(FlipElement(feed=1), settings=settings)
    assert outcome.failing_feed is not None
    (saved,) = in_folder.glob(f"reports/*/{outcome.failing_feed}")
    case = load_case(folder)
    with TensorStore() as store:
        made = prepare_case(case, JudgeSettings(), store).feeds
        (again,) = prepare_case(case, JudgeSettings(feed=saved), store).feeds
    assert [feed.sources for feed in made] == [("a.png", "b.png"), ("c.png",)]
    assert made[1].geometry == (Geometry(4, 16, 0.5, 0.5, 0, 3),)
    assert (again.number, again.name, again.sources, again.geometry) == (1, "feed0001", ("c.png",), made[1].geometry)


def test_a_replay_names_the_feed_by_its_number_in_the_run() -> None:
    first = judge_with(FlipElement(feed=2))
    again = replay(first, FlipElement())
    difference = again.tensors[0].difference
    assert difference is not None
    assert difference.worst_absolute is not None
    assert difference.worst_absolute.feed == 2


def test_a_replay_keeps_the_scale_of_the_run_where_the_feed_alone_would_forgive(tmp_path: Path) -> None:
    folder = tmp_path / "cases" / "tiny"
    sizes = (1000.0, 1.0, 1.0, 1.0)
    generator = np.random.default_rng(1)
    feeds = [(size * generator.normal(size=(2, 4))).astype(np.float32) for size in sizes]
    for i, feed in enumerate(feeds):
        np.savez(folder / f"{i}.npz", x=feed)
    tolerance = '[[tolerances]]\nrtol = 0.0\natol_rms = 0.01\nreason = "for this test"\n'
    write_case(folder, with_inputs('kind = "npz"\nfiles = ["*.npz"]') + tolerance)
    # Over all four feeds the scale is half of feed 0's own: an error of 0.0075 of its own scale lies between the two.
    logits = get_backend("onnxruntime").open(make_model(), SessionOptions()).run({"x": feeds[0]})["logits"]
    factor = 1 + 0.0075 * float(np.sqrt(np.mean(logits**2)) / np.abs(logits).max())
    first = judge_with(ScaleOutput(factor=factor, feed=0))
    assert first.verdict is Verdict.FAIL
    assert replay(first, ScaleOutput(factor=factor)).verdict is Verdict.FAIL
    alone = replace(FAKE, judging=JudgeSettings(feed=folder / "0.npz"))
    assert judge_with(ScaleOutput(factor=factor), settings=alone).verdict is Verdict.PASS


def test_a_feed_of_another_case_is_refused_and_makes_nothing(tmp_path: Path) -> None:
    first = judge_with(FlipElement())
    write_case(tmp_path / "cases" / "other")
    assert first.replay is not None
    before = list((tmp_path / "reports").iterdir())
    with pytest.raises(FeedError, match="is a feed of case 'tiny', not of other"):
        replay(replace(first, replay=first.replay.replace("cases/tiny", "cases/other")))
    assert list((tmp_path / "reports").iterdir()) == before


def test_a_feed_that_no_run_saved_is_judged_by_its_own_scale(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", x=np.arange(8, dtype=np.float32).reshape(2, 4))
    outcome = judge_with(settings=replace(FAKE, judging=JudgeSettings(feed=tmp_path / "mine.npz")))
    assert (outcome.verdict, outcome.feed_count) == (Verdict.PASS, 1)


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


def test_a_saved_feed_that_cannot_be_read_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "feed.npz").write_bytes(b"not a zip")
    with pytest.raises(FeedError, match=r"feed\.npz"):
        run_cases(replace(SETTINGS, judging=JudgeSettings(feed=tmp_path / "feed.npz")))
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


def break_forecast(monkeypatch: pytest.MonkeyPatch, error: BaseException, precision: str = "fp16") -> None:
    """Make the forecast of one precision raise."""
    forecast = planned_module.forecast

    def broken(model: object, options: object, *arguments: object, **keywords: object) -> object:
        if str(options.precision) == precision:
            raise error
        return forecast(model, options, *arguments, **keywords)

    monkeypatch.setattr(planned_module, "forecast", broken)


def test_an_unexpected_exception_is_an_error_outcome_with_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    break_forecast(monkeypatch, ZeroDivisionError("oops"), "fp32")
    run = run_cases(SETTINGS)
    assert [outcome.verdict for outcome in run.outcomes] == [Verdict.ERROR, Verdict.PASS]
    assert run.outcomes[0].headline == "unexpected ZeroDivisionError: oops"
    assert "--debug" in run.outcomes[0].message


def test_in_debug_an_unexpected_exception_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    break_forecast(monkeypatch, ZeroDivisionError("oops"))
    with pytest.raises(ZeroDivisionError):
        run_cases(replace(SETTINGS, judging=JudgeSettings(debug=True)))


class Recorded:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def start(self, total: int) -> None:
        self.events.append(total)

    def begin(self, label: str) -> None:
        self.events.append(label)

    def advance(self) -> None:
        self.events.append("one more")

    def finish(self) -> None:
        self.events.append("finished")


def test_progress_is_told_the_total_every_step_and_the_end() -> None:
    progress = Recorded()
    run_cases(SETTINGS, progress)
    assert progress.events == [2, "tiny fp32@onnxruntime", "one more", "tiny fp16@onnxruntime", "one more", "finished"]


def interrupt(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> tuple[OpenRun, Recorded]:
    """Run until the second variant raises."""
    with monkeypatch.context() as patch:
        break_forecast(patch, error)
        opened, progress = open_run(SETTINGS), Recorded()
        with pytest.raises(type(error)):
            opened.judge_all(progress)
    return opened, progress


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)], ids=["Ctrl-C", "killed"])
def test_an_interrupted_run_is_readable_incomplete_and_resumed_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    opened, progress = interrupt(monkeypatch, error)
    assert progress.events[-1] == "finished"
    saved = load_run(opened.folder.path)
    assert [outcome.variant for outcome in saved.outcomes] == ["fp32@onnxruntime"]
    assert not saved.is_complete

    resumed = run_cases(RunSettings(resume=opened.folder.path))
    assert [outcome.variant for outcome in resumed.outcomes] == ["fp32@onnxruntime", "fp16@onnxruntime"]
    assert resumed.outcomes[0] == saved.outcomes[0]
    assert resumed.is_complete
    assert load_run(opened.folder.path) == resumed


def test_resuming_tries_errors_again() -> None:
    opened = open_with(Crash(session=0))
    opened.judge_all()
    resumed = run_cases(RunSettings(resume=opened.folder.path), open_backends=fake())
    assert [outcome.verdict for outcome in resumed.outcomes] == [Verdict.PASS, Verdict.PASS]


def test_resuming_repeats_the_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(FAKE, variants=("fp16",), judging=JudgeSettings(limit=1))
    opened = open_with(Crash(), settings=settings)
    opened.judge_all()
    resumed = run_cases(RunSettings(resume=opened.folder.path / "run.json"), open_backends=fake())
    assert [(outcome.variant, outcome.feed_count) for outcome in resumed.outcomes] == [("fp16@fake", 1)]


@pytest.mark.parametrize("what", ["model", "case file", "feeds"])
def test_a_changed_case_is_not_resumed(what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened, _ = interrupt(monkeypatch, KeyboardInterrupt())
    before = (opened.folder.path / "run.json").read_bytes()
    if what == "model":
        write_case(tmp_path / "cases" / "tiny", model=make_model(scale=2.0))
    elif what == "case file":
        write_case(tmp_path / "cases" / "tiny", CASE_FILE + "\n# changed\n")
    else:
        saved = opened.run.cases[0]
        opened.folder.save(replace(opened.run, cases=(replace(saved, feeds_sha256="0" * 64),)))
    with pytest.raises(RunError, match=f"its {what} changed"):
        run_cases(RunSettings(resume=opened.folder.path))
    if what != "feeds":
        assert (opened.folder.path / "run.json").read_bytes() == before


def test_a_run_of_other_packages_is_not_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, _ = interrupt(monkeypatch, KeyboardInterrupt())
    packages = {**opened.run.environment.packages, "onnxruntime": "0.0.1"}
    opened.folder.save(replace(opened.run, environment=replace(opened.run.environment, packages=packages)))
    with pytest.raises(RunError, match="another version of onnxruntime"):
        run_cases(RunSettings(resume=opened.folder.path))


def test_a_damaged_selection_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, _ = interrupt(monkeypatch, KeyboardInterrupt())
    opened.folder.save(replace(opened.run, selection={"cases": []}))
    with pytest.raises(RunError, match="selection is damaged"):
        run_cases(RunSettings(resume=opened.folder.path))


def fill_disk(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let ``after`` flushes to disk succeed, then none."""
    flushes = iter(range(after))

    def fsync(_descriptor: int) -> None:
        if next(flushes, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_full_disk_ends_the_run_with_one_sentence_and_leaves_the_last_whole_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = open_run(SETTINGS)
    fill_disk(monkeypatch, after=2)
    with pytest.raises(RunError, match=r"run\.json: cannot be written \(No space left on device\); free space"):
        opened.judge_all()
    saved = load_run(opened.folder.path)
    assert [outcome.variant for outcome in saved.outcomes] == ["fp32@onnxruntime"]
    assert saved == opened.run
    assert [path.name for path in opened.folder.path.iterdir()] == ["run.json"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(RunError, match="reports: cannot be written"):
        run_cases(SETTINGS)


def test_runs_of_one_second_have_folders_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {open_run(replace(SETTINGS, name="same / name")).folder.path for _ in range(3)}
    assert len(folders) == 3
    assert all("-same-name" in folder.name for folder in folders)


def test_the_saved_run_is_json_that_any_reader_takes() -> None:
    opened = open_with(ReplaceElement())
    opened.judge_all()
    json.loads((opened.folder.path / "run.json").read_text(), parse_constant=pytest.fail)


def test_half_inputs_and_outputs_are_judged_against_the_float_reference(tmp_path: Path) -> None:
    text = CASE_FILE + 'io_precision = "fp16"\n'
    write_case(tmp_path / "cases" / "tiny", text)
    run = run_cases(replace(SETTINGS, variants=("fp16",)))
    assert run.outcomes[0].verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("values", "verdict"),
    [((0.5,), Verdict.INCONCLUSIVE), ((0.5, 0.5), Verdict.INCONCLUSIVE), ((0.5, 0.25), Verdict.PASS)],
    ids=["one feed", "two alike", "two that differ"],
)
def test_feeds_that_are_one_value_everywhere_pass_nothing(
    values: tuple[float, ...], verdict: Verdict, tmp_path: Path
) -> None:
    folder = tmp_path / "cases" / "tiny"
    write_case(folder, with_inputs('kind = "npz"\nfiles = ["in*.npz"]'))
    for i, value in enumerate(values):
        np.savez(folder / f"in{i}.npz", x=np.full((2, 4), value, np.float32))
    outcome = judge_with()
    assert outcome.verdict is verdict
    assert verdict is Verdict.PASS or outcome.headline.startswith("logits: Every input is one value in all feeds")
    failed = judge_with(FlipElement(feed=0))
    assert failed.verdict is Verdict.FAIL
    assert replay(failed).verdict is Verdict.PASS


def recorded_case(tmp_path: Path, count: int) -> None:
    folder = tmp_path / "cases" / "tiny"
    session = get_backend("onnxruntime").open(make_model(), SessionOptions())
    generator = np.random.default_rng(0)
    for i in range(4):
        feed = {"x": generator.normal(size=(2, 4)).astype(np.float32)}
        np.savez(folder / f"in{i}.npz", **feed)
        if i < count:
            np.savez(folder / f"out{i}.npz", **session.run(feed))
    inputs = 'kind = "npz"\nfiles = ["in*.npz"]\n\n[reference]\nkind = "recorded"\nfiles = ["out*.npz"]'
    write_case(folder, with_inputs(inputs))


def test_recorded_outputs_are_a_reference_and_a_replay_finds_its_own(tmp_path: Path) -> None:
    recorded_case(tmp_path, 4)
    assert judge_with().verdict is Verdict.PASS
    first = judge_with(FlipElement(feed=3))
    assert first.verdict is Verdict.FAIL
    assert replay(first, FlipElement()).verdict is Verdict.FAIL
    assert replay(first).verdict is Verdict.PASS


def test_too_few_recorded_outputs_are_an_error(tmp_path: Path) -> None:
    recorded_case(tmp_path, 3)
    outcome = judge_with()
    assert outcome.verdict is Verdict.ERROR
    assert "3 recorded outputs for 4 feeds" in outcome.message


def test_a_class_that_is_the_neighbour_of_the_right_one_fails_at_any_precision(tmp_path: Path) -> None:
    model = make_model()
    model.graph.node.append(helper.make_node("ArgMax", ["logits"], ["place"], axis=1, keepdims=0))
    model.graph.initializer.append(numpy_helper.from_array(np.int64(995), "first"))
    model.graph.node.append(helper.make_node("Add", ["place", "first"], ["label"]))
    model.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]))
    folder = write_case(tmp_path / "cases" / "tiny", model=model)
    feed = {"x": np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)}
    outputs = get_backend("onnxruntime").open(model, SessionOptions()).run(feed)
    np.savez(folder / "in.npz", **feed)
    np.savez(folder / "out.npz", **{**outputs, "label": outputs["label"] + np.array([0, 1])})
    inputs = 'kind = "npz"\nfiles = ["in.npz"]\n\n[reference]\nkind = "recorded"\nfiles = ["out.npz"]'
    write_case(folder, with_inputs(inputs), model)
    for outcome in run_cases(SETTINGS).outcomes:
        assert outcome.verdict is Verdict.FAIL
        assert outcome.headline.startswith("label: 1 / 2 (50 %) beyond the bound")


PYTHON_REFERENCE = """
import numpy as np

def reference(feed):
    return {"logits": np.zeros((2, 5), np.float32), "boxes": feed["x"][:, :3]}
"""


def test_a_python_function_is_a_reference_unless_python_is_not_allowed(tmp_path: Path) -> None:
    (tmp_path / "cases" / "tiny" / "code.py").write_text(PYTHON_REFERENCE)
    reference = '[reference]\nkind = "python"\nfunction = "code.py:reference"\n\n'
    write_case(tmp_path / "cases" / "tiny", CASE_FILE.replace("[inputs]", f"{reference}[inputs]"))
    assert judge_with().verdict is Verdict.FAIL
    refused = run_cases(replace(SETTINGS, allow_python=False))
    assert [(outcome.check, outcome.verdict) for outcome in refused.outcomes] == [("case", Verdict.ERROR)]


def test_calibration_feeds_reach_the_forecast(tmp_path: Path) -> None:
    calibration = '[calibration]\nkind = "random"\nseed = 9\ncount = 2\n\n'
    text = CASE_FILE.replace("[variants.fp32]", f"{calibration}[variants.fp32]")
    write_case(tmp_path / "cases" / "tiny", text.replace("fp16", "int8"))
    outcome = run_cases(replace(SETTINGS, variants=("int8",))).outcomes[0]
    assert outcome.verdict is Verdict.PASS
    assert outcome.model is not None
    assert outcome.model.rounding == "qdq"


def test_a_run_name_is_the_end_of_the_folder() -> None:
    opened = open_run(replace(SETTINGS, name="nightly"))
    assert opened.folder.path.name.endswith("-nightly")
