from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from parity.report import figures
from parity.verdict import Verdict
from tests.layer_examples import BLANK
from tests.run_examples import BROKEN, DIFFERENCE, EVERYTHING, FAILING, PASSING, SKIPPED, TENSOR, UNDECIDED, make_run
from tests.texts import any_text

if TYPE_CHECKING:
    from parity.results import Outcome

FINITE = replace(DIFFERENCE, nonfinite_mismatch_count=0)


def test_outcomes_stand_worst_first() -> None:
    assert figures.worst_first(EVERYTHING) == [FAILING, BROKEN, UNDECIDED, PASSING, SKIPPED]


def test_of_two_failures_the_larger_headroom_stands_first_and_nan_stands_last() -> None:
    def with_headroom(headroom: float):
        return replace(FAILING, tensors=(replace(TENSOR, difference=replace(FINITE, headroom=headroom)),))

    small, large, unknown = with_headroom(1.5), with_headroom(math.inf), with_headroom(math.nan)
    assert figures.worst_first(make_run(small, unknown, large)) == [large, small, unknown]


def test_an_outcome_of_a_whole_case_has_no_empty_part_in_its_place() -> None:
    assert figures.place(replace(BROKEN, variant="", check="case")) == "shapes / case"


def test_only_pass_and_skipped_do_not_count_as_failed() -> None:
    assert figures.failed(EVERYTHING) == [FAILING, BROKEN, UNDECIDED]


def test_verdict_line_counts_every_verdict() -> None:
    assert figures.verdict_line(EVERYTHING) == (
        "a disagreement was found, and not everything could be judged: "
        "1 fail, 1 error, 1 inconclusive, 1 pass, 1 skipped"
    )


def test_verdict_line_of_a_run_without_outcomes_does_not_claim_agreement() -> None:
    assert figures.verdict_line(make_run()) == "nothing was judged"


def test_an_interrupted_run_claims_no_agreement_and_is_no_success() -> None:
    run = make_run(PASSING, is_complete=False)
    assert figures.verdict_line(run).startswith("not everything could be judged: 1 pass; the run was interrupted")
    assert (figures.run_verdict(run), run.exit_code) == (Verdict.ERROR, 2)


def test_a_run_of_layers_alone_claims_nothing_of_outputs() -> None:
    layers = replace(BLANK, verdict=Verdict.PASS)
    assert figures.verdict_words(make_run(layers)) == "no layer stands out"
    assert figures.verdict_words(make_run(layers, PASSING)) == "everything agrees"
    assert figures.verdict_words(make_run(replace(BLANK, verdict=Verdict.FAIL))) == "a disagreement was found"


@pytest.mark.parametrize(
    ("outcomes", "title"),
    [
        ([FAILING, PASSING], "What failed, and why"),
        ([UNDECIDED], "What could not be judged, and why"),
        ([BROKEN, UNDECIDED], "What could not be judged, and why"),
        ([FAILING, UNDECIDED], "What failed or could not be judged, and why"),
    ],
)
def test_only_what_failed_is_called_a_failure(outcomes: list[Outcome], title: str) -> None:
    assert figures.failed_title(make_run(*outcomes)) == title


def test_rounding_mode_is_among_the_notes_of_a_variant() -> None:
    [(subject, note)] = figures.variant_notes([FAILING])
    assert subject == "shapes / fp16@onnxruntime"
    assert note.startswith("rounding fused:")
    assert "41 of 60 nodes" in note


@pytest.mark.parametrize(
    ("count", "total", "text"),
    [(0, 10, "0 %"), (1, 10**9, "<0.01 %"), (10**9 - 1, 10**9, ">99.99 %"), (10, 10, "100.00 %"), (0, 0, "0 %")],
)
def test_percentages_are_zero_or_hundred_only_where_the_counts_are(count: int, total: int, text: str) -> None:
    assert figures.percent(count, total) == text


@given(any_text())
def test_printable_text_moves_no_cursor_and_keeps_what_is_printable(text: str) -> None:
    shown = figures.printable(text)
    assert all(character in "\n\t" or ord(character) >= 0x20 for character in shown)
    assert not set(shown) & set("\x1b\x7f\x9b\u202e\u2066")
    assert figures.printable(shown) == shown
    if text.isprintable():
        assert shown == text


def test_an_escape_sequence_in_a_name_is_spelled_out() -> None:
    assert figures.printable("a\x1b[31mb") == "a\\x1b[31mb"


@pytest.mark.parametrize(
    ("created", "shown"),
    [
        ("2026-11-21T01:33:05+00:00", "2026-11-21 01:33 UTC"),
        ("2026-11-21T01:33:05+02:00", "2026-11-20 23:33 UTC"),
        ("2026-11-21T01:33:05", "2026-11-21T01:33:05"),  # whose clock, nobody knows
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+14:00"),
        ("<script>", "<script>"),
    ],
)
def test_a_runs_time_is_told_to_the_minute(created: str, shown: str) -> None:
    assert figures.moment(created) == shown
