from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.worker import timing
from parity.worker.errors import FeedRefused, WorkerError
from parity.worker.layers import by_position
from tests.fake_engine import Port, Toy, open_desk, tensors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fake_engine import Desk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with open_desk("8.6.0", tmp_path, monkeypatch) as opened:
        yield opened


def adder() -> Toy:
    return Toy([Port("x", (4,)), Port("y", (4,), "OUTPUT")], lambda feed: {"y": feed["x"] + 1}, lambda *_: {"y": (4,)})


def request(desk: Desk, **fields: Any) -> dict[str, Any]:
    feed = tensors({"x": np.zeros(4, np.float32)})
    return {"engine": desk.load(adder())["engine"], "tensors": feed, "profile": 0, **fields}


def test_each_iteration_gives_three_readings(desk: Desk) -> None:
    answer = timing.time(desk.state, request(desk, warm_up_ms=0, min_iterations=7, min_s=0, cuda_graph=False))
    assert answer["gpu_ms"].array.tolist() == [0.25] * 7
    assert all(answer[name].dtype == "float32" for name in ("gpu_ms", "host_ms", "enqueue_ms"))
    assert (answer["host_ms"].array >= answer["enqueue_ms"].array).all()
    assert (answer["enqueue_ms"].array > 0).all()
    assert answer["cuda_graph"] is False
    assert answer["notes"] == []
    assert (desk.gpu.uploads, desk.gpu.downloads) == (8, 8)


def test_readings_go_on_until_the_time_is_over(desk: Desk) -> None:
    answer = timing.time(desk.state, request(desk, warm_up_ms=5, min_iterations=1, min_s=0.02))
    assert answer["host_ms"].array.sum() <= 30
    assert len(answer["host_ms"].array) > 10


def test_a_graph_that_cannot_be_captured_is_told(desk: Desk) -> None:
    answer = timing.time(desk.state, request(desk, warm_up_ms=0, min_iterations=1, min_s=0, cuda_graph=True))
    assert answer["cuda_graph"] is False
    assert "PyCUDA has no stream capture" in answer["notes"][0]


def test_layers_are_read_by_position_without_the_first_iteration(desk: Desk) -> None:
    answer = timing.profile(desk.state, request(desk, iterations=3))
    assert answer["layers"] == [{"name": name, "times_ms": [0.5, 0.75, 1.0]} for name in ("conv", "relu", "conv")]


def test_profiling_leaves_the_engine_a_context_without_a_profiler(desk: Desk) -> None:
    asked = request(desk, iterations=1, warm_up_ms=0, min_iterations=1, min_s=0)
    toy = next(iter(desk.shop.toys.values()))
    timing.time(desk.state, asked)
    timing.profile(desk.state, asked)
    assert not toy.live
    timing.time(desk.state, asked)
    assert [context.profiler for context in toy.live] == [None]


def test_a_feed_that_does_not_fit_is_not_timed(desk: Desk) -> None:
    asked = request(desk, warm_up_ms=0, min_iterations=1, min_s=0)
    with pytest.raises(FeedRefused, match="x has shape"):
        timing.time(desk.state, {**asked, "tensors": tensors({"x": np.zeros(5, np.float32)})})


@given(st.lists(st.sampled_from("abc"), min_size=1), st.integers(1, 4))
def test_names_that_repeat_stay_apart(names: list[str], iterations: int) -> None:
    readings = [[(name, 100.0 * turn + at) for at, name in enumerate(names)] for turn in range(iterations)]
    layers = by_position(readings)
    assert [layer["name"] for layer in layers] == names
    for at, layer in enumerate(layers):
        assert layer["times_ms"] == [100.0 * turn + at for turn in range(iterations)]


@pytest.mark.parametrize("second", [[("a", 1.0)], [("b", 1.0), ("a", 1.0)], []])
def test_iterations_of_different_layers_are_refused(second: list[tuple[str, float]]) -> None:
    with pytest.raises(WorkerError, match=f"iteration 1 reported {len(second)} layers"):
        by_position([[("a", 1.0), ("b", 2.0)], second])


def test_no_reading_is_no_profile() -> None:
    with pytest.raises(WorkerError, match="reported no layer"):
        by_position([])
