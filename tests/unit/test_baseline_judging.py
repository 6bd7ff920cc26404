"""A variant against its baseline: five parts where it fails, and never a pass where nothing was compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parity.baseline.judging import CHECK, Tonight, judge
from parity.baseline.model import Baseline, VariantFigures
from parity.results import CaseRecord, Outcome
from parity.verdict import Verdict
from tests.accepted import FEEDS, LABEL, LAYERS, MODEL, baseline, series, variant

RECORD = CaseRecord("shapes", "a case", MODEL, "bb", FEEDS, 4)
CHECKS = frozenset({"outputs", "engine"})
TIMED = CHECKS | {"latency"}
KNOWN = variant(latency=series(1.0, 1.0, 1.0), layers=LAYERS)
SLOW_LAYERS = (("conv1", 0.9), ("relu1", 0.3), ("conv2", 0.6))
COMMAND = "parity baseline update cases/shapes"


def judged(figures: VariantFigures, checks=TIMED, known: Baseline | None = None, **more) -> Outcome:
    tonight = Tonight(figures, checks, more.pop("record", RECORD), **more)
    blank = Outcome("shapes", LABEL, "fp16", CHECK, Verdict.ERROR, "")
    return judge(blank, known or baseline(KNOWN), tonight, {}, COMMAND)


def test_an_unchanged_run_passes_and_says_how_much_was_compared() -> None:
    outcome = judged(variant(60.2, latency=series(1.02)))
    assert (outcome.verdict, outcome.message) == (Verdict.PASS, "")
    assert outcome.headline == "4 figures are as accepted: batch 64 +2.0%"


def test_a_failure_has_its_five_parts_and_the_layers_that_slowed() -> None:
    outcome = judged(variant(40.0, latency=series(1.6), layers=SLOW_LAYERS))
    assert outcome.verdict is Verdict.FAIL
    assert outcome.message.splitlines() == [
        "latency batch 64 median_ms 1 -> 1.6 ms (+60.0%), worse: is not what was accepted",
        "2 / 4 figures are not (50%)",
        "worst: latency batch 64 median_ms 1 -> 1.6 ms (+60.0%), worse, allowed +6.3% (noise)",
        "in: shapes / fp16@tensorrt-8.6 / baseline",
        "next: mend it, or accept it with: parity baseline update cases/shapes",
        "slower layer: conv1 and 1 more: 0.4 ms -> 1.2 ms",
        "also outputs y sqnr_db 60 -> 40 dB, worse, allowed ±1 dB",
    ]
    assert outcome.headline.endswith("not what was accepted; slowed most: conv1 and 1 more: 0.4 ms -> 1.2 ms")


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ((), "slower layers: not known; they are timed on TensorRT alone, and have to be on both sides"),
        (LAYERS, "slower layers: none, so that it is lost between layers or in how they are launched"),
    ],
)
def test_a_slower_engine_without_slower_layers_says_why_none_is_named(layers, told: str) -> None:
    outcome = judged(variant(latency=series(1.6), layers=layers))
    assert outcome.message.splitlines()[5:] == [told]
    assert "slowed most" not in outcome.headline


def test_the_layers_that_slowed_come_before_all_further_figures() -> None:
    figures = {f"figure_{number}": 1.0 for number in range(40)}
    known = baseline(variant(latency=series(1.0, 1.0, 1.0), layers=LAYERS, **figures))
    outcome = judged(variant(latency=series(1.6), layers=SLOW_LAYERS), known=known)
    assert "slower layer: conv1" in "\n".join(outcome.message.splitlines()[:6])


def test_an_improvement_that_nobody_accepted_fails_as_well() -> None:
    outcome = judged(variant(70.0), CHECKS)
    assert outcome.verdict is Verdict.FAIL
    assert "60 -> 70 dB, better" in outcome.headline


def test_a_faster_and_smaller_engine_passes() -> None:
    small = variant(latency=series(0.5))
    small.figures["engine"][""]["size_bytes"] = 10.0
    assert judged(small).verdict is Verdict.PASS


def test_a_slower_latency_that_was_disturbed_is_inconclusive() -> None:
    outcome = judged(variant(latency=series(1.6)), disturbed={64: "throttled: power cap"})
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert "disturbed: throttled: power cap" in outcome.message
    worse = judged(variant(40.0, latency=series(1.6)), disturbed={64: "throttled: power cap"})
    assert worse.verdict is Verdict.FAIL


def test_one_accepted_measurement_says_that_its_noise_is_not_known() -> None:
    known = baseline(variant(latency=series(1.0)))
    outcome = judged(variant(latency=series(1.02)), known=known)
    assert outcome.verdict is Verdict.PASS
    assert "of one measurement the spread is not known" in outcome.headline


def test_what_was_not_measured_is_told_beside_a_pass() -> None:
    outcome = judged(variant(), CHECKS)
    assert outcome.verdict is Verdict.PASS
    assert outcome.headline.endswith("not looked at: latency")


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (replace(RECORD, model_sha256="other"), "the model is not the accepted one"),
        (replace(RECORD, feeds_sha256="other"), "the feeds are not the accepted ones"),
        (None, "does not say which model"),
    ],
)
def test_figures_of_something_else_are_not_compared(record: CaseRecord | None, told: str) -> None:
    outcome = judged(variant(latency=series(1.0)), record=record)
    assert outcome.verdict is Verdict.FAIL
    assert told in outcome.headline
    assert f"next: {COMMAND}" in outcome.message


def test_latency_alone_does_not_ask_for_the_same_feeds() -> None:
    timed = VariantFigures(latency={64: series(1.0)})
    outcome = judged(timed, frozenset({"latency"}), record=replace(RECORD, feeds_sha256="one"))
    assert outcome.verdict is Verdict.PASS


def test_a_variant_that_was_never_accepted_fails_with_the_command() -> None:
    outcome = judged(variant(), known=baseline(variants={"int8@tensorrt": variant()}))
    assert outcome.verdict is Verdict.FAIL
    assert "does not have this variant" in outcome.headline
    assert COMMAND in outcome.headline


def test_nothing_in_common_is_never_a_pass() -> None:
    outcome = judged(VariantFigures(), frozenset({"decoded"}))
    assert outcome.verdict is Verdict.FAIL
    assert "no figure of the checks that were made" in outcome.headline


def test_an_accepted_figure_that_the_run_lacks_fails() -> None:
    outcome = judged(variant(), CHECKS, baseline(variant(headroom=0.5)))
    assert outcome.verdict is Verdict.FAIL
    assert "outputs y headroom 0.5 -> none, gone" in outcome.headline
