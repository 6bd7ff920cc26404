"""Sums over a block, against exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from parity.sums import derived_product, normal, peak

finite = st.floats(allow_nan=False, allow_infinity=False)
blocks = hnp.arrays(np.float64, st.integers(1, 40), elements=finite)


def exact(wide):
    return Fraction(wide[0]) * Fraction(2) ** wide[1]


def are_close(found, true, scale):
    return abs(found - true) <= scale * Fraction(1, 10**13)


@given(blocks)
def test_sums_agree_with_fractions_over_the_whole_range_of_float64(values):
    block = normal(values, peak(values))
    terms = [Fraction(float(x)) for x in values]
    magnitudes = sum(map(abs, terms))
    # What is 2**-1022 below the largest of the block may vanish.
    room = magnitudes + Fraction(2) ** -1000 * Fraction(peak(values))
    assert are_close(exact(block.total()), sum(terms), room)
    assert are_close(exact(block.magnitudes()), magnitudes, room)
    assert are_close(exact(block.squares()), sum(x * x for x in terms), room * room)


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 1 << 18])
def test_a_whole_block_loses_no_more_than_the_last_digits(size):
    rng = np.random.default_rng(size)
    first, second = rng.standard_normal(size), rng.standard_normal(size)
    block = normal(first, peak(first))
    assert block.squares()[0] == pytest.approx(math.fsum(first * first), rel=1e-12)
    assert block.magnitudes()[0] == pytest.approx(math.fsum(np.abs(first)), rel=1e-12)
    product = block.dot(normal(second, peak(second)))[0]
    assert product == pytest.approx(math.fsum(first * second), abs=1e-12 * size)


def test_the_peak_is_the_largest_magnitude_infinity_and_subnormals_included():
    assert peak(np.array([1.0, -3.0, 2.0])) == 3.0
    assert peak(np.array([1.0, -math.inf])) == math.inf
    assert peak(np.array([0.0, -5e-324])) == 5e-324
    assert peak(np.zeros(3)) == 0.0


@given(hnp.arrays(np.float64, (2, 9), elements=st.floats(0.5, 2.0)))
def test_the_derived_product_is_the_product(pair):
    first, second = pair
    noise = first - second
    product = derived_product((first.dot(first), 0), (second.dot(second), 0), (noise.dot(noise), 0))
    assert product is not None
    assert product[0] == pytest.approx(first.dot(second), rel=1e-13)


@pytest.mark.parametrize(
    "squares", [((1.0, 0), (17.0, 0)), ((17.0, 0), (1.0, 0)), ((0.0, 0), (1.0, 0)), ((1.0, 2), (1.0, 0))]
)
def test_no_product_is_derived_where_digits_would_cancel_or_powers_differ(squares):
    assert derived_product(*squares, (1.0, 0)) is None
    assert derived_product((1.0, 0), (1.0, 0), (1.0, -1000)) is None
