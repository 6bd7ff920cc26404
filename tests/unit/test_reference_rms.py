"""The scale of a tolerance: the reference's root mean square, without what fills masked places."""

import math

import numpy as np
import pytest

from parity.compare import compare_tensors, reference_rms
from parity.tolerance import DEFAULT_TOLERANCE, Precision

MASKED = np.random.default_rng(4).normal(scale=5.0, size=(6, 50))


@pytest.mark.parametrize("fill", [-1e9, float(np.finfo(np.float32).min), 2.0**31])
@pytest.mark.parametrize("precision", Precision)
def test_what_fills_masked_places_excuses_no_other_element(fill, precision):
    is_masked = np.arange(50) % 7 == 0
    expected = MASKED + np.where(is_masked, fill, 0.0)
    assert reference_rms([expected]) == pytest.approx(reference_rms([expected[:, ~is_masked]]))
    wrong = np.where(is_masked, expected, np.roll(expected, 1, axis=0))
    tolerance = DEFAULT_TOLERANCE[precision]
    assert compare_tensors(wrong, expected, tolerance=tolerance, precision=precision).headroom > 2
    assert not compare_tensors(expected * (1 + 1e-6), expected, tolerance=tolerance).mismatch_count


def test_large_values_count_where_they_vary_or_no_gap_parts_them_from_the_others():
    for values in (np.logspace(0, 12, 100), np.linspace(-1e9, 1e9, 101), np.full(5, 1e9)):
        assert reference_rms([values[:3], values[3:]]) == pytest.approx(math.sqrt(np.mean(values**2)))


def test_where_fill_values_begin_does_not_depend_on_the_order_of_the_feeds():
    feeds = [np.array([1.0]), np.array([2.0**23, 2.0**44]), np.array([3.0, 2.0**15])]
    assert len({reference_rms([feeds[i] for i in order]) for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0))}) == 1
