"""Candidates that look sound by shares of all detections, or by average precision, get the verdict they deserve."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.decoded import Detections
from parity.detect.protocol import Truth
from parity.tolerance import Precision
from tests.detector_scenes import NOTHING, REFERENCE, failing, measure, scene, values

# Enough for one image, or one rare class, to be less than any share that a gate allows.
MANY = tuple(scene(np.random.default_rng(seed)) for seed in range(250))
RARE = 3
WITH_RARE = [
    replace(side, classes=np.r_[RARE, side.classes[1:]]) if i % 5 == 0 else side for i, side in enumerate(MANY)
]


# What is measured is the same at every precision: only what is allowed differs.


@cache
def with_one_empty():
    return measure(MANY, [NOTHING, *MANY[1:]])


@cache
def without_the_rare(lose):
    return measure(WITH_RARE, [lose(side) for side in WITH_RARE])


@cache
def with_every_box_twice():
    return measure(REFERENCE, [side.take(np.repeat(np.arange(len(side)), 2)) for side in REFERENCE])


@cache
def cut_at_a_cap():
    return measure(REFERENCE, [side.take(np.arange(20)) for side in REFERENCE])


@cache
def of_small_objects_alone():
    areas = [(side.boxes[:, 2:] - side.boxes[:, :2]).prod(axis=1) for side in REFERENCE]
    small = [side.take(area < np.median(area)) for side, area in zip(REFERENCE, areas, strict=True)]
    return measure(REFERENCE, small)


@pytest.mark.parametrize("precision", Precision)
def test_an_image_that_comes_out_empty_fails_however_many_others_agree(precision):
    measured = with_one_empty()
    assert values(measured)["missed_share"] == pytest.approx(1 / 250)
    assert "one_sided_image_count" in failing(measured, precision)
    assert measured.findings[0].text == "street_0.png: the candidate shows nothing, the reference 30 detections"


def test_an_image_in_which_the_candidate_alone_sees_something_fails():
    measured = measure([NOTHING, *MANY[1:]], MANY)
    assert failing(measured) == {"one_sided_image_count"}
    assert measured.findings[0].text == "street_0.png: the reference shows nothing, the candidate 30 detections"


def test_an_image_of_one_or_two_that_are_missed_is_a_share_like_others():
    few = [MANY[0].take(np.arange(2)), *MANY[1:]]
    assert values(measure(few, [NOTHING, *MANY[1:]]))["one_sided_image_count"] == 0


def test_an_image_whose_detections_are_there_under_the_threshold_is_not_empty():
    weak = replace(MANY[0], scores=np.full(len(MANY[0]), 0.2))
    assert values(measure(MANY, [weak, *MANY[1:]]))["one_sided_image_count"] == 0


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize(
    "lose",
    [
        lambda side: side.take(side.classes != RARE),
        lambda side: replace(side, classes=np.where(side.classes == RARE, 0, side.classes)),
    ],
    ids=["missed", "flipped"],
)
def test_a_rare_class_that_is_lost_whole_fails_and_is_named(lose, precision):
    measured = without_the_rare(lose)
    assert max(values(measured)[name] for name in ("missed_share", "class_flip_share")) < 0.01
    assert "lost_class_count" in failing(measured, precision)
    assert measured.findings[0].text == (
        "all 250 images: the candidate has none of the reference's 50 detections of 'cat'"
    )


def test_a_rare_class_of_which_one_is_left_is_a_share_like_others():
    lost = [WITH_RARE[0], *(side.take(side.classes != RARE) for side in WITH_RARE[1:])]
    assert values(measure(WITH_RARE, lost))["lost_class_count"] == 0


def test_two_classes_exchanged_in_every_image_are_flips_of_all_and_both_are_lost():
    exchanged = [replace(side, classes=1 - side.classes) for side in REFERENCE]
    measured = measure(REFERENCE, exchanged)
    assert values(measured)["class_flip_share"] == 1.0
    assert values(measured)["lost_class_count"] == 2
    assert {"class_flip_share", "lost_class_count"} <= failing(measured)


@pytest.mark.parametrize("precision", Precision)
def test_one_score_for_everything_fails_where_it_lies_within_what_the_precision_allows(precision):
    near = [replace(side, scores=0.8 + 0.2 * (side.scores - 0.4)) for side in REFERENCE]
    measured = measure(near, [replace(side, scores=np.full(len(side), 0.86)) for side in near])
    assert values(measured)["ap"] == pytest.approx(1.0, abs=1e-9)
    # The reference's scores hardly differ: one step of a coarse format may hold them all.
    assert values(measured)["score_value_count"] is None
    far = [replace(side, scores=0.8 + 0.33 * (side.scores - 0.4)) for side in REFERENCE]
    measured = measure(far, [replace(side, scores=np.full(len(side), 0.9)) for side in far])
    assert values(measured)["score_value_count"] == 1
    assert "score_value_count" in failing(measured, precision)


def test_scores_of_eight_steps_fail_where_the_precision_has_more():
    coarse = [replace(side, scores=np.round(side.scores * 8) / 8) for side in REFERENCE]
    measured = measure(REFERENCE, coarse)
    assert values(measured)["ap"] == pytest.approx(1.0)
    assert values(measured)["score_value_count"] == 6
    assert "score_difference_p99" in failing(measured, Precision.FP16)
    assert failing(measured, Precision.INT8) == set()


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.TF32, Precision.FP16])
def test_all_scores_raised_by_a_hundredth_fail_where_the_precision_does_not_explain_it(precision):
    raised = [replace(side, scores=side.scores * 1.01) for side in REFERENCE]
    assert values(measure(REFERENCE, raised))["ap"] == pytest.approx(1.0)
    assert "score_bias" in failing(measure(REFERENCE, raised), precision)


@pytest.mark.parametrize("precision", Precision)
def test_every_box_twice_fails_at_the_same_score_too(precision):
    assert "duplicate_share" in failing(with_every_box_twice(), precision)


@pytest.mark.parametrize("precision", Precision)
def test_crowds_cut_at_a_cap_fail_and_so_does_a_detector_of_small_objects_alone(precision):
    assert "missed_share" in failing(cut_at_a_cap(), precision)
    assert "missed_share" in failing(of_small_objects_alone(), precision)


@given(st.randoms(use_true_random=False), st.sampled_from(Precision))
def test_the_references_own_boxes_in_any_order_pass(random, precision):
    order = list(range(len(REFERENCE[0])))
    random.shuffle(order)
    measured = measure(REFERENCE[:1], [REFERENCE[0].take(np.array(order))])
    assert failing(measured, precision) == set()
    assert not measured.findings


def appended(side, other):
    return Detections(*(np.r_[getattr(side, part), getattr(other, part)] for part in ("boxes", "scores", "classes")))


def drawn(rng, count, score=None):
    near = rng.uniform(0, 540, (count, 2))
    boxes = np.hstack([near, near + rng.uniform(16, 95, (count, 2))])
    scores = rng.uniform(0, 1, count) if score is None else np.full(count, score)
    return Detections(boxes, scores, rng.integers(0, 3, count))


def jittered(side, rng, sigma):
    return replace(side, boxes=side.boxes + rng.normal(0, sigma, side.boxes.shape))


def evenly(side):
    return replace(side, scores=np.full(len(side), 0.5))


def cut(side, factor=1.0):
    return replace(side, scores=side.scores * factor).take(side.scores * factor >= 0.25)


# Of 600 random boxes on 20 images: what average precision says of each trap, as measured with pycocotools on other
# boxes of the kind, the gate that sees what it does not, at FP16, and from which score detections are shown.
TRAPS = {
    "scores x 0.1": (1.0, "missed_share", 0.25, lambda side, _: (side, replace(side, scores=side.scores * 0.1))),
    "scores reversed": (
        1.0,
        "score_difference_p99",
        0.0,
        lambda side, _: (side, replace(side, scores=1 - side.scores)),
    ),
    "weak boxes on nothing": (1.0, "", 0.25, lambda side, rng: (side, appended(side, drawn(rng, 100, 0.01)))),
    "jitter of half a pixel": (0.969, "iou_p5", 0.0, lambda side, rng: (side, jittered(side, rng, 0.5))),
    "jitter of 2 pixels": (0.727, "iou_mean", 0.0, lambda side, rng: (side, jittered(side, rng, 2.0))),
    "doubled at half the score": (
        0.838,
        "duplicate_share",
        0.0,
        lambda side, _: (side, appended(side, replace(side, scores=side.scores * 0.5))),
    ),
    "both sides cut, x 0.9": (0.9736, "score_bias", 0.25, lambda side, _: (cut(side), cut(side, 0.9))),
    "equal scores, wrong ones last": (
        0.976,
        "extra_share",
        0.0,
        lambda side, rng: (evenly(side), evenly(appended(side, drawn(rng, 1)))),
    ),
    "equal scores, wrong ones first": (
        0.972,
        "extra_share",
        0.0,
        lambda side, rng: (evenly(side), evenly(appended(drawn(rng, 1), side))),
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_a_gate_sees_what_average_precision_does_not(trap):
    ap, gate, threshold, change = TRAPS[trap]
    rng = np.random.default_rng(0)
    sides = [change(drawn(rng, 30), rng) for _ in range(20)]
    measured = measure(*zip(*sides, strict=True), score_threshold=threshold)
    assert values(measured)["ap"] == pytest.approx(ap, abs=1e-9 if ap == 1.0 else 0.03)
    failed = failing(measured, Precision.FP16)
    assert gate in failed if gate else not failed


def annotated(side: Detections, shift: int) -> Truth:
    sizes = side.boxes[:, 2:] - side.boxes[:, :2]
    return Truth(side.boxes, side.classes + shift, np.zeros(len(side), np.bool_), sizes.prod(axis=1))


def test_annotations_that_the_reference_never_meets_show_nothing_about_the_candidate():
    measured = measure(REFERENCE, REFERENCE, [annotated(side, 2) for side in REFERENCE])
    assert values(measured)["true_ap_drop"] == 0.0
    assert "right on none of 600 annotated objects (AP50 0.000)" in measured.degenerate
    assert not measure(REFERENCE, REFERENCE, [annotated(side, 0) for side in REFERENCE]).degenerate
