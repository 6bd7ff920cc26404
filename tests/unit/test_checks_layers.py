"""From a layer report to an outcome: each way in which it is no pass ends in a sentence."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from parity.checks.layers import layers_outcome
from parity.layer_table import LayerReport, Role, Validity
from parity.verdict import Verdict
from tests.layer_examples import AGREEING, BLANK, FAILING, SOURCE, row


def judged(report: LayerReport) -> tuple[Verdict, str]:
    outcome = layers_outcome(BLANK, report)
    assert outcome.layers is report
    return outcome.verdict, outcome.headline


def test_layers_that_all_agree_pass_and_the_share_is_not_rounded_up() -> None:
    verdict, headline = judged(replace(AGREEING, coverage=0.9996))
    assert (verdict, headline) == (Verdict.PASS, "all 2 layers agree, 99.9 % of the float tensors observed")


def test_the_first_source_is_named_with_what_it_does_and_the_others_are_counted() -> None:
    assert judged(FAILING) == (Verdict.FAIL, "/block/conv2 makes 40 elements NaN or infinite (source), 2 more")
    lost = replace(FAILING, sources=(1, 2))
    assert judged(lost) == (Verdict.FAIL, "/block/conv1 loses 50 dB (source), 1 more")
    assert judged(replace(FAILING, sources=(3,)))[1] == "/block/conv3 loses 55 dB (amplifier)"


HIDDEN = row(1, Role.UNKNOWN, math.nan, nonfinite_reference=128, nonfinite_candidate=128, reference_range=(0.0, 0.0))


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (LayerReport((), (), 0.0, ("/loop: 3 tensors of the graphs inside it",)), "nothing was observed: /loop: 3"),
        (LayerReport((), (), 0.0), "nothing was observed: the model has no float tensor"),
        (replace(FAILING, validity=Validity.INVALID, validity_reason="y is 9 dB worse"), "shipped: y is 9 dB worse"),
        (replace(AGREEING, rows=(row(0), HIDDEN)), "no finite element from /block/conv1 on"),
        (replace(AGREEING, rows=(row(0, sqnr_db=math.nan),)), "the reference is zero in all 1 layers"),
        (
            replace(AGREEING, rows=(row(0), row(1, Role.UNKNOWN, 20.0, injected=None))),
            "/block/conv1 loses 50 dB, and whether it is a source was not measured",
        ),
    ],
    ids=["loop", "constant", "invalid", "nan", "zeros", "unmeasured"],
)
def test_what_shows_nothing_is_inconclusive(report: LayerReport, sentence: str) -> None:
    verdict, headline = judged(report)
    assert verdict is Verdict.INCONCLUSIVE
    assert sentence in headline


def test_a_few_infinities_of_the_reference_hide_nothing() -> None:
    masked = row(0, nonfinite_reference=3, nonfinite_candidate=3)
    assert judged(replace(AGREEING, rows=(masked, row(1))))[0] is Verdict.PASS


def test_a_source_is_told_where_the_reference_is_not_finite_elsewhere() -> None:
    assert judged(LayerReport((row(0), SOURCE, HIDDEN), (1,), 1.0))[0] is Verdict.FAIL
