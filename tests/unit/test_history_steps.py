"""Steps: found where one is planted, and few where there is none, whatever the noise looks like."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parity.history.steps import MIN_RUNS, find_steps


def normal(generator: np.random.Generator, count: int) -> np.ndarray:
    return generator.standard_normal(count)


def heavy_tailed(generator: np.random.Generator, count: int) -> np.ndarray:
    return generator.standard_t(3, count)


def with_outliers(generator: np.random.Generator, count: int) -> np.ndarray:
    values = generator.standard_normal(count)
    values[generator.random(count) < 0.05] *= 10
    return values


def tied(generator: np.random.Generator, count: int) -> np.ndarray:
    values = generator.standard_normal(count + 50)
    for place in range(1, values.size):
        values[place] += 0.3 * values[place - 1]
    return values[50:]


@pytest.mark.parametrize("count", [8, 20, 60])
@pytest.mark.parametrize(
    ("noise", "allowed"),
    [(normal, 4), (heavy_tailed, 4), (with_outliers, 6), (tied, 12)],
    ids=["normal", "heavy tails", "outliers", "tied"],
)
def test_of_200_series_of_noise_few_show_a_step(noise, allowed: int, count: int) -> None:
    generator = np.random.default_rng(count)
    found = sum(bool(find_steps(100 + 2 * noise(generator, count))) for _ in range(200))
    assert found <= allowed


@pytest.mark.parametrize(
    ("series", "allowed"),
    [
        (lambda generator: generator.poisson(0.3, 200).astype(float), 5),
        (lambda generator: np.where(generator.random(200) < 0.07, 1.01, 1.0), 8),
        (lambda g: 1 + 0.08 * (g.random(200) < 0.1) + 0.003 * g.standard_normal(200), 18),
    ],
    ids=["a count that is mostly 0", "a figure that is mostly one value", "a clock with a rare second state"],
)
def test_what_is_off_again_and_again_is_no_step(series, allowed: int) -> None:
    generator = np.random.default_rng(11)
    assert sum(bool(find_steps(series(generator))) for _ in range(100)) <= allowed


@pytest.mark.parametrize(("before", "behind", "least"), [(20, 3, 85), (20, 5, 95), (60, 5, 95), (8, 4, 75)])
def test_a_step_of_10_percent_in_noise_of_2_is_found_after_few_runs(before: int, behind: int, least: int) -> None:
    generator = np.random.default_rng(7)
    exact = 0
    for _ in range(100):
        levels = np.repeat([100.0, 110.0], [before, behind])
        steps = find_steps(levels + 2 * generator.standard_normal(levels.size))
        exact += len(steps) == 1 and abs(steps[0].position - before) <= 1
    assert exact >= least


def test_a_step_lies_between_the_runs_that_are_named() -> None:
    generator = np.random.default_rng(3)
    held = found = 0
    for _ in range(200):
        steps = find_steps(np.repeat([100.0, 106.0], [30, 12]) + 2 * generator.standard_normal(42))
        if len(steps) == 1:
            found += 1
            held += steps[0].last_before < 30 <= steps[0].first_after
    assert found > 100
    assert held >= 0.9 * found


def test_a_slow_week_is_two_steps() -> None:
    generator = np.random.default_rng(5)
    steps = find_steps(np.repeat([1.0, 1.2, 1.0], [40, 7, 20]) + 0.01 * generator.standard_normal(67))
    assert [step.position for step in steps] == [40, 47]
    assert steps[0].change == pytest.approx(0.2, abs=0.02)
    assert steps[1].change == pytest.approx(-1 / 6, abs=0.02)


def test_a_figure_that_never_moved_steps_once_it_does() -> None:
    (step,) = find_steps([0.0] * 10 + [1.0] * MIN_RUNS)
    assert (step.position, step.last_before, step.first_after) == (10, 9, 10)
    assert step.change == math.inf


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1.0],
        [5.0] * 50,
        [5.0] * 20 + [9.0] + [5.0] * 20,
        [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0],
        [1.0] * 10 + [1.0005] * 10,
        [math.inf] * 12,
    ],
    ids=["nothing", "one run", "constant", "one outlier", "rare counts", "next to nothing", "all infinite"],
)
def test_what_is_no_step_is_none(values: list[float]) -> None:
    assert find_steps(values) == ()


def test_infinite_values_are_beyond_all_others() -> None:
    (up,) = find_steps([60.0] * 8 + [math.inf] * 4)
    assert (up.position, up.change) == (8, math.inf)
    (down,) = find_steps([math.inf] * 8 + [60.0] * 4)
    assert (down.position, down.change) == (8, -math.inf)


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        find_steps([1.0, math.nan])


@given(st.lists(st.floats(-1e6, 1e6), max_size=40), st.integers(-8, 8))
def test_steps_do_not_depend_on_the_unit(values: list[float], power: int) -> None:
    scaled = [value * 2.0**power for value in values]
    assert [step.position for step in find_steps(scaled)] == [step.position for step in find_steps(values)]


@given(st.lists(st.floats(allow_nan=False), max_size=40))
@example([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0])
@example([0.0, 0.0, 8.988465674311579e307, 8.98846567431158e307, 8.98846567431158e307, 8.98846567431158e307])
def test_steps_stand_in_order_and_between_their_bounds(values: list[float]) -> None:
    steps = find_steps(values)
    assert [step.position for step in steps] == sorted({step.position for step in steps})
    assert all(0 <= step.last_before < step.first_after < len(values) for step in steps)
    assert all(step.last_before < step.position <= step.first_after for step in steps)
