"""What ``parity init`` prints: the next command last, and in 100 columns."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from parity.results import Verdict
from parity.starting.case_toml import Paths
from parity.starting.decoders import Reading
from parity.starting.draft import Asked, Draft, examine
from parity.starting.first_run import FirstRun
from parity.starting.guess import Guess
from parity.starting.place import Placed
from parity.starting.proposals import Proposal, Proposed
from parity.starting.show import print_draft, print_next, print_tolerances
from parity.tolerance import Precision
from tests.run_examples import FAILING, PASSING, make_run
from tests.tiny_cases import two_matmuls

PLACED = Placed(Path("cases/my model"), Paths("m.onnx"))
LOOSER = Proposal("fp16", "y", 0.01, 0.1, None, "looser than the default, which 1 of 9 miss", is_looser=True)
READING = Reading("classification", None, {})
FAILED = FirstRun(make_run(FAILING, PASSING), Path("reports/x"), 2)


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    path = tmp_path / "m.onnx"
    path.write_bytes(two_matmuls(1.0).SerializeToString())
    return examine(Asked(path), lambda _what: None)


def next_line(draft: Draft, first: FirstRun | None, proposed: Proposed | None) -> str:
    stream = io.StringIO()
    print_next(draft, PLACED, first, proposed, stream)
    return stream.getvalue().splitlines()[-1]


def test_the_next_command_repairs_what_fails_and_else_judges_everything(draft: Draft) -> None:
    assert next_line(draft, None, None) == "next: parity run 'cases/my model'"
    assert next_line(draft, FAILED, Proposed()) == "next: parity repair 'cases/my model' --variant fp16"
    assert next_line(draft, FAILED, Proposed((LOOSER,))) == "next: parity run 'cases/my model'"
    everywhere = FirstRun(make_run(replace(FAILING, precision=Precision.FP32), FAILING), Path("reports/x"), None)
    assert next_line(draft, everywhere, Proposed()) == "next: parity run 'cases/my model'"
    broken = FirstRun(make_run(replace(FAILING, verdict=Verdict.ERROR)), Path("reports/x"), None)
    assert next_line(draft, broken, Proposed()) == "next: parity run 'cases/my model'"


def test_a_question_comes_before_any_repair(draft: Draft) -> None:
    asking = replace(draft, decoders=(Guess(READING, 0.5, ("why",), "which anchors?"),))
    stream = io.StringIO()
    print_next(asking, PLACED, FAILED, Proposed(), stream)
    assert stream.getvalue() == "question: which anchors?\nnext: parity run 'cases/my model'\n"


def test_a_bound_that_is_looser_is_told_with_its_reason(draft: Draft) -> None:
    stream = io.StringIO()
    print_tolerances(FAILED, Proposed((LOOSER,), ("fp32: the default bounds stay",)), draft, PLACED, stream)
    assert "tolerances: fp16, y: looser than the default, which 1 of 9 miss\n" in stream.getvalue()
    assert "tolerances: fp32: the default bounds stay\n" in stream.getvalue()
    assert "the first run judged 2 feeds of 4 images" in stream.getvalue()


def test_names_from_a_model_print_on_one_line_without_control_characters(draft: Draft) -> None:
    attack = "\x1b[31mred\nnext: rm -rf"
    stream = io.StringIO()
    asking = replace(draft, decoders=(Guess(READING, 0.5, (attack,)),), warnings=(attack * 9,))
    print_draft(asking, PLACED, stream)
    assert "\x1b" not in stream.getvalue()
    assert not any(line.startswith("next:") for line in stream.getvalue().splitlines())
    assert max(map(len, stream.getvalue().splitlines())) <= 100


def test_a_decoder_that_nobody_would_believe_is_told_as_none(draft: Draft) -> None:
    stream = io.StringIO()
    print_draft(replace(draft, decoders=(Guess(READING, 0.1, ("of a kind",)),)), PLACED, stream)
    told = " ".join(stream.getvalue().split())
    assert "decoder: none is likely; raw tensors are judged alone; the nearest is classification (a guess, 10%)" in told


def test_nothing_is_asked_of_a_decoder_that_nobody_believes(draft: Draft) -> None:
    asking = replace(draft, decoders=(Guess(READING, 0.1, ("why",), "which anchors?"),))
    assert asking.questions == ()
    assert next_line(asking, FAILED, Proposed()) == "next: parity repair 'cases/my model' --variant fp16"
