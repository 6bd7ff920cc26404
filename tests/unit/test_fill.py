"""What fills masked places, -1e9 or float32's lowest, hides in SQNR and cosine neither the rest nor its own errors."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from parity.blocks import BLOCK_SIZE
from parity.compare import TensorComparison, reference_rms
from parity.judge import judge
from parity.tolerance import DEFAULT_TOLERANCE, Precision
from parity.verdict import Verdict
from tests.compare_examples import LOOSE, measure, normal

LOWEST = float(np.finfo(np.float32).min)


def is_fill(values: np.ndarray) -> np.ndarray:
    """Say of each value whether it lies above the first gap that ends at 2**23 or beyond, all there being one value."""
    sizes = np.abs(values)
    steps = pairwise(np.unique(sizes).tolist())
    ends = [high for low, high in steps if high >= 2**23 and math.frexp(high)[1] - math.frexp(low)[1] > 20]
    above = sizes >= (ends[0] if ends else math.inf)
    for power in np.unique(np.frexp(values[above])[1]):
        there = values[above & (np.frexp(values)[1] == power)]
        if np.ptp(there) > 1e-5 * np.abs(there).max():
            return np.zeros(values.shape, bool)
    return above


def decibels(actual: np.ndarray, expected: np.ndarray) -> float:
    signal, noise = float(np.sum(expected**2)), float(np.sum((actual - expected) ** 2))
    return math.nan if not signal else math.inf if not noise else 10 * math.log10(signal / noise)


def masked(fill: float, count: int = 5000, every: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return logits whose every third place is masked, and where."""
    logits, mask = normal(count, 1), np.arange(count) % every == 0
    return np.where(mask, np.float32(fill), logits), mask


@pytest.mark.parametrize("fill", [-1e9, LOWEST, 2.0**40])
def test_an_error_beside_fill_values_shows_as_it_does_without_them(fill: float) -> None:
    expected, mask = masked(fill)
    actual = np.where(mask, expected, expected + np.float32(0.5) * normal(expected.size, 2))
    found, bare = measure(actual, expected), measure(actual[~mask], expected[~mask])
    assert found.sqnr_db == pytest.approx(bare.sqnr_db, abs=1e-9)
    assert 5 < found.sqnr_db < 7
    assert found.cosine == pytest.approx(bare.cosine, abs=1e-12)
    assert (found.fill_count, bare.fill_count) == (np.count_nonzero(mask), 0)


def test_a_fill_value_that_is_wrong_shows_though_everything_else_is_right() -> None:
    expected, mask = masked(-1e9)
    found = measure(np.where(mask, expected / 2, expected), expected)
    assert found.sqnr_db == pytest.approx(20 * math.log10(2), abs=1e-3)
    assert measure(np.where(mask, -expected, expected), expected).cosine < -0.99


def test_the_rounding_of_a_fill_value_is_no_error_of_the_rest() -> None:
    expected, mask = masked(-1e9)
    actual = np.where(mask, np.float32(-1e9 * (1 + 2**-9)), expected)
    assert measure(actual, expected).sqnr_db == pytest.approx(20 * math.log10(2**9), abs=1e-2)


def test_an_output_of_int8_is_not_within_its_sqnr_by_its_fill_values_alone() -> None:
    expected, mask = masked(-1e9)
    actual = np.where(mask, expected, expected + np.float32(0.25) * np.sign(normal(expected.size, 2)))
    tolerance = DEFAULT_TOLERANCE[Precision.INT8].absolute(reference_rms([expected]))
    judgement = judge(measure(actual, expected, tolerance), tolerance)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.reasons[0].startswith("SQNR is 12.")
    assert [note.partition(";")[0] for note in judgement.notes] == [
        "1667 of 5000 elements fill masked places of the reference"
    ]


def test_steps_of_int8_are_those_of_the_places_that_are_not_masked() -> None:
    expected, mask = masked(-1e9)
    actual = np.where(mask, expected, expected + np.float32(0.25))
    found = measure(actual, expected, precision=Precision.INT8)
    bare = measure(actual[~mask], expected[~mask], precision=Precision.INT8)
    assert found.max_ulp == pytest.approx(bare.max_ulp, rel=1e-6)
    assert found.max_ulp > 5


@pytest.mark.parametrize("count", [100, 9 * BLOCK_SIZE], ids=["one thread", "two threads"])
def test_the_scale_of_what_was_compared_leaves_fill_values_out(count: int) -> None:
    expected, _ = masked(LOWEST, count)
    compared = TensorComparison(LOOSE, Precision.FP16)
    compared.update(expected, expected)
    assert compared.scale == pytest.approx(reference_rms([expected]), rel=1e-12)
    assert compared.scale < 2


def test_large_values_that_vary_are_no_fill() -> None:
    expected = np.concatenate([normal(100), 1e9 * (1 + np.abs(normal(100, 3)))]).astype(np.float32)
    found = measure(expected * np.float32(1.001), expected)
    assert (found.fill_count, found.sqnr_db) == (0, pytest.approx(60, abs=0.1))


def test_one_large_value_everywhere_is_no_fill_though_another_feed_is_not_finite() -> None:
    assert reference_rms([np.full(3, np.nan), np.full(3, 1e9)]) == pytest.approx(1e9)


def test_zeros_beside_one_large_value_leave_its_own_sqnr() -> None:
    found = measure(np.array([0.0, 1.001e9]), np.array([0.0, 1e9]))
    assert (found.fill_count, found.sqnr_db) == (1, pytest.approx(60, abs=0.1))


@pytest.mark.parametrize("count", [100, 9 * BLOCK_SIZE], ids=["one thread", "two threads"])
def test_fill_values_of_one_feed_are_told_by_those_of_all(count: int) -> None:
    expected, mask = masked(-1e9, count)
    actual = np.where(mask, expected, expected * np.float32(1.01))
    parts = TensorComparison(LOOSE, Precision.FP32)
    # A feed of fill values alone shows no gap.
    for feed, chosen in enumerate((mask, ~mask)):
        parts.update(actual[chosen], expected[chosen], feed=feed)
    whole = measure(actual, expected)
    assert parts.result().sqnr_db == pytest.approx(whole.sqnr_db, abs=1e-9)
    assert parts.result().fill_count == whole.fill_count == np.count_nonzero(mask)
    assert parts.result().rms == pytest.approx(whole.rms, rel=1e-12)
    assert whole.sqnr_db == pytest.approx(40, abs=0.01)


LARGE = [-1e9, -1.000001e9, -1.1e9, 2.0**23, 3e7, -1e30]
numbers = st.one_of(st.integers(-8000, 8000).map(lambda number: number / 1000), st.sampled_from([1e-30, *LARGE]))


@given(hnp.arrays(np.float64, st.integers(1, 8), elements=numbers), st.integers(0, 7), st.floats(0.5, 2))
def test_both_figures_agree_with_the_rule_written_in_numpy(expected: np.ndarray, place: int, factor: float) -> None:
    actual = expected.copy()
    actual[place % expected.size] = actual[place % expected.size] * factor + 1.0
    found, rest = measure(actual, expected), ~is_fill(expected)
    assert found.fill_count == np.count_nonzero(~rest)
    figures = (decibels(actual, expected), decibels(actual[rest], expected[rest]))
    told = [figure for figure in figures if not math.isnan(figure)]
    assert found.sqnr_db == pytest.approx(min(told, default=math.nan), rel=1e-6, abs=1e-6, nan_ok=True)
    assert reference_rms([expected]) == pytest.approx(math.sqrt(np.mean(expected[rest] ** 2)), rel=1e-9)
