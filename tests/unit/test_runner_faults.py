"""Planted faults are found: what each verdict is, and what the message of a failure says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.backends.fake import (
    ConstantOutput,
    Crash,
    DropOutput,
    ExtraOutput,
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
from parity.runner import run_cases
from parity.verdict import Verdict
from tests.runner_examples import FAKE, enter_tiny_case, fake, judge_with, open_with, replay, with_inputs
from tests.unit.tiny_case import write_case

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every test in a folder of its own that has the tiny case."""
    return enter_tiny_case(tmp_path, monkeypatch)


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


def test_the_saved_run_is_json_that_any_reader_takes() -> None:
    opened = open_with(ReplaceElement())
    opened.judge_all()
    json.loads((opened.folder.path / "run.json").read_text(), parse_constant=pytest.fail)


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
