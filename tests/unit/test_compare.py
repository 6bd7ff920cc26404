"""What can be compared, in which dtypes, regions and feeds, against which bound, and what is refused."""

from __future__ import annotations

import dataclasses
import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from parity.compare import TensorComparison, reference_rms
from parity.errors import ParityError, StructureError
from parity.tolerance import Precision, Tolerance
from tests.compare_examples import EXACT, LOOSE, measure, normal


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_huge_integers_one_apart_are_not_equal(dtype):
    expected = np.array([2**53, 2**62, 7], dtype)
    difference = measure(expected + np.array([1, 0, 0], dtype), expected, EXACT)
    assert difference.mismatch_count == 1
    assert difference.worst_absolute.index == (0,)
    assert difference.worst_absolute.difference == 1


@given(hnp.arrays(np.int64, 6), hnp.arrays(np.int64, 6))
def test_the_distance_of_64_bit_integers_is_exact_over_their_whole_range(actual, expected):
    difference = measure(actual, expected, EXACT)
    exact = [int(a) - int(e) for a, e in zip(actual, expected, strict=True)]
    assert difference.mismatch_count == sum(d != 0 for d in exact)
    worst = difference.worst_absolute.difference if difference.worst_absolute else 0.0
    assert worst == float(max(map(abs, exact)))
    assert difference.bias == pytest.approx(sum(exact) / 6, rel=1e-9, abs=1e4)


@pytest.mark.parametrize(
    "dtype", [np.bool_, np.int8, np.uint8, np.int32, np.uint32, ml_dtypes.int4, ml_dtypes.float8_e5m2, ">f4"]
)
def test_every_dtype_of_an_output_is_measured(dtype):
    expected = np.array([0, 1, 1, 0]).astype(dtype)
    actual = np.array([0, 1, 0, 0]).astype(dtype)
    difference = measure(actual, expected, EXACT)
    assert difference.mismatch_count == 1
    assert difference.worst_absolute.index == (2,)


def test_feeds_accumulate_to_the_figures_of_all_of_them_together():
    expected = normal(3000, 9).reshape(3, 1000)
    actual = expected + np.float32(1e-3) * normal(3000, 10).reshape(3, 1000)
    comparison = TensorComparison(LOOSE, Precision.FP16)
    for feed in range(3):
        comparison.update(actual[feed], expected[feed], feed=feed)
    parts, whole = comparison.result(), measure(actual, expected, precision=Precision.FP16)
    assert (parts.worst_absolute.feed, *parts.worst_absolute.index) == whole.worst_absolute.index
    assert parts.mismatch_count == whole.mismatch_count
    assert parts.max_ulp == whole.max_ulp
    assert parts.p99_absolute == whole.p99_absolute
    assert parts.rms == pytest.approx(whole.rms, rel=1e-12)
    assert comparison.result() == parts


def test_a_region_is_measured_alone_with_indices_of_the_whole_tensor():
    expected = normal(2 * 8 * 30).reshape(2, 8, 30)
    actual = expected.copy()
    actual[0, 0, 0] += 100
    actual[1, 6, 4] += 1
    comparison = TensorComparison(LOOSE, Precision.FP32)
    comparison.update(actual, expected, region=(slice(None), slice(4, None, 2)))
    difference = comparison.result()
    assert difference.element_count == 2 * 2 * 30
    assert difference.mismatch_count == 1
    assert difference.worst_absolute.index == (1, 6, 4)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_an_element_of_any_region_has_its_index_in_the_whole_tensor(data):
    shape = data.draw(hnp.array_shapes(max_dims=4, max_side=6))
    region = data.draw(st.tuples(*(st.slices(length) for length in shape)))
    expected = np.arange(math.prod(shape), dtype=float).reshape(shape) + 1
    if not expected[region].size:
        return
    place = data.draw(st.sampled_from(sorted(expected[region].reshape(-1))))
    actual = np.where(expected == place, -expected, expected)
    comparison = TensorComparison(LOOSE, Precision.FP32)
    comparison.update(actual, expected, region=region)
    worst = comparison.result().worst_absolute
    assert expected[worst.index] == place == worst.expected


def test_strided_readonly_and_mapped_arrays_give_the_figures_of_plain_ones(tmp_path):
    plain = normal(600 * 400, 11).reshape(600, 400)
    other = plain + np.float32(1e-2) * normal(600 * 400, 12).reshape(600, 400)
    wanted = measure(other, plain)
    fortran = np.asfortranarray(plain)
    fortran.flags.writeable = False
    np.save(tmp_path / "other.npy", other)
    found = measure(np.load(tmp_path / "other.npy", mmap_mode="r"), fortran)
    assert found.worst_absolute == wanted.worst_absolute
    assert found.mismatch_count == wanted.mismatch_count
    backwards = measure(other[::-1, ::2], plain[::-1, ::2])
    assert backwards.worst_absolute == measure(other[::-1, ::2].copy(), plain[::-1, ::2].copy()).worst_absolute


def test_the_inputs_are_not_changed():
    expected, actual = normal(100, dtype=np.float64), normal(100, 1, np.float64)
    copies = actual.copy(), expected.copy()
    measure(actual, expected)
    np.testing.assert_array_equal(actual, copies[0])
    np.testing.assert_array_equal(expected, copies[1])


@pytest.mark.parametrize(
    ("actual", "expected", "told"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), "shapes differ"),
        (np.zeros((1, 3)), np.zeros(3), "shapes differ"),
        (np.float64(1), np.zeros(3), "shapes differ"),
        (np.zeros(0), np.zeros(0), "empty"),
        (np.zeros(3, np.float32), np.zeros(3), "dtypes differ"),
        (np.array(["a"]), np.array(["a"]), "holds <U1"),
        (np.array([None]), np.array([None]), "holds object"),
        (np.zeros(2, complex), np.zeros(2, complex), "holds complex128"),
        (np.ma.masked_array([1.0], [True]), np.ones(1), "masked"),
    ],
)
def test_what_cannot_be_compared_is_a_structure_error(actual, expected, told):
    with pytest.raises(StructureError, match=told):
        measure(actual, expected)


def test_dtypes_may_differ_where_it_is_allowed_but_not_in_kind():
    single, half = np.ones(3, np.float32), np.ones(3, np.float16)
    assert measure(half, single, same_dtype=False).mismatch_count == 0
    assert measure(np.array([2**53 + 1]), np.array([7], np.int32), same_dtype=False).mismatch_count == 1
    for other in (np.ones(3, np.int32), np.ones(3, bool)):
        with pytest.raises(StructureError, match="no common exact type"):
            measure(other, single, same_dtype=False)
    with pytest.raises(StructureError, match="no common exact type"):
        measure(np.ones(3, np.int64), np.ones(3, np.uint64), same_dtype=False)


@pytest.mark.parametrize(
    ("region", "told"), [((slice(5, None),), "no element"), ((slice(None),) * 2, "the region has 2 axes")]
)
def test_a_region_outside_the_tensor_is_a_structure_error(region, told):
    with pytest.raises(StructureError, match=told):
        TensorComparison(LOOSE, Precision.FP32).update(np.ones(3), np.ones(3), region=region)


@pytest.mark.parametrize(
    "tolerance",
    [
        Tolerance(-1.0, 0.0, "negative"),
        Tolerance(0.0, math.nan, "undefined"),
        Tolerance(0.0, 1.0, "relative", atol_unit="rms"),
    ],
)
def test_a_tolerance_that_is_no_bound_is_refused(tolerance):
    with pytest.raises(ParityError, match=r"atol|rtol"):
        TensorComparison(tolerance, Precision.FP32)


def test_the_reference_rms_is_over_the_finite_elements_of_the_region_of_all_feeds():
    feeds = [np.array([[3.0, 100.0], [np.nan, 100.0]]), np.array([[4.0, 100.0], [np.inf, 100.0]])]
    assert reference_rms(feeds, (slice(None), slice(0, 1))) == pytest.approx(math.sqrt(12.5))
    assert reference_rms([np.full(3, np.nan)]) == 0
    assert reference_rms([np.full(200_000, 1e300)]) == pytest.approx(1e300)


def test_atol_in_units_of_the_rms_is_scaled_by_the_reference():
    expected = np.array([30.0, -40.0])
    rms = math.sqrt(1250)
    tolerance = Tolerance(0.0, 0.1, "a tenth of the rms", atol_unit="rms")
    assert measure(expected + 0.099 * rms, expected, tolerance).mismatch_count == 0
    assert measure(expected + 0.101 * rms, expected, tolerance).mismatch_count == 2


def test_without_percentiles_every_other_figure_is_the_same():
    actual, expected = np.random.default_rng(0).standard_normal((2, 300, 1000)).astype(np.float32)
    found = []
    for percentiles in (True, False):
        comparison = TensorComparison(Tolerance(0.1, 0.1, "an example"), Precision.FP16, percentiles=percentiles)
        comparison.update(actual, expected)
        found.append(comparison.result())
    with_them, without = found
    assert math.isnan(without.p50_absolute)
    names = ("p50_absolute", "p99_absolute", "p999_absolute", "octaves")
    assert dataclasses.replace(without, **{name: getattr(with_them, name) for name in names}) == with_them
