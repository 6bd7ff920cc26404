from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from parity.worker.layout import Layout, row_major

shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@given(shapes)
def test_row_major_layouts_have_numpys_strides(shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, np.uint8)
    if array.size:
        assert row_major(shape).strides == array.strides
    assert row_major(shape).scalars == array.size


@given(shapes)
def test_a_row_major_buffer_is_the_array(shape: tuple[int, ...]) -> None:
    array = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    buffer = np.empty(array.size, np.int32)
    row_major(shape).pack(array, buffer)
    np.testing.assert_array_equal(buffer, array.reshape(-1))
    assert np.shares_memory(row_major(shape).unpack(buffer), buffer) or not array.size


def scattered(shape: tuple[int, ...], order: list[int], lanes: int, axis: int, gap: int) -> Layout:
    """Make a layout whose axes lie in any order, with a gap behind every row."""
    grid = [-(-size // lanes) if at == axis else size for at, size in enumerate(shape)]
    strides, step = [0] * len(shape), 1
    for at in order:
        strides[at] = step
        step = step * grid[at] + gap
    return Layout(shape, tuple(strides), lanes, axis)


@given(st.data())
def test_an_element_lies_where_its_strides_and_its_lane_say(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple))
    axis = data.draw(st.integers(-1, len(shape) - 1))
    lanes = data.draw(st.sampled_from([1, 2, 4, 8])) if axis >= 0 else 1
    order = data.draw(st.permutations(range(len(shape))))
    layout = scattered(shape, order, lanes, axis, data.draw(st.integers(0, 3)))
    array = np.arange(1, math.prod(shape) + 1, dtype=np.int16).reshape(shape)
    buffer = np.empty(layout.scalars, np.int16)
    layout.pack(array, buffer)
    for index in itertools.product(*map(range, shape)):
        cell = [at // lanes if number == axis else at for number, at in enumerate(index)]
        lane = index[axis] % lanes if axis >= 0 else 0
        assert buffer[sum(map(math.prod, zip(cell, layout.strides, strict=True))) * lanes + lane] == array[index]
    assert np.count_nonzero(buffer) == array.size
    np.testing.assert_array_equal(layout.unpack(buffer), array)


def test_channels_in_vectors_of_32_are_padded_with_zeros() -> None:
    layout = Layout((1, 33, 2, 2), (8, 4, 2, 1), 32, 1)
    buffer = np.full(layout.scalars, 9, np.int8)
    layout.pack(np.ones((1, 33, 2, 2), np.int8), buffer)
    assert layout.scalars == 2 * 2 * 2 * 32
    assert buffer.sum() == 33 * 4
