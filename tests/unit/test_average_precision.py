"""Average precision, against pycocotools."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.detect.ap_images import ApImage
from parity.detect.average_precision import evaluate, match_images, precision_table
from parity.errors import StructureError
from tests.ap_images import coco_precision, draw_images, make_image

NOTHING = make_image([], [])

# Corners on a coarse grid meet the IoU thresholds exactly and overlap equally; a scale makes them round in float64.
corners = st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(1, 8), st.integers(1, 8))
scores = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))
areas = st.sampled_from([1.0, 1e10, 1.0001e10])
objects = st.tuples(corners, st.integers(0, 2), st.sampled_from([0, 0, 0, 1]), areas)
detections = st.tuples(corners, st.integers(0, 3), scores)


def to_box(corner: tuple[int, ...], scale: float) -> list[float]:
    x, y, width, height = corner
    return [x * scale, y * scale, (x + width) * scale, (y + height) * scale]


@st.composite
def image(draw: st.DrawFn, scale: float) -> ApImage:
    truth = [(*to_box(c, scale), *rest) for c, *rest in draw(st.lists(objects, max_size=6))]
    found = [(*to_box(c, scale), *rest) for c, *rest in draw(st.lists(detections, max_size=10))]
    return make_image(truth, found)


image_lists = st.sampled_from([1.0, 0.1, 7.3, 1e5]).flatmap(
    lambda scale: st.lists(image(scale), min_size=1, max_size=4)
)


def assert_equal(images: list[ApImage], cap: int) -> None:
    ours, theirs = asdict(evaluate(images, cap)), coco_precision(images, cap)
    assert ours.pop("per_class") == pytest.approx(theirs.pop("per_class"), abs=1e-9)
    assert ours == pytest.approx(theirs, abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(image_lists, st.sampled_from([1, 2, 3, 100]))
def test_average_precision_is_that_of_pycocotools_with_ties_caps_crowds_and_huge_boxes(
    images: list[ApImage], cap: int
) -> None:
    assert_equal(images, cap)


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_of_a_detector_with_every_fault_is_that_of_pycocotools(seed: int) -> None:
    images = draw_images(np.random.default_rng(seed), 20, 40)
    assert 0.05 < evaluate(images).ap < 0.8
    assert_equal(images, 100)


def crowded(count: int) -> ApImage:
    corner = np.arange(count)[:, None] * 20.0
    boxes = np.hstack([corner, np.zeros_like(corner), corner + 10, np.full_like(corner, 10)])
    zeros = np.zeros(count, np.int64)
    return ApImage(
        boxes, zeros, zeros.astype(np.bool_), np.full(count, 100.0), boxes, np.linspace(1, 0.5, count), zeros
    )


def test_a_detector_with_150_objects_an_image_agrees_with_itself_where_cocos_cap_says_two_thirds() -> None:
    images = [crowded(150)]
    assert evaluate(images).ap == 1.0
    assert evaluate(images, 100).ap == pytest.approx(coco_precision(images, 100)["ap"], abs=1e-9)
    assert evaluate(images, 100).ap == pytest.approx(67 / 101)


def test_identical_sides_agree_where_ids_from_0_make_pycocotools_say_0() -> None:
    images = [make_image([(0, 0, 10, 10, 0)], [(0, 0, 10, 10, 0, 0.9)])]
    assert coco_precision(images, 100, first_id=0)["ap"] == 0.0
    assert evaluate(images).ap == 1.0


def own_truth() -> list[ApImage]:
    """Return images whose detections are their truth."""
    rng = np.random.default_rng(5)
    drawn = draw_images(rng, 20, 30)
    return [
        replace(one, boxes=one.truth_boxes, classes=one.truth_classes, scores=rng.random(len(one.truth_boxes)))
        for one in drawn
    ]


def test_average_precision_is_blind_to_scaled_and_to_reversed_scores() -> None:
    images = own_truth()
    assert evaluate(images).ap == 1.0
    assert evaluate([replace(one, scores=one.scores * 0.1) for one in images]).ap == 1.0
    assert evaluate([replace(one, scores=1 - one.scores) for one in images]).ap == 1.0


def test_average_precision_is_blind_to_classes_without_truth() -> None:
    hallucinated = make_image([], [(0, 0, 10, 10, 77, 0.99)] * 20)
    result = evaluate([*own_truth(), hallucinated])
    assert result.ap == 1.0
    assert 77 not in result.per_class


def test_equal_scores_leave_the_order_of_the_rows_to_decide() -> None:
    right, wrong = (0, 0, 10, 10, 0, 0.5), (50, 50, 60, 60, 0, 0.5)
    first, last = (make_image([(0, 0, 10, 10, 0)], rows) for rows in ([right, wrong], [wrong, right]))
    assert (evaluate([first]).ap, evaluate([last]).ap) == pytest.approx((1.0, 0.5))


@pytest.mark.parametrize(
    "images",
    [
        [],
        [NOTHING],
        [make_image([], [(0, 0, 9, 9, 0, 0.9)])],
        [make_image([(0, 0, 9, 9, 0, 1)], [(0, 0, 9, 9, 0, 0.9)])],
    ],
    ids=["no images", "empty image", "no truth", "crowd alone"],
)
def test_without_truth_there_is_no_average_precision(images: list[ApImage]) -> None:
    result = evaluate(images)
    assert (result.ap, result.ap50, result.ap75, result.per_class) == (None, None, None, {})


def test_truth_without_detections_has_an_average_precision_of_0() -> None:
    assert evaluate([make_image([(0, 0, 9, 9, 4)], [])]).per_class == {4: 0.0}


def test_arrays_of_different_lengths_are_refused_with_the_images_number() -> None:
    good = make_image([(0, 0, 9, 9, 0)], [(0, 0, 9, 9, 0, 0.9)])
    bad = replace(good, scores=np.ones(2))
    with pytest.raises(StructureError, match=r"image 1: .* detections \[1, 2\]"):
        evaluate([good, bad])


def distinct(scores: np.ndarray) -> np.ndarray:
    """Return scores in the same order without ties: copies of an image would mix what is equal in it."""
    ranks = np.argsort(np.argsort(-scores, kind="stable"), kind="stable")
    return np.linspace(1, 0.1, len(scores))[ranks]


@settings(max_examples=50, deadline=None)
@given(image_lists, st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_an_image_that_counts_twice_counts_as_two_equal_images(images: list[ApImage], drawn: list[int]) -> None:
    images = [replace(one, scores=distinct(one.scores)) for one in images]
    counts = np.array(drawn[: len(images)])
    copies = [one for one, count in zip(images, counts, strict=True) for _ in range(count)]
    table = precision_table(match_images(images), counts)
    expected = evaluate(copies).ap if copies else None
    known = table[~np.isnan(table)]
    assert (known.mean() if known.size else None) == pytest.approx(expected, abs=1e-9)
