"""What became of figures: two-sided or not, beyond noise or not, and nothing left out."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.agreement import Better
from parity.baseline.allowance import allowance_of
from parity.baseline.changes import Change, Direction, changes_of
from parity.baseline.model import VariantFigures
from parity.run_figures import Kind, compared_figures, figures_of
from tests.accepted import gpu_run, latency_outcome, measurement, outputs_outcome, series, variant

ALL = frozenset({"outputs", "engine", "latency"})
values = st.floats(allow_nan=True)


def only(old: VariantFigures, new: VariantFigures, name: str, **overrides: float) -> Change:
    [found] = [change for change in changes_of(old, new, ALL, overrides) if change.name == name]
    return found


@pytest.mark.parametrize("moved", [-1.5, 1.5])
def test_closeness_counts_on_both_sides(moved: float) -> None:
    found = only(variant(60.0), variant(60.0 + moved), "sqnr_db")
    assert found.is_significant
    assert found.leaves_baseline
    assert found.is_regression == (moved < 0)


def test_an_sqnr_within_a_decibel_is_the_same() -> None:
    found = only(variant(60.0), variant(59.2), "sqnr_db")
    assert (found.direction, found.is_significant) == (Direction.WORSE, False)


def test_equal_tensors_that_are_equal_no_more_are_worse() -> None:
    assert only(variant(math.inf), variant(150.0), "sqnr_db").is_regression
    assert not only(variant(math.inf), variant(math.inf), "sqnr_db").is_significant


@given(values)
def test_a_figure_that_did_not_change_is_equal_whatever_it_is(value: float) -> None:
    found = only(variant(value), variant(value), "sqnr_db")
    assert (found.direction, found.is_significant) == (Direction.EQUAL, False)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_better_one_way_is_worse_the_other_way(old: float, new: float) -> None:
    there, back = only(variant(old), variant(new), "sqnr_db"), only(variant(new), variant(old), "sqnr_db")
    opposite = {Direction.BETTER: Direction.WORSE, Direction.WORSE: Direction.BETTER, Direction.EQUAL: Direction.EQUAL}
    assert back.direction is opposite[there.direction]
    # Of closeness the allowance does not depend on the side.
    assert back.is_significant == there.is_significant


@pytest.mark.parametrize("name", ["headroom", "mismatch_count", "corner_shift_max"])
def test_a_share_of_infinity_allows_nothing(name: str) -> None:
    for old, new in ((math.inf, 3.0), (math.inf, -math.inf), (3.0, math.inf)):
        assert only(variant(**{name: old}), variant(**{name: new}), name).is_significant


def test_a_nan_that_was_none_is_worse() -> None:
    assert only(variant(60.0), variant(math.nan), "sqnr_db").is_regression


def test_an_engine_that_shrinks_leaves_no_baseline_and_one_that_grows_does() -> None:
    def sized(size: float) -> VariantFigures:
        return VariantFigures({"engine": {"": {"size_bytes": size}}})

    assert not only(sized(100.0), sized(50.0), "size_bytes").leaves_baseline
    assert not only(sized(100.0), sized(109.0), "size_bytes").leaves_baseline
    assert only(sized(100.0), sized(112.0), "size_bytes").is_regression


def test_a_build_that_takes_long_is_shown_and_not_judged() -> None:
    def built(seconds: float) -> VariantFigures:
        return VariantFigures({"engine": {"": {"build_s": seconds}}})

    found = only(built(10.0), built(100.0), "build_s")
    assert (found.direction, found.is_significant, found.allowed) == (Direction.WORSE, False, "not judged")
    assert only(built(10.0), built(100.0), "build_s", build_s=0.5).is_regression


def test_an_override_takes_the_place_of_the_default() -> None:
    assert not only(variant(60.0), variant(57.0), "sqnr_db", sqnr_db=4.0).is_significant
    assert only(variant(60.0), variant(59.9), "sqnr_db", sqnr_db=0.0).is_significant


def test_a_figure_that_is_gone_is_a_regression_where_its_check_was_made() -> None:
    old, new = variant(headroom=0.5), variant()
    assert only(old, new, "headroom").direction is Direction.GONE
    assert only(old, new, "headroom").is_regression
    assert not changes_of(old, VariantFigures(), frozenset({"latency"}))


def test_a_figure_that_is_new_was_not_accepted_and_is_no_regression() -> None:
    found = only(variant(), variant(headroom=0.5), "headroom")
    assert (found.direction, found.leaves_baseline, found.is_regression) == (Direction.NEW, True, False)


def test_latency_is_slower_only_beyond_factor_and_noise() -> None:
    def change(*new: float, **more) -> Change:
        old = series(1.0, 1.01, 0.99, 1.0)
        return only(variant(latency=old), variant(latency=series(*new, **more)), "median_ms")

    assert not change(1.04, 1.04, 1.04).is_significant
    assert change(1.2).is_regression
    assert change(1.2).slowdown is not None
    faster = change(0.5)
    assert (faster.direction, faster.is_significant, faster.leaves_baseline) == (Direction.BETTER, True, False)


def test_rebuilt_engines_that_differ_widen_the_noise() -> None:
    quiet = series(1.0, 1.0, 1.0)
    rebuilt = series(1.0, 1.0, 1.0, rebuilds_ms=((0.8,), (1.2,), (1.0,)))
    new = variant(latency=series(1.12))
    assert only(variant(latency=quiet), new, "median_ms").is_regression
    assert not only(variant(latency=rebuilt), new, "median_ms").is_significant


@pytest.mark.parametrize("other", [{"cuda_graph": True}, {"streams": 2}])
def test_times_of_another_mode_are_not_compared(other: dict) -> None:
    found = only(variant(latency=series(1.0)), variant(latency=series(1.0, **other)), "median_ms")
    assert found.direction is Direction.INCOMPARABLE
    assert found.leaves_baseline
    assert "against" in found.allowed


def test_every_figure_that_a_run_gives_has_an_allowance_of_its_kind_with_a_reason() -> None:
    run = gpu_run(outputs_outcome(), latency_outcome(measurement(1.0)))
    for row in figures_of(run):
        if row.name == "p99_ms":
            continue
        found = allowance_of(row.check, row.name)
        assert (found.kind, found.better, found.unit) == (row.kind, row.better, row.unit), row.name
        assert found.reason


@pytest.mark.parametrize("name", compared_figures())
def test_every_known_figure_takes_an_override(name: str) -> None:
    check = {"share": "census", "median_ms": "latency"}.get(name, "engine" if name.endswith(("_bytes", "_s")) else "x")
    found = allowance_of(check, name, {name: 0.125})
    assert 0.125 in {found.absolute, found.relative}
    assert found.is_judged


def test_what_was_judged_may_not_change_at_all() -> None:
    found = allowance_of("decoded", "image_count")
    assert (found.kind, found.better) == (Kind.AGREEMENT, Better.NEITHER)
    assert not found.allows(256, 255)
