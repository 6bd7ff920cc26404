"""Families with a count, boxes, scores and classes: EfficientNMS and TensorFlow's object-detection API."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.decode import decode, find_layouts
from parity.decode.efficient_nms import EfficientNms
from parity.decode.tf_detections import TfDetections
from parity.errors import DecodeError
from parity.preprocess import Geometry

STRETCHED = Geometry(original_height=100, original_width=200, scale_x=2, scale_y=4)
NMS_NAMES = ("num_dets", "det_boxes", "det_scores", "det_classes")
TF_NAMES = ("num_detections", "detection_boxes", "detection_scores", "detection_classes")


def named(names, counts, boxes, scores, classes):
    return dict(zip(names, (counts, boxes, scores, classes), strict=True))


def efficient(boxes, **changes):
    count = len(boxes)
    arrays = {
        "num_dets": np.array([[count]], np.int32),
        "det_boxes": np.array([boxes], np.float32),
        "det_scores": np.linspace(0.9, 0.5, count, dtype=np.float32)[None],
        "det_classes": np.arange(count, dtype=np.int32)[None],
    }
    return {**arrays, **changes}


def tensorflow(boxes, classes=(1.0,), **changes):
    arrays = {
        "num_detections": np.array([len(boxes)], np.float32),
        "detection_boxes": np.array([boxes], np.float32),
        "detection_scores": np.full((1, len(boxes)), 0.8, np.float32),
        "detection_classes": np.array([classes], np.float32),
    }
    return {**arrays, **changes}


@pytest.mark.parametrize(
    ("settings", "box"),
    [
        (EfficientNms(), (20, 40, 80, 120)),
        (EfficientNms(box_coding="center"), (50, 80, 60, 80)),
        (EfficientNms(normalized_to=[400, 400]), (0.05, 0.1, 0.2, 0.3)),
        (EfficientNms(box_coding="center", normalized_to=[400, 400]), (0.125, 0.2, 0.15, 0.2)),
    ],
)
def test_every_coding_of_a_box_is_the_same_box(settings, box) -> None:
    [found] = decode(settings, efficient([box]), [STRETCHED])
    assert found.boxes == pytest.approx(np.array([[10, 10, 40, 30]]), abs=1e-5)
    assert found.classes.tolist() == [0]


def test_tensorflow_has_y_first_and_counts_classes_from_1() -> None:
    [found] = decode(TfDetections(), tensorflow([(0.1, 0.05, 0.3, 0.2)], [3.0]), [STRETCHED])
    assert found.boxes == pytest.approx(np.array([[10, 10, 40, 30]]), abs=1e-5)
    assert found.classes.tolist() == [2]
    [found] = decode(TfDetections(first_class=0), tensorflow([(0.1, 0.05, 0.3, 0.2)], [3.0]), [STRETCHED])
    assert found.classes.tolist() == [3]


def test_shares_of_a_padded_tensor_need_its_size() -> None:
    padded = Geometry(original_height=100, original_width=200, left=0, top=50)
    outputs = tensorflow([(0.25, 0.0, 0.5, 0.5)])
    with pytest.raises(DecodeError, match=r"set decode\.input_size"):
        decode(TfDetections(), outputs, [padded])
    [found] = decode(TfDetections(input_size=[200, 200]), outputs, [padded])
    assert found.boxes == pytest.approx(np.array([[0, 0, 100, 50]]))


@pytest.mark.parametrize(
    ("settings", "names"), [(EfficientNms(), NMS_NAMES), (TfDetections(), TF_NAMES)], ids=["efficient", "tensorflow"]
)
@given(st.integers(0, 3))
def test_rows_behind_the_count_are_never_looked_at(settings, names, count) -> None:
    boxes = np.full((2, 3, 4), np.nan, np.float32)
    scores, classes = np.full((2, 3), np.nan, np.float32), np.full((2, 3), 0.5, np.float32)
    for image, filled in enumerate((count, 3 - count)):
        boxes[image, :filled] = [0.1, 0.1, 0.9, 0.9]
        scores[image, :filled] = 0.7
        classes[image, :filled] = 1
    outputs = named(names, np.array([count, 3 - count], np.int32), boxes, scores, classes)
    first, second = decode(settings, outputs, [STRETCHED] * 2)
    assert (len(first), len(second)) == (count, 3 - count)
    assert first.flaws == second.flaws == {}


def test_broken_rows_before_the_count_are_counted() -> None:
    outputs = efficient([(0, 0, np.nan, 9), (9, 9, 3, 20), (0, 0, 40, 40)])
    [found] = decode(EfficientNms(), outputs, [STRETCHED])
    assert found.classes.tolist() == [2]
    assert found.flaws == {"non-finite box": 1, "inverted box": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_dets": np.array([[2]])}, "counts says 2 rows; expected 0 to 1"),
        ({"num_dets": np.array([[1], [1]])}, "counts has 2 counts; expected one for each of 1 images"),
        ({"num_dets": np.array([[0.5]])}, r"counts has 0\.5, which is no whole number"),
        ({"det_classes": np.array([[0.5]])}, r"classes has 0\.5, which is no whole number"),
        ({"det_scores": np.ones((1, 2))}, "found rows of boxes 1, scores 2, classes 1"),
        ({"det_boxes": np.ones((2, 1, 4))}, "outputs of 2 images, but 1 were fed"),
    ],
)
def test_outputs_that_make_no_sense_are_refused(changes, message) -> None:
    with pytest.raises(DecodeError, match=message):
        decode(EfficientNms(), efficient([(0, 0, 9, 9)], **changes), [STRETCHED])


def shapes_of(names, count=(1, 1)):
    return named(names, count, (1, 100, 4), (1, 100), (1, 100))


@pytest.mark.parametrize(("names", "family"), [(NMS_NAMES, "efficient_nms"), (TF_NAMES, "tf_detections")])
def test_published_names_are_known_in_any_order(names, family) -> None:
    shapes = shapes_of(names, (1,) if family == "tf_detections" else (1, 1))
    fit = dict(find_layouts(dict(reversed(shapes.items()))))[family]
    assert fit.outputs == named(("counts", "boxes", "scores", "classes"), *names)
    assert fit.certainty > 0.9


def test_names_tell_scores_from_classes() -> None:
    fit = dict(find_layouts(shapes_of(("n", "b", "my_class_ids", "my_scores"))))["efficient_nms"]
    assert (fit.outputs["scores"], fit.outputs["classes"]) == ("my_scores", "my_class_ids")
    assert fit.certainty < 0.9


def test_without_names_the_order_of_the_plugin_tells_and_it_is_less_certain() -> None:
    [(best, fit), *_] = find_layouts(shapes_of("abcd"))
    assert best == "efficient_nms"
    assert (fit.outputs["scores"], fit.outputs["classes"]) == ("c", "d")
    assert fit.certainty < 0.7


def test_further_outputs_are_passed_over_where_all_names_are_published() -> None:
    more = {"raw_detection_boxes": (1, 1917, 4), "detection_multiclass_scores": (1, 100, 91)}
    [(best, fit), *_] = find_layouts({**more, **shapes_of(TF_NAMES, (1,))})
    assert best == "tf_detections"
    assert fit.outputs["boxes"] == "detection_boxes"
    assert find_layouts({**more, **shapes_of("abcd")}) == ()
