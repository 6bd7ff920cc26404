"""How two detectors differ is told image by image: each finding in words, the worst first, the rest counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from parity.decoded import Detections, Task
from parity.detect.gates import Gate, default_gates, judge_figures, told_limits
from parity.errors import StructureError
from parity.tolerance import Precision
from tests.detector_scenes import CLEAR, NOTHING, REFERENCE, appended, measure, put, with_scores


def told(candidate, kind, **options):
    """Return the one finding of a kind, of the image after one that is equal on both sides."""
    measured = measure([REFERENCE[0], CLEAR], [REFERENCE[0], candidate], **options)
    (finding,) = [finding for finding in measured.findings if finding.kind == kind]
    assert finding.image == "street_1.png"
    assert measured.finding_counts[kind] == 1
    return finding


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


def test_a_made_up_class_is_worse_than_a_miss_of_a_surer_detection():
    dog = Detections(np.array([[500.0, 500, 560, 560]]), np.array([0.3]), np.array([2]))
    first, second = measure([CLEAR], [appended(CLEAR.take(np.array([0, 1])), dog)]).findings
    assert (first.kind, second.kind) == ("extra", "missed")


def test_flaws_of_each_side_are_summed():
    flawed = replace(REFERENCE[0], flaws={"nan score": 2})
    measured = measure(REFERENCE[:2], [flawed, replace(flawed, flaws={"nan score": 1, "inverted box": 1})])
    assert measured.flaws == {"candidate: nan score": 3, "candidate: inverted box": 1}


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
