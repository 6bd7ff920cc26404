"""Arrays of user code: what fits comes back with its dtype, what does not is told with what was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.case.user_arrays import Layout, convert

LAYOUTS = {
    "boxes": Layout(("n", 4)),
    "classes": Layout(("n",), "whole"),
    "masks": Layout(("n", "h", "w"), "truth", True),
}


@given(
    count=st.integers(0, 5),
    number=st.sampled_from([np.float16, np.float32, np.float64, np.uint8, np.int64]),
    whole=st.sampled_from([np.int8, np.uint16, np.int32, np.int64]),
    listed=st.booleans(),
)
def test_arrays_of_any_size_and_fitting_dtype_come_back_equal(
    count: int, number: type, whole: type, listed: bool
) -> None:
    boxes, classes = np.arange(4 * count).reshape(count, 4).astype(number), np.arange(count).astype(whole)
    given_ = {"boxes": boxes.tolist() if listed else boxes, "classes": classes.tolist() if listed else classes}
    found = convert(given_, LAYOUTS)
    assert found["boxes"] is not None
    assert found["classes"] is not None
    assert (found["boxes"].dtype, found["classes"].dtype, found["masks"]) == (np.float64, np.int64, None)
    np.testing.assert_array_equal(found["boxes"], boxes)
    np.testing.assert_array_equal(found["classes"], classes)


def test_what_comes_back_is_a_copy() -> None:
    classes = np.array([1, 2])
    found = convert({"classes": classes}, {"classes": LAYOUTS["classes"]})["classes"]
    assert found is not None
    found[0] = 9
    assert classes.tolist() == [1, 2]


def test_an_empty_list_stands_for_no_rows_of_any_layout_and_for_nothing_else() -> None:
    found = convert({"boxes": [], "classes": [], "masks": []}, LAYOUTS)
    assert {name: array.shape for name, array in found.items() if array is not None} == {
        "boxes": (0, 4),
        "classes": (0,),
        "masks": (0, 0, 0),
    }
    with pytest.raises(ValueError, match=r"'one': found float64 \(0,\), expected whole numbers \(1,\)"):
        convert({"one": []}, {"one": Layout((1,), "whole")})
    with pytest.raises(ValueError, match=r"'classes': found int64 \(0,\), expected whole numbers \(n,\) with n = 2"):
        convert({"boxes": np.ones((2, 4)), "classes": []}, LAYOUTS)


class Stubborn:
    """An array of a framework that does not let go of its values."""

    def __array__(self, *_arguments: object, **_keywords: object) -> np.ndarray:
        raise RuntimeError("call detach first")


@pytest.mark.parametrize("value", [Stubborn(), [[1], [1, 2]]], ids=["framework", "ragged"])
def test_what_is_no_array_is_told(value: object) -> None:
    with pytest.raises(ValueError, match="'boxes' is no array"):
        convert({"boxes": value}, LAYOUTS)
