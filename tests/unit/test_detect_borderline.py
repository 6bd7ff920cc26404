"""A detection that drift alone takes across a threshold is borderline; one that drift does not explain is missed."""

from __future__ import annotations

import numpy as np
import pytest

from parity.decoded import Detections
from parity.tolerance import Precision
from tests.detector_scenes import CLEAR, REFERENCE, appended, changed, failing, measure, put, values, with_scores


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


def test_drift_beyond_the_cap_excuses_no_more_than_the_cap():
    near = [with_scores(side, np.concatenate([side.scores[:-1], [0.28]])) for side in REFERENCE]
    drifted = [with_scores(side, side.scores - 0.1) for side in near]
    assert values(measure(near, drifted))["missed_share"] == pytest.approx(20 / 600)
    assert values(measure(near, drifted, borderline_cap=0.05))["missed_share"] == 0


def test_a_detection_exactly_on_the_threshold_is_missed_where_nothing_drifts():
    on_it = with_scores(CLEAR, put(CLEAR.scores, 2, 0.25))
    assert values(measure([on_it], [on_it.take(np.array([0, 1]))]))["borderline_share"] == 0
