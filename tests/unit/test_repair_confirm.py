"""Engines confirm a repair: on a simulated worker, with faults that no precision mends, and latencies with noise."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from parity.backends.engine import EngineTiming
from parity.backends.tensorrt.backend import TensorRTBackend
from parity.backends.tensorrt.session import TensorRTSession
from parity.repair.confirm import Latency, _latency, confirm
from parity.repair.mend import RepairOptions, Status, repair
from parity.repair.search import Budget
from parity.verdict import Verdict
from tests.repair_cases import bench_of, three_products, write_products_case
from tests.simulated_worker import Faults, SimulatedWorker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from parity.repair.mend import Repair

KEPT = frozenset({"first", "second"})


@contextmanager
def engine(release: str = "10.16.1.11", faults: Faults | None = None) -> Iterator[TensorRTBackend]:
    with closing(TensorRTBackend(SimulatedWorker(release, faults), None)) as backend:
        yield backend


def repaired(folder: Path, faults: Faults | None = None, budget: Budget | None = None) -> Repair:
    with bench_of(folder, "fp16") as bench, engine(faults=faults) as backend:
        return repair(bench, RepairOptions(budget or Budget(), engine=backend))


@pytest.mark.parametrize("release", ["8.6.0", "10.16.1.11", "11.4.0.106"])
def test_what_the_forecast_found_passes_on_the_engine(release: str, tmp_path: Path) -> None:
    with bench_of(write_products_case(tmp_path / "case"), "fp16") as bench, engine(release) as backend:
        done = repair(bench, RepairOptions(engine=backend))
    assert (done.status, done.variant) == (Status.REPAIRED, "fp16@onnxruntime")
    assert done.confirmation is not None
    assert (done.confirmation.backend, done.confirmation.kept.verdict) == (backend.name, Verdict.PASS)
    assert done.confirmation.plain.verdict is Verdict.FAIL


def test_both_engines_are_timed_and_equal_times_are_no_cost(tmp_path: Path) -> None:
    with bench_of(write_products_case(tmp_path / "case"), "fp16") as bench, engine() as backend:
        found = confirm(bench, backend, KEPT)
    assert found.plain_latency == found.kept_latency == Latency(0.25, 0.25, 0.25, 30)
    assert not found.kept_latency.differs_from(found.plain_latency)


def test_an_engine_that_fails_where_the_forecast_passes_is_searched_itself_and_beyond_precision(tmp_path: Path) -> None:
    folder = write_products_case(tmp_path / "case", three_products(scale=1.0))
    done = repaired(folder, Faults(rolls_rows=True))
    assert (done.status, done.variant) == (Status.BEYOND_PRECISION, "fp16@tensorrt-10.16")
    assert done.before.verdict is Verdict.FAIL
    assert done.search is not None
    assert done.search.is_exhaustive


def test_an_engine_that_still_fails_behind_a_mended_forecast_is_told(tmp_path: Path) -> None:
    done = repaired(write_products_case(tmp_path / "case"), Faults(rolls_rows=True))
    assert done.status is Status.BEYOND_PRECISION
    assert "the forecast is mended, and tensorrt-10.16 still does not pass" in done.reason
    assert done.keep == ("first", "second")


def test_a_sound_engine_has_nothing_to_repair(tmp_path: Path) -> None:
    done = repaired(write_products_case(tmp_path / "case", three_products(scale=1.0)))
    assert (done.status, done.variant) == (Status.NOTHING_TO_REPAIR, "fp16@tensorrt-10.16")


def test_a_worker_that_cannot_time_costs_the_latency_and_not_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TensorRTSession, "time", lambda *_a, **_k: EngineTiming(notes=("no events here",)))
    with bench_of(write_products_case(tmp_path / "case"), "fp16") as bench, engine() as backend:
        found = confirm(bench, backend, KEPT)
    assert (found.kept.verdict, found.kept_latency, found.notes) == (Verdict.PASS, None, ("no events here",))


def test_a_latency_is_the_median_with_the_spread_of_the_rounds() -> None:
    rounds = [[1.0, 1.1, 9.0], [1.2, 1.2, 1.2], [1.0, 1.0, 1.0]]
    assert _latency(rounds) == Latency(1.1, 1.0, 1.2, 9)
    assert _latency([[1.0], []]) is None


def test_latencies_whose_rounds_overlap_are_not_told_apart() -> None:
    plain = Latency(1.0, 0.9, 1.1, 30)
    assert not replace(plain, median_ms=1.2, low_ms=1.05, high_ms=1.3).differs_from(plain)
    assert replace(plain, median_ms=1.2, low_ms=1.15, high_ms=1.3).differs_from(plain)
    assert replace(plain, median_ms=0.5, low_ms=0.4, high_ms=0.6).differs_from(plain)
