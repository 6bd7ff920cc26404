"""Torchvision's boxes of one image, with masks and keypoints."""

from __future__ import annotations

import numpy as np
import pytest

from parity.decode import decode, find_layouts
from parity.decode.torchvision_boxes import TorchvisionBoxes
from parity.errors import DecodeError
from parity.preprocess import Geometry

LETTERBOX = Geometry(original_height=100, original_width=200, scale_x=2, scale_y=2, left=10, top=20)
SETTINGS = TorchvisionBoxes()
BOXES = np.array([[30, 40, 50, 60], [10, 20, 70, 100]], np.float32)
IN_IMAGE = np.array([[10, 10, 20, 20], [0, 0, 30, 40]], np.float64)
OUTPUTS = {"boxes": BOXES, "labels": np.array([3, 1]), "scores": np.array([0.9, 0.4], np.float32)}


def run(settings=SETTINGS, geometry=LETTERBOX, **others):
    [found] = decode(settings, {**OUTPUTS, **others}, [geometry])
    return found


def test_boxes_are_mapped_from_the_tensor() -> None:
    found = run()
    assert found.boxes == pytest.approx(IN_IMAGE)
    assert found.classes.tolist() == [2, 0]
    assert found.scores == pytest.approx([0.9, 0.4])


def test_boxes_may_be_in_the_image_already() -> None:
    assert run(TorchvisionBoxes(boxes="image")).boxes == pytest.approx(BOXES.clip(max=[200, 100, 200, 100]))


def test_labels_may_count_from_0() -> None:
    assert run(TorchvisionBoxes(background=False)).classes.tolist() == [3, 1]


def test_masks_are_split_at_the_threshold_and_follow_their_boxes() -> None:
    masks = np.array([[0.2, 0.6], [0.8, 0.5]], np.float32).reshape(2, 1, 1, 2)
    found = run(scores=np.array([0.4, 0.9], np.float32), masks=masks)
    assert found.masks.tolist() == [[[True, False]], [[False, True]]]
    assert run(TorchvisionBoxes(mask_threshold=0.7), masks=masks).masks.tolist() == [[[False, False]], [[True, False]]]


@pytest.mark.parametrize(("boxes", "expected"), [("tensor", [10, 20]), ("image", [30, 60])])
def test_keypoints_are_mapped_as_boxes_are(boxes, expected) -> None:
    keypoints = np.tile(np.array([30, 60, 1], np.float32), (2, 17, 1))
    found = run(TorchvisionBoxes(boxes=boxes), keypoints=keypoints, keypoints_scores=np.ones((2, 17), np.float32))
    assert found.keypoints[0, 5] == pytest.approx([*expected, 1])


def test_no_rows_are_no_detections() -> None:
    found = run(
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int64),
        scores=np.zeros(0, np.float32),
        masks=np.zeros((0, 1, 8, 8), np.float32),
    )
    assert len(found) == 0
    assert found.masks.shape == (0, 8, 8)


def test_more_than_one_image_is_refused() -> None:
    with pytest.raises(DecodeError, match="outputs of 1 images, but 2 were fed"):
        decode(SETTINGS, OUTPUTS, [LETTERBOX] * 2)


def test_outputs_of_unlike_lengths_are_refused() -> None:
    with pytest.raises(DecodeError, match="found rows of boxes 2, labels 2, scores 3"):
        run(scores=np.ones(3, np.float32))


def test_labels_with_a_fraction_are_refused() -> None:
    with pytest.raises(DecodeError, match=r"labels has 0\.9, .*decode\.outputs says which"):
        run(TorchvisionBoxes(outputs={"boxes": "boxes", "labels": "scores", "scores": "labels"}))


def test_an_unknown_part_in_the_settings_is_refused() -> None:
    with pytest.raises(
        DecodeError, match=r"decode\.outputs tells the parts boxes, label, scores; expected boxes, labels, scores"
    ):
        run(TorchvisionBoxes(outputs={"boxes": "boxes", "label": "labels", "scores": "scores"}))


@pytest.mark.parametrize(
    ("shapes", "roles"),
    [
        ({"boxes": ("n", 4), "labels": ("n",), "scores": ("n",)}, ["boxes", "labels", "scores"]),
        ({"boxes": ("n", 4), "scores": ("n",), "labels": ("n",)}, ["boxes", "labels", "scores"]),
        ({"a": ("n", 4), "b": ("n",), "c": ("n",), "d": ("n", 1, 800, 800)}, ["boxes", "labels", "scores", "masks"]),
        (
            {"boxes": (5, 4), "labels": (5,), "scores": (5,), "keypoints": (5, 17, 3), "keypoints_scores": (5, 17)},
            ["boxes", "labels", "scores", "keypoints", "keypoint_scores"],
        ),
    ],
)
def test_its_layouts_lead_the_list(shapes, roles) -> None:
    [(best, fit), *_] = find_layouts(shapes)
    assert best == "torchvision_boxes"
    assert sorted(fit.outputs) == sorted(roles)
    assert all(role == name for role, name in fit.outputs.items() if name in roles)
    assert (fit.certainty > 0.9) == ("boxes" in shapes)
