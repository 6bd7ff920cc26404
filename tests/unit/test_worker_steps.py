"""What TensorRT reports of a build's steps becomes one share that only grows."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.worker.steps import Steps, watch_build
from tests.fake_tensorrt import fake_tensorrt

if TYPE_CHECKING:
    from collections.abc import Sequence


def told_by(reports: Sequence[tuple[Any, ...]]) -> list[float]:
    """Return the shares that are told of reports: ``start``, ``complete`` or ``finish`` with its arguments."""
    shares: list[float] = []
    steps = Steps(shares.append)
    for report, *words in reports:
        getattr(steps, report)(*words)
    return shares


def test_the_steps_of_one_phase_are_its_share() -> None:
    assert told_by([("start", "build", None, 4), *(("complete", "build", step) for step in range(4))]) == [
        0.25,
        0.5,
        0.75,
        1.0,
    ]


def test_a_phase_inside_another_is_a_part_of_the_step_that_this_one_is_at() -> None:
    inner = [("start", "tactics", "build", 2), ("complete", "tactics", 0), ("complete", "tactics", 1)]
    reports = [("start", "build", None, 2), *inner, ("finish", "tactics"), ("complete", "build", 0)]
    # With its last step the inner phase has told what the outer step is: that is not told twice.
    assert told_by(reports) == [0.25, 0.5]


def test_a_build_of_many_steps_is_told_a_hundred_times_at_most() -> None:
    shares = told_by([("start", "build", None, 10_000), *(("complete", "build", step) for step in range(10_000))])
    assert 95 <= len(shares) <= 100


def test_a_phase_after_the_last_one_takes_nothing_back() -> None:
    reports = [("start", "parse", None, 2), ("complete", "parse", 0), ("finish", "parse")]
    assert told_by([*reports, ("start", "build", None, 4), ("complete", "build", 0), ("complete", "build", 2)]) == [
        0.5,
        0.75,
    ]


NAMES = st.sampled_from(["a", "b", "c", "d"])
REPORTS = st.one_of(
    st.tuples(st.just("start"), NAMES, st.one_of(st.none(), NAMES), st.integers(0, 9)),
    st.tuples(st.just("complete"), NAMES, st.integers(0, 20)),
    st.tuples(st.just("finish"), NAMES),
)


@given(st.lists(REPORTS, max_size=40))
def test_whatever_is_reported_the_share_grows_from_0_to_1_at_most(reports: list[tuple[Any, ...]]) -> None:
    shares = told_by(reports)
    assert all(0 < share <= 1 for share in shares)
    assert all(later > earlier for earlier, later in pairwise(shares))


@pytest.mark.parametrize("release", ["10.0.1", "10.16.1.11", "11.4.0.106"])
def test_a_build_is_watched_where_the_release_reports_steps(release: str) -> None:
    trt, shares = fake_tensorrt(release), []
    config = trt.Builder(trt.Logger()).create_builder_config()
    monitor = watch_build(trt, config, shares.append)
    assert config.progress_monitor is monitor
    monitor.phase_start("build", None, 2)
    assert monitor.step_complete("build", 0) is True
    monitor.phase_finish("build")
    assert shares == [0.5]


def test_8_6_reports_no_steps() -> None:
    trt = fake_tensorrt("8.6.0")
    config = trt.Builder(trt.Logger()).create_builder_config()
    assert watch_build(trt, config, pytest.fail) is None


def test_a_class_without_its_property_is_not_used() -> None:
    assert watch_build(SimpleNamespace(IProgressMonitor=object), SimpleNamespace(), pytest.fail) is None
