"""The evaluation images as they were, for overlays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.case.image_feeds import read_image
from parity.case.loader import load_case
from parity.case.pictures import read_pictures
from parity.errors import FeedError
from tests.decoded_cases import DRAWN, FILES, decoded_case
from tests.tiny_models import write_case

if TYPE_CHECKING:
    from pathlib import Path

DRAW = """
import numpy as np
def draw(count):
    for number in range(count):
        if number == 2:
            raise RuntimeError("further than asked")
        yield np.full((4 + number, 5, 3), number, np.uint8)
"""


def test_files_are_read_by_their_number_over_all_feeds(tmp_path: Path) -> None:
    case = decoded_case(tmp_path, inputs=FILES)
    found = dict(read_pictures(case, [2, 0, 2]))
    assert list(found) == [0, 2]
    np.testing.assert_array_equal(found[2], read_image(tmp_path / "images" / "c.png"))
    assert (found[0].shape, found[0].dtype) == ((6, 10, 3), np.uint8)


def test_images_of_a_function_are_made_again_and_none_behind_the_last(tmp_path: Path) -> None:
    case = decoded_case(tmp_path, inputs=DRAWN, code=DRAW)
    ((number, picture),) = read_pictures(case, {1})
    assert (number, picture.shape, picture.max()) == (1, (5, 5, 3), 1)


def test_a_function_is_not_called_for_no_picture(tmp_path: Path) -> None:
    case = decoded_case(tmp_path, inputs=DRAWN, code="raise RuntimeError('loaded')\n")
    assert list(read_pictures(case, [])) == []


def test_a_function_that_fails_is_told(tmp_path: Path) -> None:
    case = decoded_case(tmp_path, inputs=DRAWN, code=DRAW)
    with pytest.raises(FeedError, match="further than asked"):
        list(read_pictures(case, [2]))


def test_images_beyond_the_count_are_none_of_the_cases(tmp_path: Path) -> None:
    case = decoded_case(tmp_path, inputs=f"{FILES}count = 2\n")
    assert [number for number, _ in read_pictures(case, range(5))] == [0, 1]


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    case = decoded_case(tmp_path)
    (tmp_path / "images" / "b.png").unlink()
    with pytest.raises(FeedError, match=r"b\.png: cannot be read"):
        list(read_pictures(case, [1]))


def test_feeds_that_are_no_images_have_no_pictures(tmp_path: Path) -> None:
    text = 'model = "model.onnx"\n[inputs]\nkind = "random"\nseed = 1\ncount = 2\n'
    assert list(read_pictures(load_case(write_case(tmp_path, text)), [0])) == []
