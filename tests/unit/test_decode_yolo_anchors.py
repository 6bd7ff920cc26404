"""What is particular to raw maps: their three arrangements, and settings that have to fit them."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from parity.decode import decode
from parity.decode.yolo_anchors import YoloAnchors
from parity.errors import DecodeError
from parity.preprocess import Geometry
from tests.yolo_heads import ANCHORS, HEADS

IMAGE = Geometry(64, 64)


def maps():
    return HEADS["yolov5 maps"].make(np.random.default_rng(1), 2)


def test_the_three_arrangements_of_the_same_numbers_give_the_same() -> None:
    channels_first = maps()
    channels_last = {name: array.transpose(0, 2, 3, 1) for name, array in channels_first.items()}
    split = {
        name: array.reshape(2, 3, 8, *array.shape[2:]).transpose(0, 1, 3, 4, 2)
        for name, array in channels_first.items()
    }
    expected = decode(YoloAnchors(anchors=ANCHORS), channels_first, [IMAGE] * 2)
    assert sum(map(len, expected)) > 20
    for arranged in (channels_last, split):
        for found, other in zip(decode(YoloAnchors(anchors=ANCHORS), arranged, [IMAGE] * 2), expected, strict=True):
            assert found.boxes.tolist() == other.boxes.tolist()
            assert found.classes.tolist() == other.classes.tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"anchors": ANCHORS[:2]}, r"decode.anchors is for 2 maps, but the model gives 3"),
        ({"strides": [16, 32]}, r"decode.strides is for 2 maps, but the model gives 3"),
        ({"formula": "v4", "scale_x_y": [1.05]}, r"decode.scale_x_y is for 1 maps, but the model gives 3"),
        ({"anchors": [[[4.0, 4.0]] * 5] * 3}, r"5 anchors for the map of shape \(2, 24, 8, 8\)"),
        ({"anchors": [[[4.0, 4.0]] * 6] * 3}, r"6 anchors for the map of shape \(2, 24, 8, 8\)"),
        ({"class_names": ["a"]}, r"class_names has 1 names.*has 3 classes"),
    ],
)
def test_settings_that_do_not_fit_the_maps_are_refused_by_name(changes, message) -> None:
    settings = YoloAnchors(**({"anchors": ANCHORS} | changes))
    with pytest.raises(DecodeError, match=message):
        decode(settings, maps(), [IMAGE] * 2)


def test_anchors_are_not_guessed() -> None:
    with pytest.raises(ValidationError, match="anchors"):
        YoloAnchors()


def test_a_size_that_overflows_is_a_flaw_and_no_warning() -> None:
    outputs = maps()
    outputs["map8"][0, 2, 3, 4] = 200
    [found, _] = decode(YoloAnchors(anchors=ANCHORS, formula="v3"), outputs, [IMAGE] * 2)
    assert found.flaws["non-finite box"] == 1


def test_an_objectness_that_is_no_number_is_a_flaw() -> None:
    outputs = maps()
    outputs["map2"][1, 4, 0, 0] = np.nan
    [_, found] = decode(YoloAnchors(anchors=ANCHORS), outputs, [IMAGE] * 2)
    assert found.flaws["nan score"] == 1
