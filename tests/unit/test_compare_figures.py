"""Each figure of a comparison, against NumPy, SciPy and exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cosine as scipy_cosine

from parity.tolerance import Precision, Tolerance
from tests.compare_examples import EXACT, measure, normal

bounds = st.one_of(st.sampled_from([0.0, 1e-7, 1e-3, 1.0, 5e-324, 1e308, math.inf]), st.floats(0, 1e3))


@st.composite
def pairs(draw, dtypes=(np.float16, np.float32, np.float64)):
    """Two arrays of one shape; half of the time the second is the first with a few elements changed."""
    dtype = draw(st.sampled_from(dtypes))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=5))
    expected = draw(hnp.arrays(dtype, shape))
    if draw(st.booleans()):
        return draw(hnp.arrays(dtype, shape)), expected
    actual = expected.copy()
    values = hnp.from_dtype(np.dtype(dtype))
    for place in draw(st.lists(st.integers(0, expected.size - 1), max_size=3)):
        actual.reshape(-1)[place] = draw(values)
    return actual, expected


def numpy_agrees(actual, expected, rtol, atol):
    try:
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(actual.astype(float), expected.astype(float), rtol=rtol, atol=atol)
    except AssertionError:
        return False
    return True


@settings(max_examples=400, deadline=None)
@given(pairs(), bounds, bounds)
def test_the_bound_agrees_with_numpy_on_whatever_hypothesis_finds(pair, rtol, atol):
    actual, expected = pair
    difference = measure(actual, expected, Tolerance(rtol, atol, "drawn"))
    assert (difference.mismatch_count == 0) == numpy_agrees(actual, expected, rtol, atol)


@settings(max_examples=300, deadline=None)
@given(pairs(), bounds, bounds)
def test_mismatches_are_counted_as_numpy_counts_them_element_by_element(pair, rtol, atol):
    actual, expected = (side.astype(float).reshape(-1) for side in pair)
    difference = measure(*pair, Tolerance(rtol, atol, "drawn"))
    missed = [not numpy_agrees(actual[i : i + 1], expected[i : i + 1], rtol, atol) for i in range(actual.size)]
    assert difference.mismatch_count == sum(missed)
    finite = np.isfinite(actual) & np.isfinite(expected)
    assert difference.nonfinite_mismatch_count == np.count_nonzero(np.array(missed) & ~finite)


def test_an_element_exactly_at_the_bound_is_within_it_beside_one_that_is_not():
    expected = np.array([0.0, 0.0, 4.0])
    difference = measure(np.array([0.5, np.nextafter(0.5, 1), 5.5]), expected, Tolerance(0.25, 0.5, "a test"))
    assert difference.mismatch_count == 1
    assert difference.headroom == np.nextafter(1, 2)


@settings(max_examples=200, deadline=None)
@given(pairs(), bounds, bounds)
def test_headroom_above_one_means_exactly_that_an_element_misses(pair, rtol, atol):
    difference = measure(*pair, Tolerance(rtol, atol, "drawn"))
    assert (difference.headroom > 1) == (difference.mismatch_count > 0)


def test_headroom_is_infinite_where_only_a_non_finite_element_misses_and_not_where_both_sides_share_it():
    expected = np.array([1.0, 2.0, np.nan, np.inf])
    shared = expected * [1.0, 1.0 + 1e-9, 1.0, 1.0]
    assert measure(shared, expected).headroom < 1
    shared[0] = np.nan
    difference = measure(shared, expected)
    assert (difference.headroom, difference.mismatch_count) == (math.inf, 1)


@settings(max_examples=200, deadline=None)
@given(pairs(dtypes=(np.float64,)))
def test_means_and_norms_agree_with_exact_fractions_over_the_whole_range_of_float64(pair):
    actual, expected = pair
    difference = measure(actual, expected)
    finite = np.isfinite(actual) & np.isfinite(expected)
    if not finite.any():
        assert math.isnan(difference.rms)
        return
    a = [Fraction(float(x)) for x in actual[finite]]
    e = [Fraction(float(x)) for x in expected[finite]]
    count = len(a)
    mean = sum((abs(x - y) for x, y in zip(a, e, strict=True)), Fraction(0)) / count
    square = sum(((x - y) ** 2 for x, y in zip(a, e, strict=True)), Fraction(0)) / count
    assert difference.mean_absolute == pytest.approx(as_float(mean), rel=1e-12, abs=1e-323)
    assert difference.rms == pytest.approx(root(square), rel=1e-12, abs=1e-323)
    signal = sum((y * y for y in e), Fraction(0)) / count
    if square and signal:
        ratio = signal / square
        exact = 10 * (math.log10(ratio.numerator) - math.log10(ratio.denominator))
        # Beside values that fill masked places it may be lower: see test_fill.py.
        lower = exact if difference.fill_count == 0 else min(exact, difference.sqnr_db)
        assert difference.sqnr_db == pytest.approx(lower, rel=1e-9, abs=1e-9)


def as_float(value):
    try:
        return float(value)
    except OverflowError:
        return math.inf


def root(square):
    scale = 2**4000
    try:
        return float(Fraction(math.isqrt(int(square * scale)), 2**2000))
    except OverflowError:
        return math.inf


def test_every_figure_of_ordinary_data_agrees_with_an_independent_computation():
    expected, noise = normal(5000, 1), normal(5000, 2)
    actual = (expected + np.float32(1e-3) * noise + np.float32(1e-4)).astype(np.float32)
    difference = measure(actual, expected, Tolerance(1e-3, 1e-3, "a test"))
    a, e = actual.astype(float), expected.astype(float)
    error = a - e
    assert difference.element_count == 5000
    assert difference.mismatch_count == np.count_nonzero(np.abs(error) > 1e-3 + 1e-3 * np.abs(e))
    assert difference.mean_absolute == pytest.approx(np.abs(error).mean(), rel=1e-12)
    assert difference.rms == pytest.approx(math.sqrt((error**2).mean()), rel=1e-12)
    assert difference.bias == pytest.approx(error.mean(), rel=1e-9)
    assert difference.sqnr_db == pytest.approx(20 * math.log10(np.linalg.norm(e) / np.linalg.norm(error)), rel=1e-12)
    assert 1 - difference.cosine == pytest.approx(scipy_cosine(a, e), abs=1e-12)
    assert difference.headroom == (np.abs(error) / (1e-3 + 1e-3 * np.abs(e))).max()
    assert difference.max_ulp == (np.abs(error) / np.spacing(np.abs(expected)).astype(float)).max()
    assert difference.worst_relative.difference == (np.abs(error) / np.abs(e)).max()
    assert (difference.actual.minimum, difference.actual.maximum) == (a.min(), a.max())
    assert difference.expected.rms == pytest.approx(math.sqrt((e**2).mean()), rel=1e-12)


def test_the_worst_elements_come_with_index_and_both_values():
    expected = np.ones((3, 4, 5), np.float32)
    actual = expected.copy()
    expected[2, 3, 4], actual[2, 3, 4] = 100, 110
    expected[0, 1, 2], actual[0, 1, 2] = 2, 3
    difference = measure(actual, expected)
    worst = difference.worst_absolute
    assert (worst.index, worst.actual, worst.expected, worst.difference) == ((2, 3, 4), 110, 100, 10)
    assert worst.allowed == 1e-3 + 1e-3 * 100
    relative = difference.worst_relative
    assert (relative.index, relative.actual, relative.expected, relative.difference) == ((0, 1, 2), 3, 2, 0.5)


def test_a_reference_of_zero_has_no_relative_error():
    difference = measure(np.array([1.0, 2.5, 0.0]), np.array([0.0, 2.0, 0.0]))
    assert difference.worst_relative.index == (1,)
    assert difference.worst_relative.difference == 0.25


def test_equal_tensors_differ_nowhere():
    values = normal(100)
    difference = measure(values, values.copy(), EXACT)
    assert difference.worst_absolute is difference.worst_relative is None
    assert (difference.mismatch_count, difference.headroom, difference.max_ulp, difference.rms) == (0, 0, 0, 0)
    assert difference.p999_absolute == 0
    assert difference.sqnr_db == math.inf
    assert difference.cosine == pytest.approx(1, abs=1e-15)


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float64, st.integers(1, 400), elements=st.floats(0, 1e300)))
def test_percentiles_are_at_most_their_bin_error_above_the_exact_ones(errors):
    difference = measure(errors, np.zeros_like(errors))
    for share, found in (
        (50, difference.p50_absolute),
        (99, difference.p99_absolute),
        (99.9, difference.p999_absolute),
    ):
        exact = np.percentile(errors, share, method="inverted_cdf")
        tiny = 2.0**-1029
        assert exact - tiny <= found <= exact * (1 + difference.percentile_bin_error) + tiny


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        (Precision.FP32, np.float32),
        (Precision.FP16, np.float16),
        (Precision.BF16, ml_dtypes.bfloat16),
        (Precision.FP8, ml_dtypes.float8_e4m3fn),
    ],
)
def test_the_next_number_of_a_format_is_one_ulp_away_and_rounding_costs_half_of_one(precision, dtype):
    numbers = np.array([1, 1.5, 2**-7, 7, 100, 0], dtype)
    following = (numbers.view(f"u{numbers.itemsize}") + 1).view(dtype)
    assert measure(following, numbers, precision=precision).max_ulp == 1
    exact = normal(3000, 5, np.float64)
    rounded = exact.astype(dtype).astype(np.float64)
    assert 0.49 < measure(rounded, exact, precision=precision).max_ulp <= 0.5


def test_ulps_of_subnormal_halves_do_not_shrink():
    numbers = np.array([1, 2, 3, 1000], np.uint16).view(np.float16)
    following = np.array([2, 3, 4, 1001], np.uint16).view(np.float16)
    assert measure(following, numbers, precision=Precision.FP16).max_ulp == 1


def test_int8_counts_in_steps_of_the_whole_range_and_integers_in_whole_numbers():
    reference = np.array([127.0, -3.0, 5.0], np.float32)
    assert measure(reference + 0.5, reference, precision=Precision.INT8).max_ulp == 0.5
    assert measure(np.array([4, 9]), np.array([1, 9]), precision=Precision.FP16).max_ulp == 3
    zeros = np.zeros(2, np.float32)
    assert measure(zeros + 1, zeros, precision=Precision.INT8).max_ulp == math.inf


def test_squares_that_overflow_or_vanish_in_float64_are_kept():
    for scale in (1e200, 1e-200):
        expected = np.array([3.0, 4.0]) * scale
        difference = measure(expected * 1.5, expected)
        assert difference.expected.rms == pytest.approx(math.sqrt(12.5) * scale, rel=1e-12)
        assert difference.rms == pytest.approx(math.sqrt(12.5) * 0.5 * scale, rel=1e-12)
        assert difference.sqnr_db == pytest.approx(20 * math.log10(2), rel=1e-12)
        assert difference.cosine == pytest.approx(1, abs=1e-15)


def test_a_tiny_error_beside_huge_equal_values_is_not_lost():
    expected, actual = np.array([1.0, 1e-200]), np.array([1.0, 3e-200])
    assert measure(actual, expected).rms == pytest.approx(2e-200 / math.sqrt(2), rel=1e-12)


def test_the_difference_of_opposite_largest_numbers_keeps_its_ratio():
    largest = np.finfo(float).max
    difference = measure(np.array([-largest, 1.0]), np.array([largest, 1.0]))
    assert difference.worst_absolute.difference == math.inf
    assert difference.sqnr_db == pytest.approx(-20 * math.log10(2), rel=1e-12)


def test_nonfinite_elements_are_counted_on_each_side_and_the_rest_is_measured():
    expected = np.array([[np.nan, np.inf, 1.0], [2.0, -np.inf, 4.0]])
    actual = np.array([[np.nan, -np.inf, 1.5], [np.nan, -np.inf, 4.0]])
    difference = measure(actual, expected)
    assert (difference.actual.nan_count, difference.actual.inf_count) == (2, 2)
    assert (difference.expected.nan_count, difference.expected.inf_count) == (1, 2)
    assert (difference.mismatch_count, difference.nonfinite_mismatch_count) == (3, 2)
    assert difference.first_nonfinite.index == (0, 1)
    assert difference.worst_absolute.index == (0, 2)
    assert difference.mean_absolute == 0.25
    assert (difference.expected.minimum, difference.expected.maximum) == (1, 4)


def test_nothing_finite_leaves_means_undefined():
    nothing = np.full(3, np.nan)
    difference = measure(nothing, nothing)
    assert difference.mismatch_count == 0
    assert math.isnan(difference.mean_absolute)
    assert math.isnan(difference.p50_absolute)
    assert (difference.expected.minimum, difference.expected.rms) == (0, 0)


def test_a_zero_side_has_no_cosine_and_a_zero_reference_no_sqnr():
    zeros, ones = np.zeros(3), np.ones(3)
    assert math.isnan(measure(ones, zeros).cosine)
    assert math.isnan(measure(zeros, zeros).sqnr_db)
    assert measure(zeros, ones).sqnr_db == 0


def test_a_small_bias_shows_although_every_element_is_within_the_bound():
    expected = normal(10000, 6, np.float64)
    difference = measure(expected + 1e-5, expected)
    assert difference.mismatch_count == 0
    assert difference.bias == pytest.approx(1e-5, rel=1e-9)


def test_a_scaled_output_has_cosine_one_and_is_a_mismatch_all_the_same():
    expected = normal(1000)
    difference = measure(expected * 2, expected)
    assert difference.cosine == pytest.approx(1, abs=1e-12)
    assert difference.mismatch_count > 990


@given(hnp.arrays(np.float64, st.integers(1, 200), elements=st.floats(-1e300, 1e300, allow_subnormal=False)))
def test_the_histogram_counts_every_difference_by_its_octave(values: np.ndarray) -> None:
    difference = measure(values, np.zeros_like(values))
    sizes = np.abs(values[values != 0])
    # A mantissa of frexp begins at a half; no logarithm is rounded.
    exponents, counts = np.unique(np.frexp(sizes)[1] - 1, return_counts=True)
    assert difference.octaves == tuple(zip(exponents.tolist(), counts.tolist(), strict=True))
