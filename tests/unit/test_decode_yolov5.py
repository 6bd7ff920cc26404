"""What is particular to heads with an objectness, decoded in the graph."""

from __future__ import annotations

import numpy as np
import pytest

from parity.decode import decode
from parity.decode.yolov5 import YoloV5
from parity.errors import DecodeError
from parity.preprocess import Geometry


def run(settings, *rows, companions=()):
    output = np.zeros((1, 252, len(rows[0])), np.float32)
    output[0, : len(rows)] = rows
    maps = {f"map{number}": np.zeros((1, 3, 8, 8, 6), np.float32) for number in companions}
    [found] = decode(settings, {"output": output} | maps, [Geometry(64, 64)])
    return found


def test_the_score_is_objectness_times_class() -> None:
    found = run(YoloV5(), [20, 30, 10, 8, 0.5, 0.25, 0.5])
    assert found.boxes.tolist() == [[15, 26, 25, 34]]
    assert (found.scores.tolist(), found.classes.tolist()) == ([0.25], [1])


def test_of_one_class_the_objectness_alone_may_be_the_score() -> None:
    row = [20, 30, 10, 8, 0.5, 0.5]
    assert run(YoloV5(), row).scores.tolist() == [0.25]
    assert run(YoloV5(objectness_alone=True), row).scores.tolist() == [0.5]
    assert run(YoloV5(objectness_alone=True), [*row, 0.1]).scores.tolist() == [0.25]


def test_shares_of_the_input_become_pixels() -> None:
    found = run(YoloV5(normalized_to=[64, 128]), [0.25, 0.5, 0.125, 0.25, 1, 1])
    assert found.boxes.tolist() == [[24, 24, 40, 40]]


def test_raw_maps_beside_the_output_are_passed_by() -> None:
    assert len(run(YoloV5(), [20, 30, 10, 8, 0.5, 0.5], companions=(1, 2, 3))) == 1


def test_class_names_that_do_not_fit_the_channels_are_refused_with_both_numbers() -> None:
    with pytest.raises(DecodeError, match=r"class_names has 1 names.*has 2 classes"):
        run(YoloV5(class_names=["a"]), [20, 30, 10, 8, 0.5, 0.25, 0.5])
