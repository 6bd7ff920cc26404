"""Bindings and the profile that a feed fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.backends.tensorrt.bindings import Binding, choose_profile, read_bindings
from parity.errors import FeedError

RANGES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted), min_size=1, max_size=4)


def binding(ranges: list[tuple[list[int], list[int]]], **changed: Any) -> Binding:
    fields = {
        "name": "x",
        "mode": "input",
        "dtype": "int32",
        "shape": [-1],
        "location": "device",
        "is_shape_io": False,
        "format": "LINEAR",
        "profiles": [{"min": low, "opt": low, "max": high} for low, high in ranges],
    }
    return read_bindings([fields | changed])[0]


@given(ranges=RANGES, size=st.integers(0, 9))
def test_the_first_profile_that_holds_the_size_is_chosen(ranges: list[list[int]], size: int) -> None:
    inputs = [binding([([low], [high]) for low, high in ranges])]
    fitting = [number for number, (low, high) in enumerate(ranges) if low <= size <= high]
    feed = {"x": np.zeros(size, np.int32)}
    if fitting:
        assert choose_profile(inputs, feed) == fitting[0]
    else:
        with pytest.raises(FeedError, match="change the batch"):
            choose_profile(inputs, feed)


def test_every_input_has_to_fit_the_same_profile() -> None:
    inputs = [binding([([1], [2]), ([3], [4])]), binding([([3], [4]), ([1], [2])], name="y")]
    with pytest.raises(FeedError):
        choose_profile(inputs, {"x": np.zeros(1, np.int32), "y": np.zeros(1, np.int32)})
    assert choose_profile(inputs, {"x": np.zeros(3, np.int32), "y": np.zeros(1, np.int32)}) == 1


def test_an_input_that_is_read_for_shapes_is_held_to_its_values() -> None:
    sizes = binding([([1, 8], [4, 8]), ([5, 8], [9, 8])], shape=[2], is_shape_io=True)
    assert choose_profile([sizes], {"x": np.array([4, 8], np.int32)}) == 0
    assert choose_profile([sizes], {"x": np.array([5, 8], np.int32)}) == 1
    with pytest.raises(FeedError, match=r"has the values \(10, 8\)"):
        choose_profile([sizes], {"x": np.array([10, 8], np.int32)})


def test_of_values_whose_limits_are_told_in_part_that_part_is_held() -> None:
    sizes = binding([([1], [8])], shape=[2], is_shape_io=True)
    assert choose_profile([sizes], {"x": np.array([8, 99], np.int32)}) == 0
    with pytest.raises(FeedError, match=r"has the values \(9, 6\)"):
        choose_profile([sizes], {"x": np.array([9, 6], np.int32)})


def test_values_that_were_never_limited_fit() -> None:
    sizes = binding([([], [])], shape=[2], is_shape_io=True)
    assert choose_profile([sizes], {"x": np.array([10, 8], np.int32)}) == 0


def test_a_scalar_and_an_engine_without_inputs_have_profile_0() -> None:
    assert choose_profile([binding([([], [])], shape=[])], {"x": np.array(3, np.int32)}) == 0
    assert choose_profile([], {}) == 0


def test_an_output_has_no_profiles_and_a_dynamic_dimension_no_size() -> None:
    output = binding([], mode="output", dtype="bfloat16", shape=[-1, 4])
    assert not output.is_input
    assert str(output.info) == "x: bfloat16 (?, 4)"
