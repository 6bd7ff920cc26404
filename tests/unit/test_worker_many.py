"""Many feeds in one request: as if each had been asked for alone, and without a copy on the host where that can be."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from parity.worker import engine, run
from parity.worker.errors import CudaLost, FeedRefused, WorkerError
from parity.worker.pagelock import PageLocks, _address
from parity.worker.segments import Outgoing
from tests.fake_cuda import ExecutingGpu, Stream
from tests.fake_desk import open_desk
from tests.fake_pycuda import CudaError
from tests.toy_engines import Port, Toy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.fake_desk import Desk
    from tests.toy_engines import Arrays

ROWS = 3


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with open_desk("8.6.0", tmp_path, monkeypatch) as opened:
        yield opened


def sums() -> Toy:
    """y = 2 x, and s, a scalar, the sum of x."""
    ports = [Port("x", (-1, 4), profiles=[((0, 4), (2, 4), (8, 4))]), Port("y", (-1, 4), "OUTPUT")]
    ports.append(Port("s", (), "OUTPUT"))
    return Toy(ports, lambda f: {"y": f["x"] * 2, "s": f["x"].sum()}, lambda given, _: {"y": given["x"], "s": ()})


def positives() -> Toy:
    """The positive elements: how many there are is in the data."""
    ports = [Port("x", (ROWS, 4)), Port("y", (-1,), "OUTPUT")]
    return Toy(ports, lambda feed: {"y": feed["x"][feed["x"] > 0]}, lambda *_: {"y": (-1,)})


def vectors() -> Toy:
    """An engine whose channels come in vectors of four."""
    shape = (6, 2, 3)
    ports = [Port("x", shape, vector_format="CHW4"), Port("y", shape, "OUTPUT")]
    return Toy(ports, lambda feed: {"y": feed["x"]}, lambda *_: {"y": shape})


def sized() -> Toy:
    """An output whose shape is read from an input on the host."""
    size = Port("size", (2,), dtype="INT32", location="HOST", profiles=[((1, 1), (2, 2), (9, 9))])
    return Toy(
        [size, Port("y", (-1, -1), "OUTPUT")],
        lambda feed: {"y": np.full(tuple(feed["size"]), feed["size"].sum(), np.float32)},
        lambda _, values: {"y": tuple(int(v) for v in values["size"]) if values else (-1, -1)},
    )


def flags() -> Toy:
    """Scalars of bool."""
    ports = [Port("x", (), dtype="BOOL"), Port("y", (), "OUTPUT", "BOOL")]
    return Toy(ports, lambda feed: {"y": ~feed["x"]}, lambda *_: {"y": ()})


def normal(*shape: int) -> list[Arrays]:
    generator = np.random.default_rng(3)
    return [{"x": generator.standard_normal(shape).astype(np.float32)} for _ in range(9)]


CASES: dict[str, tuple[Callable[[], Toy], Sequence[Arrays]]] = {
    "known shapes": (sums, normal(ROWS, 4)),
    "empty": (sums, normal(0, 4)),
    "scalars": (flags, [{"x": np.array(number % 3 == 0)} for number in range(9)]),
    "shapes in the data": (positives, normal(ROWS, 4)),
    "vectorized": (vectors, normal(6, 2, 3)),
    "shapes in values": (sized, [{"size": np.array([1 + n % 3, 2])} for n in range(9)]),
}


@pytest.mark.parametrize("case", CASES)
def test_many_feeds_are_answered_bit_for_bit_as_each_alone(desk: Desk, case: str) -> None:
    make, feeds = CASES[case]
    handle = desk.load(make())["engine"]
    alone = [desk.infer(handle, feed)["tensors"] for feed in feeds]
    together = desk.infer_many(handle, feeds)
    for expected, actual in zip(alone, together, strict=True):
        assert list(actual) == list(expected)
        for name in expected:
            assert (actual[name].dtype, actual[name].shape) == (expected[name].dtype, expected[name].shape)
            assert actual[name].tobytes() == expected[name].tobytes()


@pytest.mark.parametrize("refused", [False, True], ids=["registered", "not registered"])
def test_memory_of_the_exchange_is_read_and_written_by_the_gpu_itself(desk: Desk, refused: bool) -> None:
    if refused:
        desk.gpu.driver.codes["cuMemHostRegister_v2"] = 800
    handle = desk.load(sums())["engine"]
    feeds = normal(ROWS, 4)
    for _ in range(3):
        for feed, outputs in zip(feeds, desk.infer_many(handle, feeds), strict=True):
            np.testing.assert_array_equal(outputs["y"], feed["x"] * 2)
    assert not desk.gpu.page_locked, "nothing was staged"
    assert bool(len(desk.state.page_locks)) != refused


def test_integers_are_narrowed_as_for_one_feed(desk: Desk) -> None:
    ports = [Port("x", (2,), dtype="INT32"), Port("y", (2,), "OUTPUT", "INT32")]
    handle = desk.load(Toy(ports, lambda feed: {"y": feed["x"] + 1}, lambda *_: {"y": (2,)}))["engine"]
    answers = desk.infer_many(handle, [{"x": np.array([number, -number])} for number in range(5)])
    assert [outputs["y"].tolist() for outputs in answers] == [[n + 1, 1 - n] for n in range(5)]
    with pytest.raises(FeedRefused, match="x holds values from 0 to 4294967296"):
        desk.infer_many(handle, [{"x": np.array([0, 1])}, {"x": np.array([0, 2**32])}])


def test_the_gpus_time_is_told_for_each_feed_without_its_transfers(desk: Desk) -> None:
    handle = desk.load(sums())["engine"]
    stacked = desk.state.exchange.allocate((4, ROWS, 4), "float32")
    answer = run.infer_many(desk.state, {"engine": handle, "feeds": {"x": stacked}, "profile": 0})
    assert answer["gpu_ms"] == [0.25] * 4


def test_what_was_enqueued_before_a_failure_is_over_when_it_is_told(desk: Desk) -> None:
    toy = sums()
    handle = desk.load(toy)["engine"]
    native = desk.state.engines[handle].driver
    begun = iter(range(9))

    def event() -> Any:
        if next(begun) == 6:
            raise CudaError("cuEventCreate failed: out of resources")
        return made()

    made, native.Event = native.Event, event
    with pytest.raises(WorkerError, match="out of resources"):
        desk.infer_many(handle, normal(ROWS, 4))
    assert toy.runs == 2
    assert not desk.state.engines[handle].stream._tasks


def test_an_engine_that_is_not_loaded_is_named(desk: Desk) -> None:
    with pytest.raises(WorkerError, match="no engine is loaded under 99"):
        desk.infer_many(99, normal(ROWS, 4))


def test_memory_does_not_grow_over_many_requests(desk: Desk) -> None:
    handle = desk.load(sums())["engine"]
    desk.infer_many(handle, normal(ROWS, 4))
    gc.collect()
    before = desk.gpu.allocated, len(desk.gpu.device), len(desk.gpu.locked)
    for _ in range(200):
        desk.state.exchange._transport.restart()
        desk.infer_many(handle, normal(ROWS, 4))
    assert (desk.gpu.allocated, len(desk.gpu.device), len(desk.gpu.locked)) == before
    engine.unload(desk.state, {"engine": handle})
    assert not desk.gpu.device


# --- page-locked segments -------------------------------------------------------------------------------------------


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ExecutingGpu:
    gpu = ExecutingGpu()
    gpu.install(monkeypatch)
    return gpu


def test_a_segment_is_registered_once_and_let_go_with_its_registration(gpu: ExecutingGpu, tmp_path: Path) -> None:
    locks, outgoing = PageLocks(), Outgoing([str(tmp_path)])
    outgoing.place(2**20)
    for _ in range(3):
        locks.lock(outgoing.segments)
    assert len(gpu.locked) == len(locks) == 1
    outgoing.place(2**20)
    locks.lock(outgoing.segments)
    assert len(gpu.locked) == len(locks) == 2
    outgoing.restart()
    assert len(gpu.locked) == len(locks) == 0


def test_a_segment_that_cuda_refuses_is_asked_for_once(gpu: ExecutingGpu, tmp_path: Path) -> None:
    gpu.driver.codes["cuMemHostRegister_v2"] = 801
    locks, outgoing = PageLocks(), Outgoing([str(tmp_path)])
    outgoing.place(2**20)
    locks.lock(outgoing.segments)
    del gpu.driver.codes["cuMemHostRegister_v2"]
    locks.lock(outgoing.segments)
    assert len(gpu.locked) == len(locks) == 0


def test_a_registration_that_ends_before_the_copies_do_is_found(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    put = run._put

    def hasty(*words: Any) -> Any:
        marks = put(*words)
        for segment in desk.state.exchange.segments:
            desk.gpu.driver.cuMemHostUnregister(_address(segment.memory))
        return marks

    monkeypatch.setattr(run, "_put", hasty)
    with pytest.raises((CudaLost, WorkerError), match="page-locked memory is gone"):
        desk.infer_many(desk.load(sums())["engine"], normal(ROWS, 4))


def test_a_feed_that_is_written_over_the_one_being_read_is_found(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    handle, feeds = desk.load(sums())["engine"], normal(ROWS, 4)
    monkeypatch.setattr(Stream, "wait_for_event", lambda *_: None)
    answers = desk.infer_many(handle, feeds)
    assert any(not np.array_equal(outputs["y"], feed["x"] * 2) for feed, outputs in zip(feeds, answers, strict=True))


def test_answers_in_another_order_are_found(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = run._rows
    monkeypatch.setattr(run, "_rows", lambda stacked: rows(stacked)[::-1] if "y" in stacked else rows(stacked))
    with pytest.raises(AssertionError):
        test_many_feeds_are_answered_bit_for_bit_as_each_alone(desk, "known shapes")
