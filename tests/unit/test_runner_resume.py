"""Runs that an interrupt, an exception or a full disk stops: what is on disk then, and what resumes it."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from parity.backends.fake import Crash
from parity.errors import RunError
from parity.run_file import load_run
from parity.runner import JudgeSettings, OpenRun, RunSettings, open_run, run_cases
from parity.runner import planned as planned_module
from parity.verdict import Verdict
from tests.runner_examples import FAKE, SETTINGS, enter_tiny_case, fake, open_with
from tests.unit.tiny_case import CASE_FILE, make_model, write_case

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every test in a folder of its own that has the tiny case."""
    return enter_tiny_case(tmp_path, monkeypatch)


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
