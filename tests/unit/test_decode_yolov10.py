"""What is particular to heads whose rows are detections already."""

from __future__ import annotations

import numpy as np
import pytest

from parity.decode import decode
from parity.decode.yolov10 import YoloV10
from parity.preprocess import Geometry


def run(settings, *rows):
    output = np.zeros((1, 300, 6), np.float32)
    output[0, : len(rows)] = rows
    [found] = decode(settings, {"output0": output}, [Geometry(64, 64)])
    return found


def test_rows_are_detections_as_they_are_even_where_they_overlap() -> None:
    found = run(YoloV10(), [10, 10, 30, 30, 0.75, 2], [10, 10, 30, 30, 0.875, 2])
    assert found.boxes.tolist() == [[10, 10, 30, 30]] * 2
    assert (found.scores.tolist(), found.classes.tolist()) == ([0.875, 0.75], [2, 2])


@pytest.mark.parametrize("lowest", [0.0, 0.001])
def test_rows_of_zeros_that_fill_up_are_neither_detections_nor_flaws(lowest) -> None:
    found = run(YoloV10(ap_score_threshold=lowest, score_threshold=0.0), [10, 10, 30, 30, 0.5, 2])
    assert (len(found), found.flaws) == (1, {})


@pytest.mark.parametrize("label", [np.nan, -1, 1.5, 3])
def test_a_class_that_does_not_exist_is_a_flaw(label) -> None:
    settings = YoloV10(class_names=["a", "b", "c"])
    found = run(settings, [10, 10, 30, 30, 0.5, 2], [10, 10, 30, 30, 0.5, label])
    assert (len(found), found.flaws) == (1, {"no such class": 1})


def test_a_row_with_a_score_that_is_no_number_is_a_flaw_and_not_filling() -> None:
    assert run(YoloV10(), [0, 0, 0, 0, np.nan, 0]).flaws == {"nan score": 1}


def test_shares_of_the_input_become_pixels() -> None:
    found = run(YoloV10(normalized_to=[32, 64]), [0.25, 0.25, 0.5, 0.5, 0.5, 0])
    assert found.boxes.tolist() == [[16, 8, 32, 16]]
