"""What is particular to YOLOv8's head: its axes, its scores, several labels a place, and classes that are named."""

from __future__ import annotations

import numpy as np
import pytest

from parity.decode import decode
from parity.decode.yolov8 import YoloV8
from parity.errors import DecodeError
from parity.preprocess import Geometry

IMAGE = Geometry(original_height=64, original_width=64)


def head(*places, class_count=2):
    """Return a head (1, 4 + classes, 84) with the given numbers at its first places."""
    output = np.zeros((1, 4 + class_count, 84), np.float32)
    for number, place in enumerate(places):
        output[0, :, number] = place
    return {"output0": output}


def run(settings, outputs):
    [found] = decode(settings, outputs, [IMAGE])
    return found


def test_the_better_class_of_a_place_is_its_one_detection() -> None:
    found = run(YoloV8(), head([20, 30, 10, 8, 0.3, 0.6]))
    assert found.boxes.tolist() == [[15, 26, 25, 34]]
    assert found.scores == pytest.approx([0.6])
    assert found.classes.tolist() == [1]


def test_with_several_labels_every_class_of_a_place_that_is_good_enough_is_a_detection() -> None:
    found = run(
        YoloV8(multi_label=True, ap_score_threshold=0.2), head([20, 30, 10, 8, 0.3, 0.6], [50, 50, 9, 9, 0.1, 0.5])
    )
    assert found.classes.tolist() == [1, 1, 0]
    assert found.scores == pytest.approx([0.6, 0.5, 0.3])


def test_channels_may_come_last_found_by_the_shorter_axis_by_the_classes_or_as_told() -> None:
    first = head([20, 30, 10, 8, 0.3, 0.6])
    last = {"output0": first["output0"].swapaxes(1, 2)}
    expected = run(YoloV8(), first).boxes.tolist()
    for changes in ({}, {"channels": "last"}, {"class_names": ["a", "b"]}):
        assert run(YoloV8(**changes), last).boxes.tolist() == expected


def test_a_head_with_more_channels_than_places_is_told_by_its_class_names() -> None:
    output = np.zeros((1, 84, 21), np.float32)
    output[0, :5, 0] = [20, 30, 10, 8, 0.9]
    named = YoloV8(class_names=[str(number) for number in range(80)])
    assert run(named, {"output0": output}).boxes.tolist() == [[15, 26, 25, 34]]
    assert run(YoloV8(channels="first"), {"output0": output}).boxes.tolist() == [[15, 26, 25, 34]]


@pytest.mark.parametrize("class_count", [0, 17])
def test_axes_of_equal_length_are_not_guessed(class_count) -> None:
    names = [str(number) for number in range(class_count)]
    output = {"output0": np.zeros((1, 21, 21), np.float32)}
    with pytest.raises(DecodeError, match=r"either axis of \(1, 21, 21\).*set decode.channels"):
        run(YoloV8(class_names=names), output)
    assert len(run(YoloV8(class_names=names, channels="first"), output)) == 0


@pytest.mark.parametrize("channels", ["first", "auto"])
def test_class_names_that_do_not_fit_the_channels_are_refused_with_both_numbers(channels) -> None:
    with pytest.raises(DecodeError, match=r"class_names has 3 names.*\(1, 6, 84\) has 2 classes"):
        run(YoloV8(class_names=["a", "b", "c"], channels=channels), head())


def test_logits_taken_for_probabilities_show_as_flaws_not_as_an_empty_image() -> None:
    found = run(YoloV8(), head(*[[20, 30, 10, 8, -3, -5]] * 84))
    assert found.flaws == {"score outside 0 to 1": 84}


def test_logits_however_large_become_scores_without_a_warning() -> None:
    outputs = head(*[[20, 30, 10, 8, -200, 200]] * 84)
    outputs["output0"][0, 4:, 1:] = -1e30
    found = run(YoloV8(scores="logit"), outputs)
    assert (found.scores.tolist(), found.flaws) == ([1.0], {})


def test_weak_boxes_stay_for_average_precision_and_damaged_ones_are_counted() -> None:
    found = run(YoloV8(), head([20, 30, 10, 8, 0.01, 0], [50, 50, -9, 9, 0.9, 0], [9, 9, 9, np.inf, 0, 0]))
    assert found.scores == pytest.approx([0.01])
    assert found.flaws == {"inverted box": 1, "non-finite box": 1}
