"""What is particular to YOLOX: boxes that are raw or decoded, and the input's size that raw ones need."""

from __future__ import annotations

import numpy as np
import pytest

from parity.decode import decode
from parity.decode.yolox import YoloX
from parity.errors import DecodeError
from parity.preprocess import Geometry


def run(settings, place_count, place, row):
    output = np.zeros((1, place_count, 6), np.float32)
    output[0, place] = row
    [found] = decode(settings, {"output": output}, [Geometry(256, 256)])
    return found


def test_decoded_boxes_are_taken_as_they_are() -> None:
    found = run(YoloX(decoded=True), 84, 0, [20, 30, 10, 8, 0.5, 0.5])
    assert (found.boxes.tolist(), found.scores.tolist()) == ([[15, 26, 25, 34]], [0.25])


def test_raw_boxes_of_a_square_input_lie_in_their_cells() -> None:
    # 64 x 64: 8 x 8 cells of 8 pixels, 4 x 4 of 16, 2 x 2 of 32; place 64 + 6 is row 1, column 2 of the second map.
    found = run(YoloX(), 84, 70, [0.5, 0.25, 0, np.log(2), 1, 1])
    assert found.boxes == pytest.approx(np.array([[32, 4, 48, 36]]))


def test_raw_boxes_of_another_input_need_its_size() -> None:
    # 64 high, 128 wide: the first map has 16 cells a row.
    found = run(YoloX(input_size=[64, 128]), 168, 17, [0.5, 0.5, 0, 0, 1, 1])
    assert found.boxes == pytest.approx(np.array([[8, 8, 16, 16]]))
    with pytest.raises(DecodeError, match=r"64 x 64 has 84 cells.*has 168 places; set decode.input_size"):
        run(YoloX(), 168, 17, [0.5, 0.5, 0, 0, 1, 1])


def test_a_size_that_overflows_is_a_flaw_and_no_warning() -> None:
    assert run(YoloX(), 84, 0, [0.5, 0.5, 200, 0, 1, 1]).flaws == {"non-finite box": 1}


def test_class_names_that_do_not_fit_the_channels_are_refused_with_both_numbers() -> None:
    with pytest.raises(DecodeError, match=r"class_names has 2 names.*has 1 classes"):
        run(YoloX(class_names=["a", "b"]), 84, 0, [0] * 6)
