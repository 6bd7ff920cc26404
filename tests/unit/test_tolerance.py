"""The table of defaults and the units of atol."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.compare import compare_tensors
from parity.tolerance import DEFAULT_TOLERANCE, NOISE_FLOOR_DB, Precision, Tolerance


@pytest.mark.parametrize("precision", Precision)
def test_every_precision_has_a_floor_and_a_default_with_a_reason(precision):
    assert NOISE_FLOOR_DB[precision] > 0
    tolerance = DEFAULT_TOLERANCE[precision]
    assert tolerance.atol_unit == "rms"
    assert precision in tolerance.reason
    assert tolerance.mismatch_fraction == 0


def test_fewer_bits_mean_a_lower_floor_and_a_wider_bound():
    order = [Precision.FP32, Precision.TF32, Precision.FP16, Precision.BF16, Precision.INT8, Precision.FP8]
    # TF32 has FP16's bits and a lower floor, because it drops the others instead of rounding them.
    floors = {precision: NOISE_FLOOR_DB[precision] for precision in order if precision is not Precision.TF32}
    assert list(floors.values()) == sorted(floors.values(), reverse=True)
    assert NOISE_FLOOR_DB[Precision.BF16] < NOISE_FLOOR_DB[Precision.TF32] < NOISE_FLOOR_DB[Precision.FP16]
    bounds = [DEFAULT_TOLERANCE[precision].atol for precision in order]
    assert bounds == sorted(bounds)


@pytest.mark.parametrize(("precision", "dtype"), [(Precision.FP16, "float16"), (Precision.BF16, "bfloat16")])
def test_one_rounding_of_normal_data_is_at_the_floor(precision, dtype):
    import ml_dtypes

    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    exact = np.random.default_rng(0).standard_normal(200_000)
    rounded = exact.astype(kind).astype(float)
    difference = compare_tensors(rounded, exact, tolerance=Tolerance(0, 0, "none"))
    assert difference.sqnr_db == pytest.approx(NOISE_FLOOR_DB[precision], abs=0.3)


def test_symmetric_int8_of_normal_data_is_at_the_floor():
    exact = np.random.default_rng(0).standard_normal(200_000)
    scale = np.abs(exact).max() / 127
    difference = compare_tensors(np.round(exact / scale) * scale, exact, tolerance=Tolerance(0, 0, "none"))
    assert difference.sqnr_db == pytest.approx(NOISE_FLOOR_DB[Precision.INT8], abs=2)


@given(st.floats(0, 10), st.floats(0, 100))
def test_atol_in_units_of_the_rms_is_multiplied_once(atol, rms):
    tolerance = Tolerance(0.5, atol, "a test", atol_unit="rms", mismatch_fraction=0.25, min_sqnr_db=9.0)
    absolute = tolerance.absolute(rms)
    assert absolute == Tolerance(0.5, atol * rms, "a test", mismatch_fraction=0.25, min_sqnr_db=9.0)
    assert absolute.absolute(rms) == absolute


def test_an_absolute_atol_stays():
    tolerance = Tolerance(0.5, 2.0, "a test")
    assert tolerance.absolute(10.0) is tolerance
