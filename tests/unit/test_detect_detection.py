"""Two detectors that differ are told apart, in figures and by the gates that stand by default."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.decoded import Detections, Task
from parity.detect.detection import DetectionAgreement
from parity.detect.figures import FIGURES
from parity.detect.protocol import Truth
from parity.tolerance import Precision
from tests.detector_scenes import (
    CLEAR,
    NOTHING,
    REFERENCE,
    appended,
    changed,
    failing,
    measure,
    put,
    values,
    with_scores,
)


def reversed_scores(side):
    return with_scores(side, side.scores[::-1].copy())


def doubled(side):
    return appended(side, with_scores(side, side.scores * 0.5 + 0.05))


def with_dog(side):
    return appended(side, Detections(np.array([[600.0, 600, 630, 630]]), np.array([0.99]), np.array([2])))


def jittered(sigma):
    rng = np.random.default_rng(1)
    return [replace(side, boxes=side.boxes + rng.normal(0, sigma, side.boxes.shape)) for side in REFERENCE]


@pytest.mark.parametrize("precision", Precision)
def test_two_equal_sides_pass_all_gates_with_the_best_of_all_figures(precision):
    measured = measure(REFERENCE, REFERENCE)
    found = values(measured)
    assert not failing(measured, precision)
    best = {"matched_share": 1, "iou_min": 1, "corner_shift_max": 0, "score_difference_max": 0, "ap": 1, "f1": 1}
    assert {name: found[name] for name in best} == pytest.approx(best)
    assert not measured.findings
    assert not measured.degenerate
    assert {image.agreement for image in measured.images} == {1.0}


def test_every_figure_has_the_name_and_unit_of_the_list_in_its_order():
    figures = measure(REFERENCE, REFERENCE).figures
    assert [(figure.name, figure.unit) for figure in figures] == [(s.name, s.unit) for s in FIGURES[Task.DETECTION]]


# What average precision does not see, or sees too little of; INT8's gates are the widest there are.
TRAPS = {
    "scores x 0.7": (changed(lambda side: with_scores(side, side.scores * 0.7)), 1.0, {"score_bias"}),
    "order of scores reversed": (changed(reversed_scores), 1.0, {"score_difference_p99"}),
    "20 boxes of an absent class": (changed(with_dog), 1.0, {"absent_class_count"}),
    "boxes moved by 2 px": (jittered(2.0), None, {"iou_mean"}),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_what_average_precision_does_not_see_fails_a_gate(trap):
    candidate, ap, gates = TRAPS[trap]
    measured = measure(REFERENCE, candidate, score_threshold=0.1)
    if ap is not None:
        assert values(measured)["ap"] == pytest.approx(ap, abs=1e-12)
    assert gates <= failing(measured)


def test_scores_times_a_tenth_leave_nothing_shown_while_average_precision_stays_perfect():
    measured = measure(REFERENCE, changed(lambda side: with_scores(side, side.scores * 0.1)))
    assert values(measured)["ap"] == pytest.approx(1.0, abs=1e-12)
    assert "missed_share" in failing(measured)
    assert measured.findings[0].kind == "empty"
    assert "candidate shows nothing in any image, the reference 600 detections" in measured.findings[0].text
    assert "the candidate has it with 0.0" in measured.findings[1].text


def test_every_box_twice_at_half_the_score_is_all_duplicates_and_pairs_with_the_true_twin():
    measured = measure(REFERENCE, changed(doubled))
    found = values(measured)
    assert found["duplicate_share"] == pytest.approx(0.5, abs=0.03)
    assert found["extra_share"] == 0
    assert found["score_difference_max"] == 0
    assert "duplicate_share" in failing(measured)
    assert measured.findings[0].kind == "duplicate"


def test_more_than_100_detections_of_an_image_and_class_agree_with_themselves():
    rng = np.random.default_rng(5)
    near = rng.uniform(0, 600, (150, 2))
    crowd = Detections(np.hstack([near, near + 30]), rng.uniform(0.3, 1, 150), np.zeros(150, np.int64))
    found = values(measure([crowd], [crowd]))
    assert found["ap"] == pytest.approx(1.0)
    assert found["f1"] == 1.0


def test_the_order_of_equal_scores_changes_no_figure_and_equal_scores_are_told():
    equal = changed(lambda side: with_scores(side, np.full(len(side), 0.5)))
    turned_round = [side.take(np.arange(len(side))[::-1]) for side in equal]
    once, again = measure(equal, equal), measure(equal, turned_round)
    assert values(once) == values(again)
    assert values(again)["score_rank_correlation"] is None
    assert "All 600 scores of the reference are 0.5" in again.degenerate


def test_the_other_one_of_two_tied_boxes_kept_by_nms_is_a_pair_that_moved():
    tied = replace(REFERENCE[0], boxes=REFERENCE[0].boxes + np.array([6.0, 0, 6, 0]))
    measured = measure(REFERENCE[:1], [tied.take(np.arange(len(tied))[::-1])])
    assert values(measured)["matched_share"] == 1.0
    assert values(measured)["corner_shift_p50"] == pytest.approx(6.0)
    assert "iou_p5" in failing(measured, Precision.FP16)


SIDE = st.lists(
    st.tuples(*[st.integers(0, 4)] * 2, *[st.integers(2, 5)] * 2, st.integers(0, 2), st.floats(0, 1)),
    max_size=8,
)


def side_of(rows):
    table = np.array(rows, np.float64).reshape(-1, 6)
    boxes = np.hstack([table[:, :2], table[:, :2] + table[:, 2:4]])
    return Detections(boxes, table[:, 5], table[:, 4].astype(np.int64))


@settings(deadline=None)
@given(st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=4))
def test_every_detection_is_counted_once_by_image_by_class_and_in_all(rows):
    sides = [(side_of(one), side_of(other)) for one, other in rows]
    measured = measure(*zip(*sides, strict=True), nms_iou=0.45, borderline_cap=0.2)
    found = values(measured)
    count, other_count = found["reference_count"], found["candidate_count"]
    shares = [found[name] or 0.0 for name in ("matched_share", "class_flip_share", "missed_share")]
    assert sum(shares) * count <= count + 1e-9
    for key, figure, whole in (("missed", "missed_share", count), ("extra", "extra_share", other_count)):
        expected = (found[figure] or 0.0) * whole
        assert sum(image.counts[key] for image in measured.images) == pytest.approx(expected)
        assert sum(row.figures[key] for row in measured.classes) == pytest.approx(expected)
        assert measured.finding_counts.get(key, 0) == pytest.approx(expected)
    assert all(0 <= image.agreement <= 1 + 1e-9 for image in measured.images)


def test_exchanging_the_sides_exchanges_what_is_missed_and_extra_and_turns_the_bias_round():
    other = [side.take(np.arange(2, 30)) for side in changed(lambda side: with_scores(side, side.scores - 0.01))]
    there, back = values(measure(REFERENCE, other)), values(measure(other, REFERENCE))
    assert (there["missed_share"], there["extra_share"]) == (back["extra_share"], back["missed_share"])
    assert there["missed_share"] == pytest.approx(2 / 30)
    assert (there["score_bias"], back["score_bias"]) == pytest.approx((-0.01, 0.01))


def test_turned_boxes_are_measured_by_their_corners():
    corners = np.array([[[50.0, 0], [100, 50], [50, 100], [0, 50]]])
    diamond = Detections(np.array([[0.0, 0, 100, 100]]), np.array([0.9]), np.array([0]), corners=corners)
    moved = replace(diamond, boxes=diamond.boxes + 5, corners=np.roll(corners, 1, axis=1) + 5)
    found = values(measure([diamond], [moved]))
    assert found["corner_shift_max"] == pytest.approx(np.hypot(5, 5))
    # A square of side 50√2 moved by 5√2 along its own side.
    assert found["iou_min"] == pytest.approx(45 / 55)


def test_what_the_candidate_does_not_show_is_no_error_of_its():
    weak = Detections(np.array([[500.0, 500, 560, 560]]), np.array([0.05]), np.array([0]))
    assert values(measure([CLEAR], [appended(CLEAR, weak)]))["tide_background"] == 0
    assert values(measure([CLEAR], [appended(CLEAR, weak)], score_threshold=0.01))["tide_background"] == 1


def test_figures_of_a_class_are_its_own():
    flipped = replace(CLEAR, classes=put(CLEAR.classes, 0, 1))
    rows = {row.class_name: row.figures for row in measure([CLEAR], [flipped]).classes}
    assert rows["car"] == {
        "reference_count": 2, "candidate_count": 1, "missed": 0, "extra": 0, "duplicates": 0, "flips": 1,
        "iou_mean": pytest.approx(1.0), "ap": pytest.approx(rows["car"]["ap"]),
    }  # fmt: skip
    assert rows["truck"]["candidate_count"] == 2


def test_nothing_on_both_sides_is_no_agreement():
    measured = measure([NOTHING] * 3, [NOTHING] * 3)
    assert "Neither side shows anything with a score of 0.25 or more in any of 3 images" in measured.degenerate
    assert values(measured)["empty_image_count"] == 3
    assert values(measured)["missed_share"] is None
    assert DetectionAgreement().result().degenerate == "No image was compared."


@pytest.mark.parametrize(
    ("reference", "candidate", "figure", "empty"),
    [(REFERENCE, [NOTHING] * 20, "missed_share", "candidate"), ([NOTHING] * 20, REFERENCE, "extra_share", "reference")],
)
def test_nothing_on_one_side_fails_and_is_said_in_one_sentence(reference, candidate, figure, empty):
    measured = measure(reference, candidate)
    assert values(measured)[figure] == 1.0
    assert figure in failing(measured)
    assert f"the {empty} shows nothing in any image" in measured.findings[0].text
    assert not measured.degenerate


def test_a_reference_that_says_the_same_of_all_images_is_told():
    stuck = Detections(np.array([[10.0, 10, 20, 20]]), np.array([0.5]), np.array([0]))
    sides = [with_scores(stuck, np.array([score])) for score in (0.5, 0.6, 0.7)]
    assert "All 3 boxes of the reference are the same" in measure(sides, sides).degenerate
    assert not measure(sides[:2], sides[:2]).degenerate


def truth_of(side):
    sizes = side.boxes[:, 2:] - side.boxes[:, :2]
    return Truth(side.boxes, side.classes, np.zeros(len(side), np.bool_), sizes.prod(axis=1))


def test_a_change_of_true_accuracy_is_measured_with_its_interval_and_gated_upwards_too():
    truths = [truth_of(side) for side in REFERENCE]
    worse = [side.take(np.arange(len(side)) % 5 > 0) for side in REFERENCE]
    measured = measure(worse, REFERENCE, truths)
    found = values(measured)
    assert found["true_ap_candidate"] == pytest.approx(1.0)
    assert found["true_ap_drop"] == pytest.approx(-0.2, abs=0.02)
    assert found["true_ap_drop_low"] <= found["true_ap_drop"] <= found["true_ap_drop_high"]
    assert found["true_ap50_drop"] == pytest.approx(found["true_ap50_reference"] - found["true_ap50_candidate"])
    assert {"true_ap_drop", "true_ap50_drop"} <= failing(measured)


def test_accuracy_is_not_gated_without_annotations_and_annotations_without_objects_are_told():
    assert values(measure(REFERENCE, REFERENCE))["true_ap_drop"] is None
    empty = truth_of(NOTHING)
    assert "hold no object in any of 20 images" in measure(REFERENCE, REFERENCE, [empty] * 20).degenerate
    some = [truth_of(REFERENCE[0]), *[None] * 19]
    assert "Accuracy is that of the 1 of 20 images" in measure(REFERENCE, REFERENCE, some).notes[0]


def test_masks_and_keypoints_are_compared_pair_by_pair():
    masks = np.zeros((3, 20, 20), np.bool_)
    masks[:, 5:15, 5:15] = True
    points = np.concatenate([np.random.default_rng(0).uniform(0, 60, (3, 17, 2)), np.ones((3, 17, 1))], axis=2)
    order = np.array([2, 0, 1])
    reference = replace(CLEAR, masks=masks, keypoints=points)
    assert values(measure([reference], [reference.take(order)]))["oks_min"] == pytest.approx(1.0)
    worse = replace(reference, masks=put(masks, 1, False), keypoints=points + np.array([30.0, 0, 0]))
    found = values(measure([reference], [worse.take(order)]))
    assert found["mask_iou_mean"] == pytest.approx(2 / 3)
    assert found["mask_iou_min"] == 0.0
    assert found["oks_min"] < found["oks_mean"] < 0.5
    assert {"mask_iou_mean", "oks_mean"} <= failing(measure([reference], [worse.take(order)]))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 5), min_size=3, max_size=30), st.lists(st.integers(0, 5), min_size=30, max_size=30))
def test_the_rank_correlation_is_spearmans_ties_included(first, second):
    from scipy.stats import spearmanr

    one = Detections(
        np.array([[x, 0, x + 5, 5] for x in range(0, 20 * len(first), 20)], np.float64),
        0.3 + np.array(first) / 10, np.zeros(len(first), np.int64),
    )  # fmt: skip
    other = with_scores(one, 0.3 + np.array(second[: len(first)]) / 10)
    found = values(measure([one], [other]))["score_rank_correlation"]
    if np.ptp(one.scores) and np.ptp(other.scores):
        assert found == pytest.approx(spearmanr(one.scores, other.scores).statistic)
    else:
        assert found is None
