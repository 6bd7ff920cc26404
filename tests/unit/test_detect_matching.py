"""Pairs are the best there are, whatever the order; what is no pair is told apart."""

from __future__ import annotations

from itertools import permutations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.decoded import Detections
from parity.detect.matching import match
from parity.detect.overlap import overlaps
from parity.detect.parts import keypoint_similarities, mask_overlaps
from parity.detect.turned import turned_overlaps, turned_shifts

# No deadlines: SciPy loads in the first example.
IOU = 0.5
CROWD = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 6), st.integers(1, 6), st.integers(0, 1)),
    max_size=5,
)


def detections(*rows, scores=None):
    """Make detections of rows (x1, y1, x2, y2, class); scores fall from 0.9 if none are given."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    given_scores = np.linspace(0.9, 0.5, len(table)) if scores is None else np.array(scores, np.float64)
    return Detections(table[:, :4], given_scores, table[:, 4].astype(np.int64))


def crowd(rows):
    return detections(*((x, y, x + width, y + height, kind) for x, y, width, height, kind in rows))


def pairs_of(matches):
    return set(zip(matches.reference.tolist(), matches.candidate.tolist(), strict=True))


def best_sum(table):
    """Return the largest sum of a table's entries without a common row or column, by trying all ways."""
    if table.shape[0] > table.shape[1]:
        table = table.T
    ways = permutations(range(table.shape[1]), table.shape[0])
    return max((sum(table[row, column] for row, column in enumerate(way)) for way in ways), default=0.0)


def allowed_ious(one, other):
    rows, columns = np.indices((len(one), len(other))).reshape(2, -1)
    table = overlaps(one.boxes[rows], other.boxes[columns]).reshape(len(one), len(other))
    return np.where(table >= IOU, table, 0.0)


@settings(deadline=None)
@given(CROWD, CROWD)
def test_no_other_pairing_has_a_larger_sum_of_ious_first_within_and_then_across_classes(one, other):
    reference, candidate = crowd(one), crowd(other)
    matches = match(reference, candidate, iou=IOU)
    table = allowed_ious(reference, candidate)
    same = reference.classes[:, None] == candidate.classes[None]
    assert matches.ious[~matches.is_flip].sum() == pytest.approx(best_sum(np.where(same, table, 0.0)), abs=1e-5)
    table[matches.reference[~matches.is_flip]] = 0.0
    table[:, matches.candidate[~matches.is_flip]] = 0.0
    assert matches.ious[matches.is_flip].sum() == pytest.approx(best_sum(table), abs=1e-5)


@settings(deadline=None)
@given(CROWD, CROWD)
def test_every_row_is_in_exactly_one_place_and_no_pair_is_below_the_iou(one, other):
    reference, candidate = crowd(one), crowd(other)
    matches = match(reference, candidate, iou=IOU)
    assert sorted([*matches.reference, *matches.missed]) == list(range(len(reference)))
    assert sorted([*matches.candidate, *matches.extra]) == list(range(len(candidate)))
    assert (matches.ious >= IOU).all()
    assert ((reference.classes[matches.reference] != candidate.classes[matches.candidate]) == matches.is_flip).all()


@settings(deadline=None)
@given(CROWD, st.randoms())
def test_an_image_matches_itself_in_any_order(rows, random):
    reference = crowd(rows)
    order = np.array(random.sample(range(len(rows)), len(rows)), np.int64)
    matches = match(reference, reference.take(order), iou=IOU)
    assert not len(matches.missed)
    assert not len(matches.extra)
    assert np.allclose(matches.ious, 1.0)
    assert np.array_equal(reference.boxes[matches.reference], reference.boxes[order][matches.candidate])
    assert np.array_equal(reference.scores[matches.reference], reference.scores[order][matches.candidate])


def test_a_pair_below_the_iou_does_not_take_a_partner_from_a_good_one():
    # Without the gate the sum over both would be larger with 0-0 at 0.45 and 1-1 at 0.8 than with 1-0 at 1.0 alone.
    reference = detections((0, 0, 100, 100, 0), (38, 0, 138, 100, 0))
    candidate = detections((38, 0, 138, 100, 0), (49, 0, 149, 100, 0))
    matches = match(reference, candidate, iou=IOU)
    assert pairs_of(matches) == {(1, 0)}
    assert matches.missed.tolist() == [0]
    assert matches.extra.tolist() == [1]


def test_boxes_that_do_not_overlap_are_no_pair_even_at_an_iou_of_0():
    matches = match(detections((0, 0, 10, 10, 0)), detections((10, 0, 20, 10, 0)), iou=0.0)
    assert not len(matches.ious)


def test_a_box_of_another_class_is_a_flip_only_where_its_own_class_is_not_there():
    reference = detections((0, 0, 10, 10, 0), (50, 0, 60, 10, 0))
    candidate = detections((0, 0, 10, 10, 1), (1, 0, 11, 10, 0), (50, 0, 60, 10, 1))
    matches = match(reference, candidate, iou=IOU)
    assert pairs_of(matches) == {(0, 1), (1, 2)}
    assert matches.is_flip.tolist() == [False, True]
    assert matches.extra.tolist() == [0]
    assert matches.duplicate_of.tolist() == [-1]


def test_a_second_box_on_a_found_object_is_a_duplicate_of_it_and_the_weaker_twin_is_the_duplicate():
    reference = detections((0, 0, 10, 10, 0), (50, 0, 60, 10, 0), scores=[0.9, 0.8])
    candidate = detections((0, 0, 10, 10, 0), (0, 0, 10, 10, 0), (50, 0, 60, 10, 0), scores=[0.45, 0.9, 0.8])
    matches = match(reference, candidate, iou=IOU)
    assert pairs_of(matches) == {(0, 1), (1, 2)}
    assert matches.extra.tolist() == [0]
    assert matches.duplicate_of.tolist() == [0]


def turned(center, size, angle):
    return cv2.boxPoints((center, size, angle)).astype(np.float64)


BOX = st.tuples(
    st.tuples(st.floats(0, 60), st.floats(0, 60)), st.tuples(st.floats(1, 50), st.floats(1, 50)), st.floats(-180, 180)
)


def chords(corners, heights):
    """Return (2, heights) the left and the right end of a convex polygon on each horizontal line."""
    begin, end = corners[:, None], np.roll(corners, -1, axis=0)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        part = (heights - begin[..., 1]) / (end[..., 1] - begin[..., 1])
        crossing = np.where((part >= 0) & (part <= 1), begin[..., 0] + part * (end[..., 0] - begin[..., 0]), np.nan)
    return np.nanmin(crossing, axis=0), np.nanmax(crossing, axis=0)


def common_area(first, second):
    """Return the area of the intersection by adding up thin horizontal strips."""
    low, high = max(first[:, 1].min(), second[:, 1].min()), min(first[:, 1].max(), second[:, 1].max())
    if low >= high:
        return 0.0
    heights = low + (np.arange(4000) + 0.5) / 4000 * (high - low)
    (left, right), (other_left, other_right) = chords(first, heights), chords(second, heights)
    return np.maximum(np.minimum(right, other_right) - np.maximum(left, other_left), 0.0).mean() * (high - low)


# OpenCV's own intersection is no oracle: of two concentric boxes, 1 x 35 and 1 x 15, it gives an IoU of 0.48.
@settings(deadline=None)
@given(BOX, BOX)
def test_the_overlap_of_turned_boxes_is_what_thin_strips_add_up_to_in_either_direction(one, other):
    first, second = turned(*one), turned(*other)
    shared = common_area(first, second)
    expected = shared / (np.prod(one[1]) + np.prod(other[1]) - shared)
    for corners in (second, second[::-1]):
        assert turned_overlaps(first[None], corners[None])[0] == pytest.approx(expected, abs=1e-3)


@settings(deadline=None)
@given(BOX, st.floats(-50, 50), st.floats(0.01, 0.99))
def test_a_turned_box_moved_along_its_own_side_overlaps_by_what_is_left(box, offset, part):
    corners = turned(*box) + offset
    moved = corners + part * (corners[1] - corners[0])
    expected = (1 - part) / (1 + part)
    # OpenCV's corners are float32: a side of one pixel is known to 4e-6 of it where it lies at 60.
    assert turned_overlaps(corners[None], moved[None])[0] == pytest.approx(expected, abs=1e-5)
    assert turned_overlaps(corners[None], corners[None])[0] == pytest.approx(1.0)
    assert turned_shifts(corners[None], moved[None])[0] <= part * np.linalg.norm(corners[1] - corners[0]) + 1e-9


def test_a_cross_of_turned_boxes_overlaps_although_no_corner_lies_in_the_other():
    first, second = turned((50, 50), (80, 20), 45), turned((50, 50), (80, 20), -45)
    assert turned_overlaps(first[None], second[None])[0] == pytest.approx(400 / 2800, rel=1e-5)


def test_a_box_counted_from_another_corner_has_not_moved():
    corners = turned((50, 50), (80, 20), 30)
    assert turned_shifts(corners[None], np.roll(corners, 2, axis=0)[None])[0] == 0.0


def test_turned_boxes_are_paired_by_their_corners_not_by_what_encloses_them():
    reference = detections((10, 10, 90, 90, 0))
    corners = np.stack([turned((50, 50), (100, 13), angle) for angle in (45, -45)])
    first = Detections(reference.boxes, reference.scores, reference.classes, corners=corners[:1])
    second = Detections(reference.boxes, reference.scores, reference.classes, corners=corners[1:])
    assert pairs_of(match(first, first, iou=IOU)) == {(0, 0)}
    assert not pairs_of(match(first, second, iou=IOU))


def test_masks_overlap_by_their_pixels():
    first, second = np.zeros((2, 4, 4), np.bool_), np.zeros((2, 4, 4), np.bool_)
    first[0, :2], second[0, 1:3] = True, True
    assert mask_overlaps(first, second).tolist() == pytest.approx([1 / 3, 1.0])


def test_keypoints_are_as_similar_as_pycocotools_says():
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(3)
    truth, found = rng.uniform(0, 100, (17, 3)), rng.uniform(0, 100, (17, 3))
    truth[:, 2] = np.arange(17) % 2
    found[:, :2] = truth[:, :2] + rng.normal(0, 4, (17, 2))
    object_ = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 60.0 * 40, "bbox": [0, 0, 60, 40]}
    coco = COCO()
    coco.dataset = {
        "images": [{"id": 1}],
        "categories": [{"id": 1}],
        "annotations": [{**object_, "keypoints": (truth * [1, 1, 2]).ravel().tolist(), "num_keypoints": 8}],
    }
    coco.createIndex()
    answer = coco.loadRes(
        [{"image_id": 1, "category_id": 1, "keypoints": found.ravel().tolist(), "score": 0.9, "bbox": [0, 0, 60, 40]}]
    )
    evaluation = COCOeval(coco, answer, "keypoints")
    evaluation.params.imgIds, evaluation.params.catIds = [1], [1]
    evaluation._prepare()
    expected = evaluation.computeOks(1, 1)[0, 0]
    assert keypoint_similarities(truth[None], found[None], np.array([[0, 0, 60, 40]]))[0] == pytest.approx(expected)


def test_keypoints_that_the_reference_does_not_see_show_nothing():
    unseen = np.zeros((1, 5, 3))
    assert np.isnan(keypoint_similarities(unseen, unseen, np.array([[0.0, 0.0, 9.0, 9.0]])))[0]
