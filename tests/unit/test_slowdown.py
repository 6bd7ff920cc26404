"""Latencies compared by separately started measurements: against SciPy, and on nights whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from parity.slowdown import FALSE_ALARM, PRIOR_SPREAD, PRIOR_WEIGHT, compare

medians = st.lists(st.floats(0.01, 100.0), min_size=1, max_size=8)


def started(*values: float) -> list[list[float]]:
    return [[value] for value in values]


@given(medians, medians)
def test_the_limit_is_students_t_with_the_priors_weight(old: list[float], new: list[float]) -> None:
    found = compare(started(*old), started(*new))
    before, after = np.log(old), np.log(new)
    freedom = PRIOR_WEIGHT + len(old) + len(new) - 2
    squares = PRIOR_WEIGHT * PRIOR_SPREAD**2 + before.var() * len(old) + after.var() * len(new)
    sigma = np.sqrt(squares / freedom * (1 / len(old) + 1 / len(new)))
    assert np.log1p(found.noise) == pytest.approx(stats.t.isf(FALSE_ALARM, freedom) * sigma, rel=1e-6)
    assert found.ratio == pytest.approx(np.exp(after.mean() - before.mean()))


@given(medians, medians, st.floats(0.1, 10.0))
def test_the_unit_of_time_does_not_matter(old: list[float], new: list[float], scale: float) -> None:
    found = compare(started(*old), started(*new))
    scaled = compare(started(*(scale * v for v in old)), started(*(scale * v for v in new)))
    assert (scaled.ratio, scaled.noise) == (pytest.approx(found.ratio), pytest.approx(found.noise))


@given(medians, medians)
def test_slower_one_way_is_faster_the_other_way(old: list[float], new: list[float]) -> None:
    there, back = compare(started(*old), started(*new)), compare(started(*new), started(*old))
    assert there.ratio == pytest.approx(1 / back.ratio)
    assert not (there.is_slower and there.is_faster)


def test_only_more_than_the_factor_counts_however_quiet_the_starts() -> None:
    quiet = started(*[1.0] * 8)
    assert not compare(quiet, started(1.049, 1.049, 1.049)).is_slower
    assert compare(quiet, started(1.051, 1.051, 1.051)).is_slower
    assert not compare(quiet, started(1.09, 1.09, 1.09), factor=0.1).is_slower


def test_only_more_than_the_noise_counts_however_large_the_change() -> None:
    loud = started(1.0, 1.2, 0.9, 1.1)
    found = compare(loud, started(1.2))
    assert found.exceeds_factor
    assert not found.is_slower
    assert compare(loud, started(2.5)).is_slower


def test_the_readings_of_one_start_are_one_draw() -> None:
    few, many = compare([[1.0]], [[1.1]]), compare([[1.0] * 3000], [[1.1] * 3000])
    assert few == many
    assert few.is_guess
    assert not few.is_slower


def test_one_disturbed_start_of_three_is_no_slow_engine() -> None:
    assert not compare(started(1.0, 1.01, 0.99), started(1.4, 1.0, 1.0)).is_slower


@pytest.mark.parametrize("broken", [[], [[]], [[0.0]], [[float("nan")]], [[float("inf")]], [[-1.0]]])
def test_what_is_no_measurement_is_refused(broken: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="measurement"):
        compare(broken, [[1.0]])
    with pytest.raises(ValueError, match="measurement"):
        compare([[1.0]], broken)


def test_readings_as_far_apart_as_floats_go_are_compared() -> None:
    assert compare([[1e-300], [1e300]], [[1.0]]).noise > 1e6
    assert compare([[1e-300]] * 8, [[1e300]]).ratio > 1e300
    assert 0 < compare([[1e300]] * 8, [[1e-300]]).ratio < 1e-300
