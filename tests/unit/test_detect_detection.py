"""Two detectors that differ are told apart, in figures, by the gates that stand by default, and in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.decoded import Detections, Task
from parity.detect.detection import DetectionAgreement
from parity.detect.figures import FIGURES
from parity.detect.gates import Gate, default_gates, judge_figures, told_limits
from parity.detect.protocol import Truth
from parity.errors import StructureError
from parity.tolerance import Precision
from tests.detector_scenes import NOTHING, REFERENCE, failing, measure, values


def changed(change):
    return [change(side) for side in REFERENCE]


def with_scores(side, scores):
    return replace(side, scores=scores)


def appended(side, other):
    return Detections(
        *(np.concatenate([getattr(side, name), getattr(other, name)]) for name in ("boxes", "scores", "classes"))
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


def cut(sides, threshold):
    return [side.take(side.scores >= threshold) for side in sides]


def test_both_sides_cut_at_the_threshold_lose_boxes_that_the_bias_explains_and_its_gate_sees():
    shrunk = changed(lambda side: with_scores(side, side.scores * 0.9))
    measured = measure(cut(REFERENCE, 0.5), cut(shrunk, 0.5), score_threshold=0.5)
    found = values(measured)
    assert found["ap"] < 0.99
    assert found["borderline_share"] > 0.02
    assert {"score_bias", "borderline_share"} <= failing(measured)


def test_drift_across_the_threshold_is_borderline_and_no_miss():
    def drift(side):
        return with_scores(side, side.scores - 0.004)

    near = [with_scores(side, np.concatenate([side.scores[:-1], [0.252]])) for side in REFERENCE]
    measured = measure(near, [drift(side) for side in near])
    found = values(measured)
    assert found["missed_share"] == 0
    assert found["borderline_share"] == pytest.approx(20 / 600)
    assert failing(measured, Precision.FP16) == {"borderline_share"}
    assert {finding.kind for finding in measured.findings} == {"borderline"}
    assert "its score is 0.002 from the threshold of 0.25" in measured.findings[0].text
    assert any("20 detections without a partner are borderline" in note for note in measured.notes)


def test_without_any_drift_a_detection_near_the_threshold_is_no_borderline_one():
    near = [with_scores(side, np.concatenate([side.scores[:-1], [0.252]])) for side in REFERENCE]
    found = values(measure(near, [side.take(np.arange(len(side) - 1)) for side in near]))
    assert found["borderline_share"] == 0
    assert found["missed_share"] == pytest.approx(20 / 600)


def test_a_box_that_nms_may_have_dropped_by_a_hair_is_borderline_and_one_far_from_it_is_not():
    # An overlap of 0.45 with the box that both sides keep, which moves by IoU 0.98 elsewhere.
    shift = 100 * (1 - 0.451) / (1 + 0.451)
    kept, near = np.array([[0.0, 0, 100, 100]]), np.array([[shift, 0, 100 + shift, 100]])
    both = Detections(np.vstack([kept, near]), np.array([0.9, 0.8]), np.array([0, 0]))
    one = Detections(kept + np.array([0.0, 0, 1, 0]), np.array([0.9]), np.array([0]))
    assert values(measure([both], [one], nms_iou=0.45))["borderline_share"] == 0.5
    assert values(measure([both], [one], nms_iou=0.45))["missed_share"] == 0
    assert values(measure([both], [one], nms_iou=0.6))["missed_share"] == 0.5
    assert values(measure([both], [one]))["missed_share"] == 0.5


def test_only_class_agnostic_nms_explains_a_drop_by_a_box_of_another_class():
    shift = 100 * (1 - 0.451) / (1 + 0.451)
    boxes = np.array([[0.0, 0, 100, 100], [shift, 0, 100 + shift, 100]])
    both = Detections(boxes, np.array([0.9, 0.8]), np.array([0, 1]))
    one = Detections(boxes[:1] + np.array([0.0, 0, 1, 0]), np.array([0.9]), np.array([0]))
    assert values(measure([both], [one], nms_iou=0.45))["missed_share"] == 0.5
    assert values(measure([both], [one], nms_iou=0.45, class_agnostic=True))["missed_share"] == 0


def test_a_borderline_detection_of_an_absent_class_is_not_made_up():
    drifted = changed(lambda side: with_scores(side, side.scores - 0.004))
    dog = Detections(np.array([[600.0, 600, 630, 630]]), np.array([0.252]), np.array([2]))
    found = values(measure(REFERENCE, [appended(drifted[0], dog), *drifted[1:]]))
    assert found["absent_class_count"] == 0
    assert found["borderline_share"] == pytest.approx(1 / 601)


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


CLEAR = Detections(
    np.array([[12.0, 30.5, 80.2, 99.9], [100, 100, 140, 160], [300, 300, 400, 360]]),
    np.array([0.83, 0.8, 0.91]),
    np.array([0, 0, 1]),
)


def told(candidate, kind, **options):
    """Return the one finding of a kind, of the image after one that is equal on both sides."""
    measured = measure([REFERENCE[0], CLEAR], [REFERENCE[0], candidate], **options)
    (finding,) = [finding for finding in measured.findings if finding.kind == kind]
    assert finding.image == "street_1.png"
    assert measured.finding_counts[kind] == 1
    return finding


def put(array, index, value):
    copy = array.copy()
    copy[index] = value
    return copy


def test_a_missed_object_is_named():
    finding = told(CLEAR.take(np.array([1, 2])), "missed")
    assert finding.text == "street_1.png: missed 'car' 0.83 at [12.0 30.5 80.2 99.9]; the candidate has nothing there"
    assert finding.reference.box == (12.0, 30.5, 80.2, 99.9)
    assert (finding.reference.class_name, finding.reference.score, finding.candidate) == ("car", 0.83, None)


def test_a_missed_object_that_is_there_under_the_threshold_is_told_so():
    finding = told(replace(CLEAR, scores=put(CLEAR.scores, 0, 0.12)), "missed")
    assert finding.text.endswith("; the candidate has it with 0.12, under the threshold of 0.25")


def test_an_extra_object_that_the_reference_has_under_the_threshold_is_told_so():
    weak = Detections(np.array([[500.0, 500, 560, 560]]), np.array([0.12]), np.array([1]))
    measured = measure([appended(CLEAR, weak)], [appended(CLEAR, with_scores(weak, np.array([0.6])))])
    assert measured.findings[0].text == (
        "street_0.png: extra 'truck' 0.6 at [500.0 500.0 560.0 560.0]; "
        "the reference has it with 0.12, under the threshold of 0.25"
    )


def test_a_hallucinated_class_is_named():
    extra = Detections(np.array([[500.0, 500, 560, 560]]), np.array([0.99]), np.array([2]))
    finding = told(appended(CLEAR, extra), "extra")
    assert finding.text == (
        "street_1.png: extra 'dog' 0.99 at [500.0 500.0 560.0 560.0]; the reference shows 'dog' in no image"
    )


def test_a_flipped_class_is_named():
    finding = told(replace(CLEAR, scores=put(CLEAR.scores, 1, 0.7), classes=put(CLEAR.classes, 1, 1)), "class flip")
    assert finding.text == (
        "street_1.png: class flip: 'car' 0.8 at [100.0 100.0 140.0 160.0] became 'truck' 0.7 (IoU 1.00)"
    )
    assert (finding.reference.class_name, finding.candidate.class_name) == ("car", "truck")


def test_a_shifted_box_is_named():
    finding = told(replace(CLEAR, boxes=put(CLEAR.boxes, 2, [306, 304, 406, 364])), "moved")
    assert "'truck' 0.91 at [300.0 300.0 400.0 360.0] moved by 7.21 px (IoU 0.78)" in finding.text


def test_a_scaled_score_is_named():
    finding = told(replace(CLEAR, scores=put(CLEAR.scores, 2, 0.52)), "score")
    assert finding.text == "street_1.png: 'truck' at [300.0 300.0 400.0 360.0]: score 0.91 became 0.52"


def test_a_duplicate_is_named():
    twin = Detections(CLEAR.boxes[:1] + 2.0, np.array([0.5]), np.array([0]))
    assert "duplicate 'car' 0.5 at [14.0 32.5 82.2 101.9]" in told(appended(CLEAR, twin), "duplicate").text


@pytest.mark.parametrize("precision", Precision)
def test_no_gate_is_stricter_than_what_findings_tell_of(precision):
    gates = default_gates(Task.DETECTION, precision)
    limits = {gate.figure: gate for gate in gates}
    told = told_limits(gates)
    assert max(limits["iou_mean"].minimum, limits["iou_p5"].minimum) <= told.iou
    assert min(limits["score_bias"].maximum, limits["score_difference_p99"].maximum) >= told.score_step


@pytest.mark.parametrize(
    ("gate", "candidate"),
    [
        (Gate("iou_min", 0.999, None, "strict"), replace(CLEAR, boxes=CLEAR.boxes + np.array([0.1, 0, 0, 0]))),
        (Gate("corner_shift_max", None, 0.05, "strict"), replace(CLEAR, boxes=CLEAR.boxes + np.array([0.1, 0, 0, 0]))),
        (Gate("score_difference_mean", None, 0.0005, "strict"), replace(CLEAR, scores=CLEAR.scores - 0.001)),
        (Gate("score_bias", -0.0005, None, "strict"), replace(CLEAR, scores=CLEAR.scores - 0.001)),
    ],
    ids=lambda value: value.figure if isinstance(value, Gate) else "",
)
def test_what_a_strict_gate_of_a_case_does_not_allow_is_told_where_the_usual_one_would_not(gate, candidate):
    gates = (*default_gates(Task.DETECTION, Precision.FP16), gate)
    assert not measure([CLEAR], [candidate]).findings
    measured = measure([CLEAR], [candidate], told=told_limits(gates))
    assert gate.figure in {one.figure.name for one in judge_figures(measured.figures, gates) if one.verdict == "fail"}
    assert measured.findings[0].kind in {"moved", "score"}


def test_findings_are_capped_and_counted():
    measured = measure(REFERENCE, [NOTHING, *REFERENCE[1:]], max_findings=7)
    assert len(measured.findings) == 7
    assert measured.finding_counts == {"one-sided image": 1, "missed": 30}
    assert [finding.severity for finding in measured.findings] == sorted(
        (finding.severity for finding in measured.findings), reverse=True
    )


def test_the_least_agreeing_image_comes_first_with_its_counts():
    measured = measure(REFERENCE, [*REFERENCE[:3], REFERENCE[3].take(np.arange(15)), *REFERENCE[4:]])
    worst = measured.images[0]
    assert (worst.image, worst.feed, worst.agreement) == ("street_3.png", 3, pytest.approx(0.5))
    assert worst.counts["missed"] == 15
    assert len(measured.images) == 20


def test_a_score_that_changed_lowers_an_images_agreement_as_a_lost_overlap_does():
    measured = measure([CLEAR], [with_scores(CLEAR, CLEAR.scores - np.array([0.3, 0, 0]))])
    assert measured.images[0].agreement == pytest.approx(0.9)


def test_what_the_candidate_does_not_show_is_no_error_of_its():
    weak = Detections(np.array([[500.0, 500, 560, 560]]), np.array([0.05]), np.array([0]))
    assert values(measure([CLEAR], [appended(CLEAR, weak)]))["tide_background"] == 0
    assert values(measure([CLEAR], [appended(CLEAR, weak)], score_threshold=0.01))["tide_background"] == 1


def test_a_made_up_class_is_worse_than_a_miss_of_a_surer_detection():
    dog = Detections(np.array([[500.0, 500, 560, 560]]), np.array([0.3]), np.array([2]))
    first, second = measure([CLEAR], [appended(CLEAR.take(np.array([0, 1])), dog)]).findings
    assert (first.kind, second.kind) == ("extra", "missed")


def test_drift_beyond_the_cap_excuses_no_more_than_the_cap():
    near = [with_scores(side, np.concatenate([side.scores[:-1], [0.28]])) for side in REFERENCE]
    drifted = [with_scores(side, side.scores - 0.1) for side in near]
    assert values(measure(near, drifted))["missed_share"] == pytest.approx(20 / 600)
    assert values(measure(near, drifted, borderline_cap=0.05))["missed_share"] == 0


def test_a_detection_exactly_on_the_threshold_is_missed_where_nothing_drifts():
    on_it = with_scores(CLEAR, put(CLEAR.scores, 2, 0.25))
    assert values(measure([on_it], [on_it.take(np.array([0, 1]))]))["borderline_share"] == 0


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


def test_flaws_of_each_side_are_summed():
    flawed = replace(REFERENCE[0], flaws={"nan score": 2})
    measured = measure(REFERENCE[:2], [flawed, replace(flawed, flaws={"nan score": 1, "inverted box": 1})])
    assert measured.flaws == {"candidate: nan score": 3, "candidate: inverted box": 1}


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


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            replace(CLEAR, scores=put(CLEAR.scores, 0, np.nan)),
            "street_0.png, candidate: a score or a box is not finite",
        ),
        (replace(CLEAR, boxes=put(CLEAR.boxes, 0, np.inf)), "not finite"),
        (replace(CLEAR, classes=CLEAR.classes[:2]), r"classes \(2,\); expected"),
        (replace(CLEAR, masks=np.zeros((3, 4, 4), np.bool_)), "the reference has no masks, the other side has"),
    ],
)
def test_a_side_that_makes_no_sense_is_refused_by_name(broken, message):
    with pytest.raises(StructureError, match=message):
        measure([CLEAR], [broken])


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
