"""YOLOv8's heads that give more than boxes: masks, keypoints, angles."""

from __future__ import annotations

import cv2
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.decode import decode, find_layouts
from parity.decode.yolov8_obb import YoloV8Obb, turned_corners
from parity.decode.yolov8_pose import YoloV8Pose
from parity.decode.yolov8_seg import YoloV8Seg, mix_masks
from parity.errors import DecodeError
from parity.preprocess import Geometry

LETTERBOX = Geometry(original_height=100, original_width=200, scale_x=0.32, scale_y=0.32, left=0, top=16)
PLACES = 30


def head(*rows, channels, dtype=np.float32):
    """Return (1, channels, places): rows of a few places, zeros at the others."""
    values = np.zeros((1, channels, PLACES), np.float32)
    for place, row in enumerate(rows):
        values[0, : len(row), 7 * place + 2] = row
    return values.astype(dtype)


def plain_masks(coefficients, prototypes, boxes):
    """Return masks one pixel at a time: the sigmoid of the mix above one half, inside the box."""
    count, height, width = len(coefficients), *prototypes.shape[1:]
    masks = np.zeros((count, height, width), bool)
    for index, y, x in np.ndindex(count, height, width):
        left, top, right, bottom = boxes[index]
        mix = sum(float(c) * float(p[y, x]) for c, p in zip(coefficients[index], prototypes, strict=True))
        masks[index, y, x] = 1 / (1 + np.exp(-mix)) > 0.5 and left <= x < right and top <= y < bottom
    return masks


def test_masks_are_those_of_the_formula_pixel_by_pixel() -> None:
    rng = np.random.default_rng(5)
    coefficients, prototypes = rng.normal(size=(6, 4)), rng.normal(size=(4, 9, 12))
    corners = np.sort(rng.uniform(-2, 12, size=(6, 2, 2)), axis=1).reshape(6, 4)
    masks, whole = mix_masks(coefficients, prototypes, corners)
    np.testing.assert_array_equal(masks, plain_masks(coefficients, prototypes, corners))
    assert 20 < masks.sum() < masks.size / 2
    assert whole.all()


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_masks_follow_their_boxes_through_suppression_and_order(dtype) -> None:
    prototypes = np.zeros((1, 2, 16, 16), dtype)
    prototypes[0, 0, :8], prototypes[0, 1, 8:] = 1, 1
    # Weak with the upper prototype, suppressed, strong with the lower one.
    rows = [(32, 32, 32, 32, 0.5, 0, 1, 0), (32, 32, 32, 31, 0.4, 0, 1, 0), (32, 32, 32, 32, 0, 0.9, -1, 1)]
    outputs = {"output0": head(*rows, channels=8, dtype=dtype), "output1": prototypes}
    [found] = decode(YoloV8Seg(), outputs, [LETTERBOX])
    assert found.classes.tolist() == [1, 0]
    assert found.masks.shape == (2, 16, 16)
    lower, upper = np.zeros((2, 16, 16), bool)
    lower[8:12, 4:12], upper[4:8, 4:12] = True, True
    np.testing.assert_array_equal(found.masks, [lower, upper])


def test_masks_that_are_no_numbers_leave_their_box_out_and_are_counted() -> None:
    rows = [(20, 32, 9, 9, 0.9, np.nan), (40, 32, 9, 9, 0.8, 1)]
    outputs = {"a": head(*rows, channels=6), "b": np.ones((1, 1, 16, 16), np.float32)}
    [found] = decode(YoloV8Seg(), outputs, [LETTERBOX])
    assert found.scores == pytest.approx([0.8])
    assert found.flaws == {"non-finite mask": 1}


def test_the_stride_of_the_prototypes_is_a_setting() -> None:
    outputs = {"a": head((32, 32, 32, 32, 0.9, 1), channels=6), "b": np.ones((1, 1, 8, 8), np.float32)}
    [found] = decode(YoloV8Seg(prototype_stride=8), outputs, [LETTERBOX])
    assert found.masks.sum() == 4 * 4


def test_keypoints_are_mapped_to_the_image_and_clipped_there() -> None:
    rows = [(32, 32, 32, 32, 0.9, 32, 32, 0.7, 16, 20, 0.2), (32, 32, 30, 32, 0.5, 0, 0, 0, 0, 0, 0)]
    [found] = decode(YoloV8Pose(keypoints=2), {"out": head(*rows, channels=11)}, [LETTERBOX])
    assert len(found) == 1
    assert found.keypoints == pytest.approx(np.array([[[100, 50, 0.7], [50, 12.5, 0.2]]]))


def test_keypoints_without_visibility_are_visible() -> None:
    settings = YoloV8Pose(keypoints=2, keypoint_values=2)
    [found] = decode(settings, {"out": head((32, 32, 9, 9, 0.9, 32, 32, 16, 20), channels=9)}, [LETTERBOX])
    assert found.keypoints == pytest.approx(np.array([[[100, 50, 1], [50, 12.5, 1]]]))


def test_boxes_with_keypoints_that_are_no_numbers_are_counted() -> None:
    rows = [(32, 32, 9, 9, 0.9, np.inf, 32, 1)]
    [found] = decode(YoloV8Pose(keypoints=1), {"out": head(*rows, channels=8)}, [LETTERBOX])
    assert (len(found), found.flaws) == (0, {"non-finite point": 1})


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(1, 60), st.floats(1, 60), st.floats(-np.pi / 4, 3 * np.pi / 4))
def test_corners_are_those_of_opencv(cx, cy, width, height, angle) -> None:
    [found] = turned_corners(np.array([[cx, cy, width, height, angle]]))
    expected = cv2.boxPoints(((cx, cy), (width, height), float(np.rad2deg(angle))))
    apart = np.linalg.norm(found[:, None] - expected[None], axis=2)
    assert apart.min(axis=1).max() < 1e-3
    # In order around the box: neighbours are a side apart, not a diagonal.
    sides = np.linalg.norm(found - np.roll(found, 1, axis=0), axis=1)
    assert sides == pytest.approx([width, height, width, height]) or sides == pytest.approx([height, width] * 2)


def test_turned_boxes_have_corners_and_an_enclosing_box() -> None:
    # 16 pixels by 8, turned by a right angle, is 8 by 16; in the image 25 by 50.
    [found] = decode(YoloV8Obb(), {"out": head((32, 32, 16, 8, 0.9, np.pi / 2), channels=6)}, [LETTERBOX])
    assert found.boxes == pytest.approx(np.array([[87.5, 25, 112.5, 75]]), abs=1e-4)
    assert sorted(found.corners[0].round(3).tolist()) == [[87.5, 25], [87.5, 75], [112.5, 25], [112.5, 75]]


def test_crossed_boxes_stay_where_upright_ones_would_be_suppressed() -> None:
    rows = [(32, 32, 30, 4, 0.9, 0, 0.0), (32, 32, 30, 4, 0.8, 0, np.pi / 2), (33, 32, 30, 4, 0.7, 0, 0.05)]
    [found] = decode(YoloV8Obb(), {"out": head(*rows, channels=7)}, [LETTERBOX])
    assert found.scores == pytest.approx([0.9, 0.8])


def test_angles_that_are_no_numbers_are_counted() -> None:
    rows = [(32, 32, 30, 4, 0.9, np.nan), (32, 32, 30, 4, 0.8, 0)]
    [found] = decode(YoloV8Obb(), {"out": head(*rows, channels=6)}, [LETTERBOX])
    assert found.scores == pytest.approx([0.8])
    assert found.flaws == {"non-finite angle": 1}


@pytest.mark.parametrize(
    ("settings", "channels", "message"),
    [
        (YoloV8Pose(), 55, "found 55 channels; expected 4, at least one class and 17 keypoints of 3"),
        (YoloV8Pose(class_names=["a", "b"]), 56, "2 names.* 1 classes"),
        (YoloV8Obb(class_names=["a"]), 20, "1 names.* 15 classes"),
    ],
)
def test_channels_have_to_fit_the_settings(settings, channels, message) -> None:
    with pytest.raises(DecodeError, match=message):
        decode(settings, {"out": np.zeros((1, channels, 8400), np.float32)}, [LETTERBOX])


def test_class_names_have_to_fit_the_channels_less_coefficients() -> None:
    outputs = {"a": np.zeros((1, 40, 8400), np.float32), "b": np.zeros((1, 32, 8, 8), np.float32)}
    decode(YoloV8Seg(class_names=list("abcd")), outputs, [LETTERBOX])
    with pytest.raises(DecodeError, match=r"3 names.* 4 classes"):
        decode(YoloV8Seg(class_names=list("abc")), outputs, [LETTERBOX])
    with pytest.raises(DecodeError, match="outputs of 1 images, but 2 were fed"):
        decode(YoloV8Seg(), outputs, [LETTERBOX] * 2)


@pytest.mark.parametrize("settings", [YoloV8Seg(), YoloV8Pose(), YoloV8Obb()], ids=lambda settings: settings.name)
def test_nothing_found_is_no_detections(settings) -> None:
    outputs = {"out": np.zeros((1, 116 if settings.name == "yolov8_seg" else 56, 8400), np.float32)}
    if settings.name == "yolov8_seg":
        outputs["proto"] = np.zeros((1, 32, 160, 160), np.float32)
    [found] = decode(settings, outputs, [LETTERBOX])
    assert len(found) == 0
    assert found.flaws == {}


def test_layouts_say_what_else_would_look_the_same() -> None:
    assert find_layouts({"output0": (1, 116, 8400), "output1": (1, 32, 160, 160)})[0][0] == "yolov8_seg"
    assert find_layouts({"output1": (1, 32, 160, 160), "output0": (1, 116, "places")})[0][0] == "yolov8_seg"
    assert find_layouts({"output0": (1, 56, 8400)})[0][0] == "yolov8_pose"
    turned = dict(find_layouts({"output0": (1, 20, 21504)}))
    assert turned["yolov8_obb"].certainty < turned["yolov8"].certainty < 1
    assert "would look the same" in turned["yolov8_obb"].reason
