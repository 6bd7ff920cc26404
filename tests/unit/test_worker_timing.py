from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.worker import libcuda, timing
from parity.worker.errors import CudaLost, FeedRefused, WorkerError
from parity.worker.execution import Execution
from parity.worker.lanes import COPIED, Lane
from parity.worker.layers import by_position
from tests.fake_desk import open_desk, tensors
from tests.toy_engines import Port, Toy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fake_desk import Desk


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


def test_readings_go_on_until_the_time_is_over(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    # 1 / 1024 s passes from each look at the clock to the next: one before the first reading, one after each.
    monkeypatch.setattr(timing, "perf_counter", lambda: next(ticks) / 1024)
    answer = timing.time(desk.state, request(desk, warm_up_ms=5, min_iterations=1, min_s=20 / 1024))
    assert len(answer["host_ms"].array) == 19
    assert answer["elapsed_s"] == 20 / 1024


SHORT = {"warm_up_ms": 0, "min_iterations": 6, "min_s": 0}


def test_a_graph_is_captured_once_and_launched_for_every_reading(desk: Desk) -> None:
    asked = request(desk, **SHORT, cuda_graph=True)
    answer = timing.time(desk.state, asked)
    assert (answer["cuda_graph"], answer["notes"]) == (True, [])
    assert answer["gpu_ms"].array.tolist() == [0.25] * 6
    toy = next(iter(desk.shop.toys.values()))
    # One warm-up is enqueued; the first launch is dropped.
    assert (toy.runs, desk.gpu.driver.launches) == (8, 7)
    assert desk.gpu.driver.live == {}


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("cuStreamBeginCapture_v2", "cuStreamBeginCapture_v2 failed: operation failed due to a previous error"),
        ("cuStreamEndCapture", "cuStreamEndCapture failed"),
        ("cuGraphInstantiateWithFlags", "cuGraphInstantiateWithFlags failed"),
    ],
)
def test_a_graph_that_cannot_be_captured_is_told_and_the_engine_is_enqueued(
    desk: Desk, function: str, text: str
) -> None:
    desk.gpu.driver.codes[function] = 901
    answer = timing.time(desk.state, request(desk, **SHORT, cuda_graph=True))
    assert answer["cuda_graph"] is False
    assert text in answer["notes"][0]
    assert len(answer["gpu_ms"].array) == 6
    assert desk.gpu.driver.live == {}


def test_an_enqueue_that_fails_under_capture_leaves_the_stream_as_it_was(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Execution.enqueue, []

    def enqueue(execution: Execution) -> None:
        calls.append(execution)
        if len(calls) in {2, 3}:
            # CUDA's runtime tells the call behind a failed capture of it as well.
            raise WorkerError("TensorRT could not enqueue the inference")
        real(execution)

    monkeypatch.setattr(Execution, "enqueue", enqueue)
    answer = timing.time(desk.state, request(desk, **SHORT, cuda_graph=True))
    assert "could not enqueue" in answer["notes"][0]
    assert len(answer["gpu_ms"].array) == 6


def test_a_context_that_is_lost_while_it_captures_is_no_note(desk: Desk) -> None:
    desk.gpu.driver.codes["cuStreamEndCapture"] = 700
    with pytest.raises(CudaLost, match="illegal memory access"):
        timing.time(desk.state, request(desk, **SHORT, cuda_graph=True))


def test_a_driver_without_capture_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libcuda.ctypes, "CDLL", lambda _name: object())
    answer = timing.time(desk.state, request(desk, **SHORT, cuda_graph=True))
    assert "update it" in answer["notes"][0]


def test_an_output_that_data_sizes_is_never_captured(desk: Desk) -> None:
    toy = Toy(
        [Port("x", (4,)), Port("y", (-1,), "OUTPUT")],
        lambda feed: {"y": feed["x"][feed["x"] == 0]},
        lambda *_: {"y": (-1,)},
    )
    feed = tensors({"x": np.zeros(4, np.float32)})
    asked = {"engine": desk.load(toy)["engine"], "tensors": feed, "profile": 0, **SHORT, "cuda_graph": True}
    answer = timing.time(desk.state, asked)
    assert "the shape of y depends on data" in answer["notes"][0]
    assert len(answer["gpu_ms"].array) == 6


def test_the_host_is_read_without_transfers_where_that_is_asked_for(desk: Desk) -> None:
    answer = timing.time(desk.state, request(desk, **SHORT, transferless_s=1e-9))
    assert len(answer["host_compute_ms"].array) == 6
    assert (answer["host_compute_ms"].array > 0).all()
    # The warm-up and six readings; none of the others copies.
    assert (desk.gpu.uploads, desk.gpu.downloads) == (7, 7)
    assert answer["elapsed_s"] * 1e3 >= answer["host_ms"].array.sum() * 0.999
    assert timing.time(desk.state, request(desk, **SHORT))["host_compute_ms"].array.size == 0


@pytest.mark.parametrize("shares_profiles", [True, False])
@pytest.mark.parametrize("cuda_graph", [True, False])
def test_several_streams_run_in_turn_each_with_buffers_of_its_own(
    desk: Desk, *, shares_profiles: bool, cuda_graph: bool
) -> None:
    toy = adder()
    toy.shares_profiles = shares_profiles
    handle = desk.load(toy)["engine"]
    feed = tensors({"x": np.zeros(4, np.float32)})
    desk.infer(handle, {"x": np.zeros(4, np.float32)})
    held, streams = len(desk.gpu.device), len(desk.gpu.streams)
    asked = {"engine": handle, "tensors": feed, "profile": 0, **SHORT, "streams": 3, "cuda_graph": cuda_graph}
    answer = timing.time(desk.state, asked)
    assert len(answer["gpu_ms"].array) == 6
    assert answer["notes"] == ([] if shares_profiles else [COPIED])
    assert answer["cuda_graph"] is cuda_graph
    # A copy is loaded where a twin was refused, and each has a stream.
    assert len(desk.gpu.streams) - streams == (2 if shares_profiles else 4)
    assert len(desk.gpu.device) == held
    assert desk.gpu.driver.live == {}


def test_streams_overlap(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real = Lane.start, Lane.finish
    monkeypatch.setattr(Lane, "start", lambda lane, **how: (order.append("start"), real[0](lane, **how))[1])
    monkeypatch.setattr(Lane, "finish", lambda lane: (order.append("finish"), real[1](lane))[1])
    toy = adder()
    toy.shares_profiles = True
    feed = tensors({"x": np.zeros(4, np.float32)})
    asked = {"engine": desk.load(toy)["engine"], "tensors": feed, "profile": 0, **SHORT, "streams": 2}
    timing.time(desk.state, asked)
    warm_up = ["start", "start", "finish", "start", "finish", "finish"]
    assert order[:6] == warm_up
    assert order[6:] == ["start", "start", *["finish", "start"] * 5, "finish", "finish"]


def test_too_little_memory_for_another_stream_is_told_before_it_is_taken(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request(desk, **SHORT, streams=4)
    driver = desk.state.engines[asked["engine"]].driver  # type: ignore[attr-defined]  # the desk's engines are loaded ones
    monkeypatch.setattr(driver, "mem_get_info", lambda: (1000, 1 << 37))
    with pytest.raises(WorkerError, match=r"stream 2 of 4 needs .* take fewer streams or a smaller batch"):
        timing.time(desk.state, asked)


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


def test_a_second_context_of_a_taken_profile_is_never_tried_where_that_crashes(desk: Desk) -> None:
    ports = [Port("x", (-1,), profiles=[((1,), (4,), (8,))]), Port("y", (-1,), "OUTPUT")]
    toy = Toy(ports, lambda feed: {"y": feed["x"] + 1}, lambda shapes, _: {"y": shapes["x"]})
    # Were it asked for, this one would be given, and no copy made.
    toy.shares_profiles = True
    handle = desk.load(toy)["engine"]
    feed = tensors({"x": np.zeros(4, np.float32)})
    asked = {"engine": handle, "tensors": feed, "profile": 0, **SHORT, "streams": 2}
    assert timing.time(desk.state, asked)["notes"] == [COPIED]
