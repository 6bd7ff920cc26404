from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from parity.worker import engine
from parity.worker.errors import CudaLost, FeedRefused, WorkerError
from parity.worker.tensor import Tensor
from tests.fake_desk import open_desk
from tests.fake_tensorrt import RELEASES
from tests.toy_engines import Port, Toy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fake_desk import Desk
    from tests.toy_engines import Arrays


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with open_desk("8.6.0", tmp_path, monkeypatch) as opened:
        yield opened


def doubler(**fields: Any) -> Toy:
    """y = 2 x, of any number of rows up to 4 or, in profile 1, from 5 to 8."""
    profiles = [((0, 3), (2, 3), (4, 3)), ((5, 3), (6, 3), (8, 3))]
    return Toy(
        [Port("x", (-1, 3), profiles=profiles), Port("y", (-1, 3), "OUTPUT")],
        lambda feed: {"y": feed["x"] * 2},
        lambda shapes, _: {"y": shapes["x"]},
        profile_count=2,
        **fields,
    )


def nonzero() -> Toy:
    """The positive elements: how many there are is in the data."""

    def compute(feed: Arrays) -> Arrays:
        return {"y": feed["x"][feed["x"] > 0], "n": np.array((feed["x"] > 0).sum(), np.int32)}

    ports = [Port("x", (8,)), Port("y", (-1,), "OUTPUT"), Port("n", (), "OUTPUT", "INT32")]
    return Toy(ports, compute, lambda *_: {"y": (-1,), "n": ()})


def rows(count: int) -> np.ndarray:
    return np.arange(count * 3, dtype=np.float32).reshape(count, 3)


@pytest.mark.parametrize("release", RELEASES)
def test_an_engine_computes_what_its_function_computes(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_desk(release, tmp_path, monkeypatch) as desk:
        handle = desk.load(doubler())["engine"]
        for count in (2, 4, 1):
            answer = desk.infer(handle, {"x": rows(count)})
            np.testing.assert_array_equal(answer["tensors"]["y"], rows(count) * 2)
            assert answer["unwritten"] == {}
            assert answer["gpu_ms"] == 0.25


def test_memory_does_not_grow_over_a_thousand_inferences(desk: Desk) -> None:
    handle = desk.load(doubler())["engine"]
    found = desk.load(nonzero())["engine"]
    generator = np.random.default_rng(1)

    def infer_both(count: int) -> None:
        desk.infer(handle, {"x": rows(count)}, fresh_context=count == 1)
        desk.infer(found, {"x": generator.standard_normal(8).astype(np.float32)}, find_unwritten=count == 2)

    infer_both(4)
    gc.collect()
    before = (desk.gpu.allocated, len(desk.gpu.device), sum(desk.gpu.page_locked.values()))
    for number in range(1000):
        infer_both(number % 4 + 1)
    assert (desk.gpu.allocated, len(desk.gpu.device), sum(desk.gpu.page_locked.values())) == before


def test_unloading_frees_what_the_engine_held(desk: Desk) -> None:
    handle = desk.load(doubler())["engine"]
    desk.infer(handle, {"x": rows(2)})
    assert desk.gpu.device
    engine.unload(desk.state, {"engine": handle})
    assert not desk.gpu.device
    assert not desk.gpu.page_locked
    assert not desk.state.engines


def test_a_profile_is_chosen_and_left_again(desk: Desk) -> None:
    handle = desk.load(doubler())["engine"]
    for count, profile in ((4, 0), (8, 1), (2, 0)):
        answer = desk.infer(handle, {"x": rows(count)}, profile=profile)
        np.testing.assert_array_equal(answer["tensors"]["y"], rows(count) * 2)


def test_a_feed_outside_the_profile_is_refused_with_the_one_that_takes_it(desk: Desk) -> None:
    handle = desk.load(doubler())["engine"]
    with pytest.raises(
        FeedRefused, match=r"x has shape \(6, 3\), the profile takes \(0, 3\) to \(4, 3\).*fits profile 1"
    ):
        desk.infer(handle, {"x": rows(6)})


def test_a_refused_feed_leaves_the_engine_usable(desk: Desk) -> None:
    handle = desk.load(doubler())["engine"]
    with pytest.raises(FeedRefused):
        desk.infer(handle, {"x": rows(9)})
    np.testing.assert_array_equal(desk.infer(handle, {"x": rows(3)})["tensors"]["y"], rows(3) * 2)


def test_an_empty_tensor_has_an_address_and_an_empty_answer(desk: Desk) -> None:
    handle = desk.load(doubler())["engine"]
    answer = desk.infer(handle, {"x": rows(0)}, find_unwritten=True)
    assert answer["tensors"]["y"].shape == (0, 3)
    assert answer["unwritten"] == {"y": 0}


def test_an_output_whose_shape_is_in_the_data_comes_with_its_real_shape(desk: Desk) -> None:
    handle = desk.load(nonzero())["engine"]
    for count in (3, 8, 0, 5):
        feed = np.where(np.arange(8) < count, 1.5, -1).astype(np.float32)
        answer = desk.infer(handle, {"x": feed})
        np.testing.assert_array_equal(answer["tensors"]["y"], np.full(count, 1.5, np.float32))
        assert list(answer["tensors"]) == ["y", "n"]
        assert answer["tensors"]["n"].shape == ()
        assert answer["tensors"]["n"] == count


@pytest.mark.parametrize("make", [doubler, nonzero])
def test_elements_that_were_never_written_are_counted(desk: Desk, make: Any) -> None:
    toy = make()
    toy.unwritten = {"y": [1, 2]}
    handle = desk.load(toy)["engine"]
    feed = rows(2) if make is doubler else np.ones(8, np.float32)
    assert desk.infer(handle, {"x": feed}, find_unwritten=True)["unwritten"]["y"] == 2
    assert np.isnan(desk.infer(handle, {"x": feed}, find_unwritten=True)["tensors"]["y"].reshape(-1)[1:3]).all()


def test_poison_stops_with_the_request_that_asked_for_it(desk: Desk) -> None:
    toy = nonzero()
    handle = desk.load(toy)["engine"]
    desk.infer(handle, {"x": np.ones(8, np.float32)}, find_unwritten=True)
    toy.unwritten = {"y": [0]}
    answer = desk.infer(handle, {"x": np.full(8, 2, np.float32)})
    assert answer["tensors"]["y"].tolist() == [1, 2, 2, 2, 2, 2, 2, 2]


def test_a_value_that_equals_a_pattern_counts_as_written(desk: Desk) -> None:
    toy = Toy(
        [Port("x", (4,), dtype="INT8"), Port("y", (4,), "OUTPUT", "INT8")],
        lambda feed: {"y": feed["x"]},
        lambda *_: {"y": (4,)},
    )
    feed = np.array([0xA5, 0xFF, 0, 1], np.uint8).view(np.int8)
    assert desk.infer(desk.load(toy)["engine"], {"x": feed}, find_unwritten=True)["unwritten"] == {"y": 0}


@pytest.mark.parametrize("release", ["8.6.0", "10.16.1.11"])
def test_an_input_that_is_read_for_shapes_gets_a_pointer_of_the_host(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_desk(release, tmp_path, monkeypatch) as desk:
        size = Port("size", (2,), dtype="INT32", location="HOST", profiles=[((1, 1), (2, 2), (4, 4))])
        toy = Toy(
            [size, Port("y", (-1, -1), "OUTPUT")],
            lambda feed: {"y": np.full(tuple(feed["size"]), feed["size"].sum(), np.float32)},
            lambda _, values: {"y": tuple(int(v) for v in values["size"]) if values else (-1, -1)},
        )
        told = desk.load(toy)
        assert told["bindings"][0]["profiles"] == [{"min": [1, 1], "opt": [2, 2], "max": [4, 4]}]
        answer = desk.infer(told["engine"], {"size": np.array([3, 2])})
        np.testing.assert_array_equal(answer["tensors"]["y"], np.full((3, 2), 5, np.float32))
        with pytest.raises(FeedRefused, match=r"size holds \(5, 1\), the profile takes \(1, 1\) to \(4, 4\)"):
            desk.infer(told["engine"], {"size": np.array([5, 1])})


def test_vectorized_layouts_are_packed_and_unpacked(desk: Desk) -> None:
    shape = (6, 2, 3)
    toy = Toy(
        [Port("x", shape, vector_format="CHW4"), Port("y", shape, "OUTPUT")],
        lambda feed: {"y": feed["x"]},
        lambda *_: {"y": shape},
    )
    feed = np.arange(36, dtype=np.float32).reshape(shape)
    answer = desk.infer(desk.load(toy)["engine"], {"x": feed})
    np.testing.assert_array_equal(answer["tensors"]["y"], feed)


@pytest.mark.parametrize(("member", "dtype", "raw"), [("BF16", "bfloat16", "u2"), ("FP8", "float8_e4m3fn", "u1")])
def test_types_that_numpy_lacks_travel_raw(
    member: str, dtype: str, raw: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_desk("10.16.1.11", tmp_path, monkeypatch) as desk:
        toy = Toy(
            [Port("x", (3,), dtype=member), Port("y", (3,), "OUTPUT", member)],
            lambda feed: {"y": feed["x"][::-1]},
            lambda *_: {"y": (3,)},
        )
        told = desk.load(toy)
        assert [binding["dtype"] for binding in told["bindings"]] == [dtype, dtype]
        feed = np.array([1, 2, 3], raw)
        answer = desk.infer(told["engine"], {}, tensors={"x": Tensor(feed, dtype)})
        np.testing.assert_array_equal(answer["tensors"]["y"], feed[::-1])


def test_booleans_and_scalars_pass(desk: Desk) -> None:
    toy = Toy(
        [Port("x", (), dtype="BOOL"), Port("y", (), "OUTPUT", "BOOL")],
        lambda feed: {"y": ~feed["x"]},
        lambda *_: {"y": ()},
    )
    handle = desk.load(toy)["engine"]
    answer = desk.infer(handle, {"x": np.array(True)})["tensors"]["y"]
    assert answer.dtype == bool
    assert answer.shape == ()
    assert not answer


def test_a_fresh_context_is_made_for_its_call_and_the_kept_one_comes_back(desk: Desk) -> None:
    toy = doubler()
    handle = desk.load(toy)["engine"]
    for _ in range(3):
        desk.infer(handle, {"x": rows(2)})
    assert toy.contexts == 1
    np.testing.assert_array_equal(desk.infer(handle, {"x": rows(2)}, fresh_context=True)["tensors"]["y"], rows(2) * 2)
    desk.infer(handle, {"x": rows(3)})
    assert toy.contexts == 3


def test_what_a_failed_request_left_in_the_stream_is_over_before_memory_moves(desk: Desk) -> None:
    toy = Toy(
        [Port("x", (-1,), profiles=[((1,), (1,), (9999,))]), Port("y", (-1,), "OUTPUT")],
        lambda feed: {"y": feed["x"]},
        lambda shapes, _: {"y": shapes["x"]},
        faults={"enqueue": "no"},
    )
    handle = desk.load(toy)["engine"]
    with pytest.raises(WorkerError):
        desk.infer(handle, {"x": np.zeros(1, np.float32)})
    toy.faults = {}
    assert desk.infer(handle, {"x": np.ones(9999, np.float32)})["tensors"]["y"].all()


def test_an_output_of_two_shapes_for_one_feed_is_an_error(desk: Desk) -> None:
    toy = nonzero()
    sizes = iter((3, 2))
    toy.compute = lambda feed: {"y": feed["x"][: next(sizes)], "n": np.array(0, np.int32)}
    with pytest.raises(WorkerError, match=r"output y had shape \(3,\), then \(2,\), for one feed"):
        desk.infer(desk.load(toy)["engine"], {"x": np.ones(8, np.float32)}, find_unwritten=True)


def test_a_failed_enqueue_quotes_tensorrt(desk: Desk) -> None:
    handle = desk.load(doubler(faults={"enqueue": "Error Code 1: Cask (no kernel)"}))["engine"]
    with pytest.raises(WorkerError, match=r"could not enqueue.*TensorRT: Error Code 1: Cask \(no kernel\)") as caught:
        desk.infer(handle, {"x": rows(2)})
    assert caught.value.kind == "backend"


def test_an_enqueue_that_lost_the_context_is_told_as_such(desk: Desk) -> None:
    text = "Cuda Runtime (an illegal memory access was encountered)"
    handle = desk.load(doubler(faults={"enqueue": text}))["engine"]
    with pytest.raises(CudaLost, match="illegal memory access"):
        desk.infer(handle, {"x": rows(2)})


def test_shapes_that_do_not_go_together_are_the_feeds_fault(desk: Desk) -> None:
    handle = desk.load(doubler(faults={"infer_shapes": "broadcast of 2 and 3"}))["engine"]
    with pytest.raises(FeedRefused, match="cannot infer shapes from the feed: broadcast of 2 and 3"):
        desk.infer(handle, {"x": rows(2)})


@pytest.mark.parametrize("make", [doubler, nonzero])
def test_memory_that_cannot_be_had_is_told_with_what_is_free(desk: Desk, make: Any) -> None:
    handle = desk.load(make())["engine"]
    desk.gpu.limit_bytes = 1024 if make is nonzero else 512
    feed = rows(2) if make is doubler else np.ones(8, np.float32)
    with pytest.raises(WorkerError, match="out of memory, 3072 of the GPU's 142336 MiB are free"):
        desk.infer(handle, {"x": feed})
    desk.gpu.limit_bytes = 1 << 20
    assert desk.infer(handle, {"x": feed})["tensors"]["y"].size


def test_an_engine_that_is_not_loaded_is_named(desk: Desk) -> None:
    handle = desk.load(doubler())["engine"]
    with pytest.raises(WorkerError, match=rf"no engine is loaded under 99; loaded are \[{handle}\]"):
        desk.infer(99, {"x": rows(2)})
