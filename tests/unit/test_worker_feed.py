from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.worker.bindings import Binding, Range
from parity.worker.errors import FeedRefused
from parity.worker.feed import fit_feed
from parity.worker.profiles import check_profile, misfits
from parity.worker.tensor import Tensor

INTEGERS = ("int8", "uint8", "int32", "int64")


def taking(dtype: str, shape: tuple[int, ...] = (-1,), *profiles: Range, name: str = "x") -> Binding:
    return Binding(name, "input", dtype, shape, "device", False, "LINEAR", profiles)


def fit(array: np.ndarray, binding: Binding, dtype: str | None = None) -> np.ndarray:
    return fit_feed({"x": Tensor(array, dtype or array.dtype.name)}, [binding])["x"]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4), st.sampled_from(INTEGERS))
def test_integers_are_cast_where_every_value_survives_and_else_refused(values: list[int], wanted: str) -> None:
    array = np.array(values, np.int64)
    bounds = np.iinfo(wanted)
    if all(bounds.min <= value <= bounds.max for value in values):
        fitted = fit(array, taking(wanted))
        assert fitted.dtype == wanted
        assert fitted.tolist() == values
    else:
        with pytest.raises(FeedRefused, match=f"the engine takes {wanted}, {bounds.min} to {bounds.max}"):
            fit(array, taking(wanted))


@pytest.mark.parametrize(
    ("found", "wanted"),
    [("float32", "float16"), ("float16", "float32"), ("int32", "float32"), ("float32", "int32"), ("bool", "uint8")],
)
def test_no_other_dtype_is_cast(found: str, wanted: str) -> None:
    with pytest.raises(FeedRefused, match=f"x is {found}, the engine takes {wanted}; cast it in the feed"):
        fit(np.zeros(2, found), taking(wanted))


def test_raw_bfloat16_is_no_integer() -> None:
    with pytest.raises(FeedRefused, match="x is bfloat16, the engine takes int32"):
        fit(np.zeros(2, np.uint16), taking("int32"), "bfloat16")
    assert fit(np.array([0x3F80], np.uint16), taking("bfloat16"), "bfloat16").tolist() == [0x3F80]


def test_missing_and_unknown_inputs_are_told_together() -> None:
    with pytest.raises(FeedRefused, match=r"misses x and has y, which the engine does not take; .*inputs are x"):
        fit_feed({"y": Tensor(np.zeros(1, np.float32), "float32")}, [taking("float32")])


def test_a_scalar_stays_a_scalar_and_a_view_becomes_row_major() -> None:
    assert fit(np.array(2, np.float32), taking("float32", ())).shape == ()
    assert fit(np.zeros((3, 4), np.float32).T, taking("float32", (4, 3))).flags.c_contiguous


extents = st.tuples(st.integers(0, 9), st.integers(0, 9))


@given(extents, extents, extents)
def test_a_shape_fits_if_every_axis_lies_between_the_profiles_ends(
    shape: tuple[int, ...], low: tuple[int, ...], high: tuple[int, ...]
) -> None:
    binding = taking("float32", (-1, -1), Range(low, low, high))
    fits = all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))
    assert (misfits([binding], {"x": np.zeros(shape, np.float32)}, 0) == []) == fits


@pytest.mark.parametrize("shape", [(2,), (2, 3, 4), (2, 4)])
def test_a_rank_or_a_fixed_axis_that_differs_is_refused(shape: tuple[int, ...]) -> None:
    binding = taking("float32", (-1, 3), Range((1, 3), (2, 3), (9, 3)))
    with pytest.raises(FeedRefused, match=r"the engine takes \(any, 3\)"):
        check_profile([binding], {"x": np.zeros(shape, np.float32)}, 0, 1)


def test_all_profiles_are_listed_where_none_fits() -> None:
    binding = taking("float32", (-1,), Range((1,), (1,), (4,)), Range((6,), (8,), (8,)))
    with pytest.raises(FeedRefused, match=r"profiles are 0: x \(1,\) to \(4,\); 1: x \(6,\) to \(8,\)\. Feed inside"):
        check_profile([binding], {"x": np.zeros(5, np.float32)}, 1, 2)


def test_an_engine_without_dynamic_axes_says_so() -> None:
    binding = taking("float32", (4,), Range((4,), (4,), (4,)))
    with pytest.raises(FeedRefused, match="Every shape of this engine is fixed"):
        check_profile([binding], {"x": np.zeros(5, np.float32)}, 0, 1)


@pytest.mark.parametrize("profile", [-1, 2])
def test_a_profile_that_is_not_there_is_refused(profile: int) -> None:
    with pytest.raises(FeedRefused, match=f"profile {profile} was asked for; the engine has 2, counted from 0"):
        check_profile([], {}, profile, 2)
