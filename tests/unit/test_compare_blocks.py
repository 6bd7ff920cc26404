"""Figures of many blocks, on one thread or several, are those of computing everything at once, in little memory."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from parity import compare as compare_module
from parity import kernel
from parity.blocks import boxes
from parity.compare import TensorComparison
from parity.tolerance import Precision, Tolerance
from tests.compare_examples import LOOSE, measure, normal


def test_percentiles_of_many_blocks_are_those_of_all_of_them():
    errors = np.abs(normal(1_300_000, 3, np.float64)) * 10.0 ** np.random.default_rng(4).integers(-9, 3, 1_300_000)
    difference = measure(errors, np.zeros_like(errors))
    exact = np.percentile(errors, 99.9, method="inverted_cdf")
    assert exact <= difference.p999_absolute <= exact * (1 + difference.percentile_bin_error)


def many_blocks(kind):
    expected, noise = normal(400_000, 20), normal(400_000, 21)
    actual = expected + np.float32(1e-3) * noise
    if kind == "half rounding":
        actual = expected.astype(np.float16).astype(np.float32)
    if kind == "zeros on both sides":
        actual, expected = np.maximum(actual, 0), np.maximum(expected, 0)
    if kind == "zeros in the reference":
        expected = np.maximum(expected, 0)
    if kind == "growing":
        actual = expected + np.float32(1e-3) * np.linspace(0, 1, 400_000, dtype=np.float32) * expected
    if kind == "growing on a flat reference":
        expected = np.ones(400_000, np.float32) + np.float32(1e-3) * noise
        actual = expected * np.linspace(1.001, 1.1, 400_000, dtype=np.float32)
    return actual, expected


KINDS = (
    "noise",
    "half rounding",
    "zeros on both sides",
    "zeros in the reference",
    "growing",
    "growing on a flat reference",
)


@pytest.mark.parametrize("thread_count", [1, 2])
@pytest.mark.parametrize("atol", [0.0, 1e-3])
@pytest.mark.parametrize("kind", KINDS)
def test_extremes_over_many_blocks_are_those_of_computing_everything(kind, atol, thread_count, monkeypatch):
    monkeypatch.setattr(compare_module, "_THREAD_COUNT", thread_count)
    monkeypatch.setattr(compare_module, "_THREADING_THRESHOLD", 0)
    actual, expected = many_blocks(kind)
    difference = measure(actual, expected, Tolerance(1e-3, atol, "a test"), Precision.FP16)
    a, e = actual.astype(float), expected.astype(float)
    error, allowed = np.abs(a - e), atol + 1e-3 * np.abs(e)
    relative = error[e != 0] / np.abs(e[e != 0])
    last_place = 2.0 ** (np.maximum(np.frexp(e)[1] - 1, -14) - 10)
    last_place[e == 0] = 2.0**-24
    assert difference.worst_absolute.difference == error.max()
    assert difference.worst_absolute.index == (error.argmax(),)
    assert difference.worst_relative.difference == relative.max()
    assert difference.max_ulp == (error / last_place).max()
    assert difference.mismatch_count == np.count_nonzero(error > allowed)
    differing = error > 0
    with np.errstate(divide="ignore"):
        assert difference.headroom == (error[differing] / allowed[differing]).max()


@pytest.mark.parametrize("tolerance", [Tolerance(0.0, 1e-3, "rtol alone is zero"), LOOSE])
@pytest.mark.parametrize("values", [(50.0, 49.0), (1e-9, 6e-5), (0.0, 6e-5), (1.2e-4, 1.8e-4)])
def test_a_record_of_any_kind_is_found_in_a_later_block_of_a_region(values, tolerance):
    expected = normal(900_000, 22).reshape(1000, 900)
    actual = expected + np.float32(1e-5) * normal(900_000, 23).reshape(1000, 900)
    expected[990, 7], actual[990, 7] = values
    # This one is the record of headroom that only the first pair breaks.
    expected[5, 7], actual[5, 7] = 50.0, 50.125
    region = (slice(2, 998),)
    comparison = TensorComparison(tolerance, Precision.FP16)
    comparison.update(actual, expected, region=region)
    difference = comparison.result()
    a, e = actual[region].astype(float), expected[region].astype(float)
    error = np.abs(a - e)
    assert difference.headroom == (error / (tolerance.atol + tolerance.rtol * np.abs(e))).max()
    relative = np.divide(error, np.abs(e), out=np.zeros_like(e), where=e != 0)
    assert difference.worst_relative.difference == relative.max()
    row, column = np.unravel_index(relative.argmax(), relative.shape)
    assert difference.worst_relative.index == (row + 2, column)
    exponents = np.where(e == 0, -14, np.frexp(e)[1] - 1)
    assert difference.max_ulp == (error / 2.0 ** (np.maximum(exponents, -14) - 10)).max()


def test_a_headroom_that_grows_by_little_is_found_although_no_other_record_grows():
    expected = np.linspace(1, 4, 400_000)
    actual = expected + np.linspace(1e-3, 1.005e-3, 400_000)
    error = actual - expected
    assert measure(actual, expected, Tolerance(0.0, 1e-3, "a test")).headroom == error.max() / 1e-3


@pytest.mark.parametrize("plant", [(0, 0), (123, 45), (699, 299)])
def test_one_flipped_element_is_found_wherever_it_is(plant):
    expected = normal(700 * 300).reshape(700, 300)
    actual = expected.copy()
    actual[plant] += 1
    difference = measure(actual, expected)
    assert difference.mismatch_count == 1
    assert difference.worst_absolute.index == plant


def test_figures_do_not_depend_on_threads(monkeypatch):
    expected = normal(600_000, 7)
    actual = expected + np.float32(1e-3) * normal(600_000, 8)
    actual[[5, 300_000]] = np.nan
    threaded = measure(actual, expected)
    assert repr(threaded) == repr(measure(actual, expected))
    monkeypatch.setattr(compare_module, "_THREAD_COUNT", 1)
    alone = measure(actual, expected)
    exact = ("element_count", "mismatch_count", "worst_absolute", "worst_relative", "headroom", "max_ulp")
    for name in (*exact, "p50_absolute", "p99_absolute", "p999_absolute"):
        assert getattr(threaded, name) == getattr(alone, name)
    assert threaded.first_nonfinite.index == alone.first_nonfinite.index == (5,)
    assert threaded.rms == pytest.approx(alone.rms, rel=1e-12)


def test_of_equal_worst_elements_the_first_is_told_whichever_thread_met_it():
    expected = np.linspace(1, 2, 600_000)
    actual = expected.copy()
    for place in (70_000, 10, 599_999):
        expected[place], actual[place] = 1, 5
    assert measure(actual, expected).worst_absolute.index == (10,)


def test_an_error_in_a_thread_is_raised(monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(kernel, "_measure_block", fail)
    with pytest.raises(MemoryError):
        measure(np.ones(600_000), np.ones(600_000))


@pytest.mark.parametrize("layout", ["plain", "strided", "nonfinite"])
def test_extra_memory_stays_under_64_mib_whatever_the_size(layout):
    size = 1 << 21
    # Two arrays of 16 MiB each: a full float64 copy of them would be 64 MiB, with its scratch arrays far more.
    expected = np.zeros((2, size), np.float32)
    actual = np.full((2, size), 1e-3, np.float32)
    if layout == "strided":
        actual, expected = actual[:, ::2], expected[:, ::2]
    if layout == "nonfinite":
        actual[:, ::3] = np.nan
    tracemalloc.start()
    measure(actual, expected)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20


@given(hnp.array_shapes(max_dims=4, max_side=12), st.integers(1, 60))
def test_boxes_cover_every_element_once_in_order_and_none_is_too_large(shape, limit):
    numbers = np.arange(math.prod(shape)).reshape(shape)
    parts = [numbers[box].reshape(-1) for box in boxes(shape, limit)]
    assert max(part.size for part in parts) <= limit
    assert np.concatenate(parts).tolist() == list(range(numbers.size))


def test_the_histogram_of_blocks_and_of_feeds_is_one() -> None:
    values = np.random.default_rng(3).standard_normal(700_000) * 1e-3
    whole = measure(values, np.zeros_like(values))
    comparison = TensorComparison(LOOSE, Precision.FP32)
    for feed, part in enumerate(np.array_split(values, 7)):
        comparison.update(part, np.zeros_like(part), feed=feed)
    assert comparison.result().octaves == whole.octaves
    assert sum(count for _, count in whole.octaves) == values.size
