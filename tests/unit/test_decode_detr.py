"""DETR and RT-DETR, of three exporters: queries that need no thinning out."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import scipy.special

from parity.decode import decode, find_layouts
from parity.decode.detr import Detr
from parity.decode.rtdetr import RtDetr
from parity.decode.rtdetr_ultralytics import RtDetrUltralytics
from parity.errors import DecodeError
from parity.preprocess import Geometry

STRETCHED = Geometry(original_height=100, original_width=200, scale_x=3.2, scale_y=6.4)
PADDED = Geometry(original_height=100, original_width=200, left=0, top=50)
CENTERS = np.array([[0.5, 0.5, 0.5, 0.5], [0.25, 0.5, 0.1, 0.2], [0.8, 0.8, 0.2, 0.2]], np.float32)
IN_IMAGE = np.array([[50, 25, 150, 75], [40, 40, 60, 60], [140, 70, 180, 90]], np.float64)
# Three classes and, for softmax, none.
LOGITS = np.array([[4, 0, 0, 1], [0, 0, 0, 9], [0, 1, 5, 1]], np.float32)


def detr(logits=LOGITS, geometry=STRETCHED, centers=CENTERS, **settings):
    settings = Detr(ap_score_threshold=0.01, **settings)
    [found] = decode(settings, {"pred_logits": logits[None], "pred_boxes": centers[None]}, [geometry])
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_softmax_of_the_best_class_is_the_score_and_the_last_class_is_none(dtype) -> None:
    found = detr(LOGITS.astype(dtype), centers=CENTERS)
    chances = scipy.special.softmax(LOGITS.astype(np.float64), axis=1)
    assert found.classes.tolist() == [2, 0]
    assert found.scores == pytest.approx([chances[2, 2], chances[0, 0]])
    assert found.boxes == pytest.approx(IN_IMAGE[[2, 0]], abs=1e-4)


def test_sigmoid_lets_a_query_have_several_classes() -> None:
    found = detr(np.array([[2, 1, -9], [-9, -9, -9], [-9, -9, 0]], np.float32), scores="sigmoid")
    assert found.classes.tolist() == [0, 1, 2]
    assert found.scores == pytest.approx(scipy.special.expit([2, 1, 0]))
    assert found.boxes == pytest.approx(IN_IMAGE[[0, 0, 2]], abs=1e-4)


@pytest.mark.parametrize(("scores", "classes"), [("softmax", []), ("sigmoid", [3, 0, 1, 2])])
def test_queries_that_are_no_numbers_are_counted(scores, classes) -> None:
    logits, centers = LOGITS.copy(), CENTERS.copy()
    logits[0, 1], centers[2, 2] = np.nan, -1
    found = detr(logits, centers=centers, scores=scores)
    assert found.flaws == {"nan score": 1, "inverted box": 1}
    assert found.classes.tolist() == classes


@pytest.mark.parametrize(("scores", "count"), [("softmax", 3), ("sigmoid", 4)])
def test_class_names_are_those_of_objects(scores, count) -> None:
    detr(scores=scores, class_names=[str(number) for number in range(count)])
    with pytest.raises(DecodeError, match=rf"{count + 1} names.* {count} classes"):
        detr(scores=scores, class_names=[str(number) for number in range(count + 1)])


def test_shares_of_a_padded_tensor_need_its_size() -> None:
    with pytest.raises(DecodeError, match=r"set decode\.input_size"):
        detr(geometry=PADDED)
    found = detr(geometry=PADDED, input_size=[200, 200])
    assert found.boxes[1] == pytest.approx([50, 0, 150, 100], abs=1e-4)


def test_padding_below_and_beside_is_seen_by_the_tensors_size_alone() -> None:
    corner = Geometry(original_height=100, original_width=200)
    assert detr(geometry=corner).boxes[1] == pytest.approx([50, 25, 150, 75], abs=1e-4)
    assert detr(geometry=corner, input_size=[200, 200]).boxes[-1] == pytest.approx([50, 50, 150, 100], abs=1e-4)


def test_queries_of_logits_and_boxes_have_to_be_as_many() -> None:
    with pytest.raises(DecodeError, match="found rows of logits 2, boxes 3"):
        detr(LOGITS[:2])


def rtdetr(geometry=STRETCHED, settings=RtDetr(), **changes):  # noqa: B008 - frozen
    outputs = {
        "labels": np.array([[5, 1, 0]]),
        "boxes": IN_IMAGE[None].astype(np.float32),
        "scores": np.array([[0.3, 0.9, 0.0001]], np.float32),
    }
    [found] = decode(settings, {**outputs, **changes}, [geometry])
    return found


def test_boxes_of_rtdetr_are_in_the_image_already() -> None:
    found = rtdetr()
    assert found.boxes == pytest.approx(IN_IMAGE[[1, 0]], abs=1e-4)
    assert found.classes.tolist() == [1, 5]


def test_boxes_of_rtdetr_may_be_in_the_tensor() -> None:
    scaled = STRETCHED.to_tensor(IN_IMAGE)[None]
    assert rtdetr(settings=RtDetr(boxes="tensor"), boxes=scaled).boxes == pytest.approx(IN_IMAGE[[1, 0]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.array([[0.5, 1, 2]])}, r"labels has 0\.5"),
        ({"labels": np.array([[1, 2]])}, "found rows of boxes 3, labels 2, scores 3"),
        ({"scores": np.ones((2, 3))}, "outputs of 2 images"),
    ],
)
def test_outputs_of_rtdetr_that_make_no_sense_are_refused(changes, message) -> None:
    with pytest.raises(DecodeError, match=message):
        rtdetr(**changes)


def test_rows_of_ultralytics_are_shares_of_the_stretched_image() -> None:
    rows = np.concatenate([CENTERS, scipy.special.expit(LOGITS[:, :3])], axis=1)
    settings = RtDetrUltralytics(ap_score_threshold=0.6)
    [found] = decode(settings, {"output0": rows[None].astype(np.float16)}, [STRETCHED])
    assert found.classes.tolist() == [2, 0]
    assert found.scores == pytest.approx(scipy.special.expit([5, 4]), abs=1e-3)
    assert found.boxes == pytest.approx(IN_IMAGE[[2, 0]], abs=0.1)


def test_rows_of_ultralytics_may_have_one_score_and_its_class() -> None:
    rows = np.concatenate([CENTERS, [[0.9, 2], [0.7, 0], [0.2, 1]]], axis=1)
    [found] = decode(RtDetrUltralytics(scores="best", class_names=list("abc")), {"output0": rows[None]}, [STRETCHED])
    assert found.classes.tolist() == [2, 0, 1]
    assert found.scores == pytest.approx([0.9, 0.7, 0.2])
    assert found.boxes == pytest.approx(IN_IMAGE)


def test_a_score_of_each_class_is_not_taken_for_the_best_score_and_its_class() -> None:
    settings = RtDetrUltralytics(scores="best")
    with pytest.raises(DecodeError, match=r"rows of 84; expected 6.* decode.scores"):
        decode(settings, {"output0": np.zeros((1, 9, 84), np.float32)}, [STRETCHED])
    with pytest.raises(DecodeError, match="whole number"):
        decode(settings, {"output0": np.full((1, 9, 6), 0.5, np.float32)}, [STRETCHED])


def test_class_names_have_to_fit_rows_of_ultralytics() -> None:
    with pytest.raises(DecodeError, match=r"1 names.* 3 classes"):
        decode(RtDetrUltralytics(class_names=["a"]), {"output0": np.zeros((1, 9, 7), np.float32)}, [STRETCHED])


@pytest.mark.parametrize("settings", [Detr(), RtDetr(), RtDetrUltralytics()], ids=lambda settings: settings.name)
def test_no_queries_are_no_detections(settings) -> None:
    outputs = {
        "detr": {"pred_logits": np.zeros((1, 0, 5), np.float32), "pred_boxes": np.zeros((1, 0, 4), np.float32)},
        "rtdetr": {"labels": np.zeros((1, 0)), "boxes": np.zeros((1, 0, 4)), "scores": np.zeros((1, 0))},
        "rtdetr_ultralytics": {"output0": np.zeros((1, 0, 84), np.float32)},
    }
    [found] = decode(settings, outputs[settings.name], [STRETCHED])
    assert len(found) == 0


@pytest.mark.parametrize(
    ("shapes", "family"),
    [
        ({"pred_logits": (1, 100, 92), "pred_boxes": (1, 100, 4)}, "detr"),
        ({"pred_boxes": (1, 100, 4), "logits": (1, 100, 4)}, "detr"),
        ({"labels": (1, 300), "boxes": (1, 300, 4), "scores": (1, 300)}, "rtdetr"),
        ({"output0": (1, 300, 84)}, "rtdetr_ultralytics"),
        ({"output0": (1, 300, 6)}, "yolov10"),
    ],
)
def test_layouts_lead_the_list(shapes, family) -> None:
    [(best, fit), *others] = find_layouts(shapes)
    assert best == family
    assert all(other.certainty < fit.certainty for _, other in others)


def test_rows_of_6_may_still_be_of_ultralytics() -> None:
    fit = dict(find_layouts({"output0": (1, 300, 6)}))["rtdetr_ultralytics"]
    assert 0 < fit.certainty < 0.2
    assert fit.settings == {"scores": "best"}
