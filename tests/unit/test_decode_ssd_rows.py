"""Rows of 7: where a list ends, whose rows are whose, and what is never read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.decode import decode, find_layouts
from parity.decode.ssd_rows import SsdRows
from parity.errors import DecodeError
from parity.preprocess import Geometry

STRETCHED = Geometry(original_height=200, original_width=400, scale_x=0.75, scale_y=1.5)
WIDE = (0.25, 0.5, 0.5, 1.0)
SETTINGS = SsdRows()
END = (-1, 0, 0, 0, 0, 0, 0)


def row(image=0, label=1, score=0.9, box=WIDE):
    return (image, label, score, *box)


def run(rows, images=1, settings=SETTINGS, geometry=STRETCHED, dtype=np.float32, **others):
    """Decode one list of rows, or with several a list for each image."""
    array = np.array(rows, dtype)
    array = array.reshape(-1, 1, *array.shape[-2:])
    return decode(settings, {"rows": array, **others}, [geometry] * images)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_shares_become_pixels_of_the_image(dtype) -> None:
    [found] = run([row()], dtype=dtype)
    assert found.boxes == pytest.approx(np.array([[100, 100, 200, 200]]))
    assert found.scores == pytest.approx([0.9], abs=1e-3)
    assert found.classes.tolist() == [0]


def test_shares_of_a_padded_tensor_need_its_size() -> None:
    padded = Geometry(original_height=100, original_width=200, scale_x=1.5, scale_y=1.5, top=75)
    with pytest.raises(DecodeError, match=r"set decode\.input_size"):
        run([row()], geometry=padded)
    [found] = run([row(box=(0.25, 0.25, 0.5, 0.75))], settings=SsdRows(input_size=[300, 300]), geometry=padded)
    assert found.boxes == pytest.approx(np.array([[50, 0, 100, 100]]))


def test_the_first_class_is_label_0_where_there_is_no_background() -> None:
    [found] = run([row(label=0)], settings=SsdRows(background=False))
    assert found.classes.tolist() == [0]


def test_rows_of_the_background_are_left_out_and_counted() -> None:
    [found] = run([row(label=0), row()])
    assert len(found) == 1
    assert found.flaws == {"no such class": 1}


def test_the_list_ends_at_image_minus_1() -> None:
    [found] = run([row(), END, row(score=0.8)])
    assert found.scores == pytest.approx([0.9])


@given(st.integers(0, 4), st.sampled_from([(2, 1), (2, 1, 1), (2,)]))
def test_rows_behind_the_count_are_never_looked_at(count, shape) -> None:
    rows = np.full((2, 4, 7), np.nan, np.float32)
    rows[0, :count] = row(score=0.7)
    rows[1, : 4 - count] = row(score=0.6)
    counts = np.array([count, 4 - count], np.int32).reshape(shape)
    first, second = run(rows, images=2, keep_count=counts)
    assert (len(first), len(second)) == (count, 4 - count)
    assert first.flaws == second.flaws == {}


def test_a_list_of_all_images_is_split_by_the_first_column() -> None:
    first, second = run([row(image=1, score=0.8), row(image=0, score=0.7), row(image=1, score=0.6), END], images=2)
    assert first.scores == pytest.approx([0.7])
    assert second.scores == pytest.approx([0.8, 0.6])


def test_rows_of_an_image_that_was_not_fed_are_counted() -> None:
    first, second = run([row(image=2), row(image=1)], images=2)
    assert len(second) == 1
    assert first.flaws == {"no such image": 1}


def test_rows_of_zeros_fill_up_and_are_no_flaw() -> None:
    [found] = run([row(), (0,) * 7])
    assert len(found) == 1
    assert found.flaws == {}


def test_broken_rows_are_counted() -> None:
    [found] = run([row(score=np.nan), row(box=(0.5, 0.5, 0.2, 0.9)), row(box=(0, 0, np.inf, 1)), row()])
    assert len(found) == 1
    assert found.flaws == {"nan score": 1, "inverted box": 1, "non-finite box": 1}


def test_rows_of_another_order_are_refused() -> None:
    with pytest.raises(DecodeError, match=r"second column of detections has 0\.9"):
        run([(0, 0.9, 1, *WIDE)])


@pytest.mark.parametrize(("count", "message"), [(3, "says 3 rows; expected 0 to 2"), (-1, "says -1 rows")])
def test_a_count_that_is_none_of_the_rows_is_refused(count, message) -> None:
    with pytest.raises(DecodeError, match=message):
        run([row(), row()], keep_count=np.array([[count]]))


def test_one_count_for_each_list_is_expected() -> None:
    with pytest.raises(DecodeError, match="2 counts; expected one for each of 1 images"):
        run([row()], images=2, keep_count=np.array([1, 1]))


def test_lists_of_another_number_of_images_are_refused() -> None:
    with pytest.raises(DecodeError, match="outputs of 2 images, but 3 were fed"):
        run([[row()], [row()]], images=3)


def test_no_rows_are_no_detections() -> None:
    [found] = decode(SETTINGS, {"rows": np.zeros((1, 1, 0, 7), np.float32)}, [STRETCHED])
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    "shapes",
    [
        {"detections": (1, 1, 200, 7)},
        {"keep": (1, 1, 1, 1), "detections": (1, 1, 100, 7)},
        {"d": (8, 1, "k", 7), "k": (8,)},
    ],
)
def test_its_layouts_lead_the_list(shapes) -> None:
    [(best, fit), *_] = find_layouts(shapes)
    assert best == "ssd_rows"
    assert set(fit.outputs) == ({"detections", "keep_count"} if len(shapes) == 2 else {"detections"})
