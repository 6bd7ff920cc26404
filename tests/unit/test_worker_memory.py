"""Buffers, and what stays in them unwritten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from parity.worker.buffers import GRANULE_BYTES, Buffers, capacity_for
from parity.worker.unwritten import PATTERNS, count_unwritten, keeps_pattern
from tests.fake_cuda import ExecutingGpu

if TYPE_CHECKING:
    from collections.abc import Sequence

sizes = st.integers(0, 1 << 40)


@given(sizes, sizes)
def test_a_capacity_holds_what_is_needed_and_is_kept_where_it_does(held: int, needed: int) -> None:
    capacity = capacity_for(held, needed)
    assert capacity >= max(needed, 1)
    assert capacity == held or capacity % GRANULE_BYTES == 0
    assert capacity_for(capacity, needed) == capacity
    if held >= needed and held:
        assert capacity == held


@given(st.integers(1, 1 << 30))
def test_the_first_allocation_takes_no_margin(needed: int) -> None:
    assert capacity_for(0, needed) - needed < GRANULE_BYTES


def test_sizes_that_grow_step_by_step_are_allocated_a_few_times_only() -> None:
    held, allocations = 0, 0
    for needed in range(0, 1_000_000, 100):
        capacity = capacity_for(held, needed)
        allocations += capacity != held
        held = capacity
    assert allocations < 45


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ExecutingGpu:
    return ExecutingGpu()


def test_buffers_are_reused_grown_and_freed(gpu: ExecutingGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    buffers = Buffers(gpu.install(monkeypatch))
    first = buffers.device("x", 100)
    assert buffers.device("x", 512) == first
    assert buffers.device("y", 0) not in {0, first}
    buffers.device("x", 5000)
    assert sorted(data.nbytes for data in gpu.device.values()) == [512, 5120]
    buffers.free()
    assert gpu.device == {}


def test_outgrown_host_memory_lives_as_long_as_a_view_of_it(gpu: ExecutingGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    buffers = Buffers(gpu.install(monkeypatch))
    view = buffers.host("x", 10)
    view[:] = 7
    buffers.host("x", 10_000)
    assert (view == 7).all()
    assert len(gpu.page_locked) == 2
    del view
    assert len(gpu.page_locked) == 1


def test_an_allocation_that_fails_leaves_no_freed_address(gpu: ExecutingGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = gpu.install(monkeypatch)
    buffers = Buffers(driver)
    gpu.limit_bytes = 1024
    buffers.device("x", 100)
    with pytest.raises(driver.MemoryError):
        buffers.device("x", 4096)
    assert gpu.device == {}
    buffers.free()
    assert buffers.device("x", 100)


dtypes = st.sampled_from([np.uint8, np.float16, np.uint16, np.int32, np.float32, np.int64, np.bool_])


@given(st.data())
def test_exactly_the_elements_that_a_run_leaves_alone_are_counted(data: st.DataObject) -> None:
    dtype = np.dtype(data.draw(dtypes))
    written = data.draw(arrays(np.bool_, st.integers(0, 12)))
    raw = data.draw(arrays(np.uint8, (written.size, dtype.itemsize), elements=st.sampled_from([*PATTERNS, 0, 1])))
    first, second = (leave(raw, written, pattern).view(dtype).reshape(-1) for pattern in PATTERNS)
    assert count_unwritten(keeps_pattern(first, PATTERNS[0]), second) == np.count_nonzero(~written)


def leave(raw: np.ndarray, written: np.ndarray, pattern: int) -> np.ndarray:
    """Write elements into a poisoned buffer."""
    buffer = np.full(raw.shape, pattern, np.uint8)
    buffer[written] = raw[written]
    return buffer


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_the_mask_has_the_arrays_shape(shape: Sequence[int]) -> None:
    array = np.full(shape, 0xA5, np.uint8)
    assert keeps_pattern(array, 0xA5).shape == tuple(shape)
    assert keeps_pattern(array, 0xA5).all()
    assert not keeps_pattern(array, 0xFF).any()
