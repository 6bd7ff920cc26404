"""The ``decoded`` check: verdicts from gates, flaws and degenerate data, whatever measured them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from parity.agreement import Figure, Finding, ImageAgreement
from parity.case.model import Decoding, GateRule
from parity.checks.decoded import FINDING_COUNT, DecodedCheck, DecodedResult, gates_of
from parity.decoded import Detections, Task
from parity.detect.gates import default_gates
from parity.detect.protocol import ImageKey, Measured, Truth
from parity.tolerance import Precision
from parity.verdict import Verdict

DECODING = Decoding(settings=None, function="mine.py:decode", task=Task.DETECTION)
NOTHING = Measured(figures=(), findings=(), images=(), classes=(), degenerate="", flaws={})
SHOWN = (
    Figure("reference_count", 512, "count"),
    Figure("missed_share", 0.0, "share"),
    Figure("ap50", 0.994, "ap"),
    Figure("corner_shift_max", 1.2, "px"),
)


def at_limits(task: Task, known: tuple[Figure, ...]) -> tuple[Figure, ...]:
    """Return figures with every other one that has a gate by default, at its limit, which is allowed."""
    names = {figure.name for figure in known}
    gates = [gate for gate in default_gates(task, Precision.FP16) if gate.figure not in names]
    return (
        *known,
        *(
            Figure(gate.figure, gate.minimum if gate.maximum is None else gate.maximum, "share")
            for gate in gates
            if not gate.only_if_measured
        ),
    )


AGREES = replace(
    NOTHING,
    figures=at_limits(Task.DETECTION, SHOWN),
    images=(ImageAgreement("b.png", 1, 0, 0.9), ImageAgreement("a.png", 0, 0, 1.0)),
)


class Told:
    """An accumulator that was told what it measures, and remembers what it was given."""

    def __init__(self, measured: Measured) -> None:
        self.measured = measured
        self.seen: list[tuple[str, Truth | None]] = []

    def update(self, image: ImageKey, reference: Detections, candidate: Detections, truth: Truth | None = None) -> None:
        assert (reference.flaws, len(candidate)) == ({}, 0)
        self.seen.append((image.name, truth))

    def result(self) -> Measured:
        return self.measured


def detections(flaws: dict[str, int] | None = None) -> Detections:
    return Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), flaws=flaws or {})


def judge(
    measured: Measured,
    gates: tuple[GateRule, ...] = (),
    variant: str = "fp16",
    flaws: tuple[dict[str, int], ...] = ({}, {}),
) -> DecodedResult:
    """Judge one image in each of two feeds; ``flaws`` are the candidate's."""
    check = DecodedCheck(replace(DECODING, gates=gates), Precision.FP16, variant, Told(measured))
    for feed, mine in enumerate(flaws):
        image = ImageKey(f"{feed}.png", feed, 0, 8, 8)
        check.update(feed, [image], [detections()], [detections(mine)], [None])
    return check.result()


def with_figure(name: str, value: float | None, unit: str = "share") -> Measured:
    figures = [figure for figure in AGREES.figures if figure.name != name]
    return replace(AGREES, figures=(*figures, Figure(name, value, unit)))


def gate(figure: str, maximum: float, variant: str = "*", reason: str = "for this test") -> GateRule:
    return GateRule(variant, figure, None, maximum, reason)


def test_agreement_within_every_gate_passes_and_says_how_much_was_compared() -> None:
    result = judge(AGREES)
    assert (result.verdict, result.worst_feed, result.feed_count) == (Verdict.PASS, None, 2)
    assert result.headline == "0 of 512 detections missed, AP50 0.994, worst shift 1.2 px"
    assert result.record.reasons == ()
    assert (result.record.task, result.record.decoder) == ("detection", "mine.py:decode")


def test_a_missed_gate_fails_names_figure_value_limit_and_reason_and_points_at_the_least_agreeing_image() -> None:
    result = judge(with_figure("missed_share", 0.25), (gate("missed_share", 0.01),))
    assert (result.verdict, result.worst_feed) == (Verdict.FAIL, 1)
    assert result.record.reasons == ("missed_share is 0.25, allowed is at most 0.01 (for this test).",)
    assert result.headline.startswith("missed_share is 0.25, allowed is at most 0.01; 0 of 512 detections")
    assert result.record.figures[0].figure.name == "missed_share"


def test_the_headline_counts_findings_by_their_kind() -> None:
    kinds = ["missed", "missed", "class flip", "extra", "borderline"]
    findings = tuple(Finding(kind, "a.png", "…", 1.0) for kind in kinds)
    headline = judge(replace(AGREES, findings=findings)).headline
    assert headline.startswith("2 of 512 detections missed, 1 extra, 1 class flip")


def test_a_gate_of_the_case_takes_the_place_of_the_default_one_and_the_last_one_wins() -> None:
    [default] = [known for known in default_gates(Task.DETECTION, Precision.FP16) if known.figure == "missed_share"]
    assert default.maximum is not None
    measured = with_figure("missed_share", default.maximum + 0.1)
    assert judge(measured).verdict is Verdict.FAIL
    wide, narrow = gate("missed_share", default.maximum + 0.2), gate("missed_share", default.maximum)
    assert judge(measured, (wide,)).verdict is Verdict.PASS
    assert judge(measured, (wide, narrow)).verdict is Verdict.FAIL
    assert judge(measured, (narrow, wide)).verdict is Verdict.PASS


def test_a_gate_of_another_variant_does_not_count() -> None:
    rules = (gate("missed_share", 0.5, "int8*"),)
    decoding = replace(DECODING, gates=rules)
    assert gates_of(decoding, Precision.FP16, "fp16") == default_gates(Task.DETECTION, Precision.FP16)
    [mine] = [known for known in gates_of(decoding, Precision.FP16, "int8_entropy") if known.maximum == 0.5]
    assert mine.reason == "for this test"


def test_a_gated_figure_that_was_not_measured_is_never_a_pass() -> None:
    result = judge(with_figure("missed_share", None), (gate("missed_share", 0.01),))
    assert (result.verdict, result.worst_feed) == (Verdict.INCONCLUSIVE, None)
    assert "missed_share could not be measured" in result.headline


def test_a_gate_on_a_figure_that_the_task_does_not_have_is_never_a_pass() -> None:
    result = judge(AGREES, (gate("mised_share", 0.01),))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "mised_share" in result.headline


def test_data_that_shows_nothing_is_inconclusive() -> None:
    result = judge(replace(AGREES, degenerate="No image has a detection on either side."))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.headline.startswith("No image has a detection on either side; 0 of 512")


def test_a_flaw_that_only_the_variant_has_fails_and_points_at_its_feed() -> None:
    measured = replace(AGREES, flaws={"candidate: nan score": 3})
    result = judge(measured, flaws=({"nan score": 3}, {}))
    assert (result.verdict, result.worst_feed) == (Verdict.FAIL, 0)
    assert result.record.reasons == ("The variant has 3 rows left out for: nan score, the reference none.",)


def test_a_flaw_of_the_reference_is_inconclusive_whatever_the_variant_has() -> None:
    for flaws in ({"reference: nan score": 1}, {"reference: nan score": 1, "candidate: nan score": 3}):
        result = judge(replace(AGREES, flaws=flaws))
        assert result.verdict is Verdict.INCONCLUSIVE
        assert result.record.reasons == ("The reference itself has 1 row left out for: nan score.",)


def test_a_failure_outweighs_a_doubt_and_both_are_told() -> None:
    measured = replace(with_figure("missed_share", 1.0), flaws={"reference: nan score": 1})
    result = judge(measured, (gate("missed_share", 0.01),))
    assert result.verdict is Verdict.FAIL
    assert len(result.record.reasons) == 2


def test_only_the_worst_findings_are_kept_and_all_are_counted() -> None:
    findings = tuple(Finding("missed", "a.png", f"number {i}", -i) for i in range(FINDING_COUNT + 10))
    record = judge(replace(AGREES, findings=findings)).record
    assert (record.findings, record.finding_count) == (findings[:FINDING_COUNT], FINDING_COUNT + 10)


def test_every_image_comes_with_its_truth() -> None:
    told = Told(AGREES)
    check = DecodedCheck(DECODING, Precision.FP16, "fp16", told)
    truth = Truth(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0))
    images = [ImageKey(name, 0, row, 8, 8) for row, name in enumerate("ab")]
    check.update(0, images, [detections()] * 2, [detections()] * 2, [truth, None])
    assert told.seen == [("a", truth), ("b", None)]


def test_a_note_is_told_once() -> None:
    check = DecodedCheck(DECODING, Precision.FP16, "fp16", Told(replace(AGREES, notes=("measured",))))
    for _ in range(2):
        check.note("in tensor pixels")
    assert check.result().record.notes == ("measured", "in tensor pixels")


@pytest.mark.parametrize(
    ("task", "figures", "headline"),
    [
        (
            Task.CLASSIFICATION,
            (Figure("image_count", 500, "count"), Figure("top5_agreement", 0.998, "share")),
            "0 top-1 flips in 500 images, top 5 agree on 99.80%",
        ),
        (
            Task.LANES,
            (Figure("point_agreement", 0.992, "share"), Figure("point_shift_max", 0.8, "px")),
            "points agree on 99.20%, worst shift 0.8 px",
        ),
        (Task.SEGMENTATION, (Figure("pixel_agreement", 0.5, "share"),), "pixels agree on 50.00%"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_task_has_a_headline_of_its_own(task: Task, figures: tuple[Figure, ...], headline: str) -> None:
    told = Told(replace(NOTHING, figures=at_limits(task, figures)))
    assert DecodedCheck(replace(DECODING, task=task), Precision.FP16, "fp16", told).result().headline == headline
