"""The fake backend: every fault does what it says, where it says, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from parity.backends import get_backend
from parity.backends.fake import (
    ConstantOutput,
    Crash,
    DropOutput,
    ExtraOutput,
    FakeBackend,
    Fault,
    FlipElement,
    LateAnswer,
    PermuteRows,
    ReplaceElement,
    ScaleOutput,
    StaleOutputs,
    SwapOutputs,
    WrongDtype,
    WrongShape,
)
from parity.errors import BackendCrash, BackendTimeout, FeedError
from parity.options import SessionOptions

if TYPE_CHECKING:
    from collections.abc import Mapping


def make_model() -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])],
        "graph",
        [value("x", TensorProto.FLOAT, ["n", 2])],
        [value("y", TensorProto.FLOAT, ["n", 2]), value("z", TensorProto.FLOAT, ["n", 2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


FEEDS = [np.arange(6, dtype=np.float32).reshape(3, 2) + shift for shift in (1, 10, 20)]


def answer(feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"y": np.maximum(feed["x"], 0), "z": -feed["x"]}


def run(*faults: Fault) -> list[dict[str, np.ndarray]]:
    session = FakeBackend(faults, function=answer).open(make_model(), SessionOptions())
    return [session.run({"x": feed}) for feed in FEEDS]


def changed_feeds(results: list[dict[str, np.ndarray]], output: str) -> list[int]:
    pairs = zip(results, FEEDS, strict=True)
    return [
        i for i, (found, feed) in enumerate(pairs) if not np.array_equal(found[output], answer({"x": feed})[output])
    ]


def test_without_faults_it_answers_as_the_runtime_behind_it() -> None:
    with get_backend("fake").open(make_model(), SessionOptions()) as session:
        result = session.run({"x": FEEDS[0]})
        assert [info.name for info in session.outputs] == ["y", "z"]
        assert [info.name for info in session.inputs] == ["x"]
    np.testing.assert_array_equal(result["z"], -FEEDS[0])


@pytest.mark.parametrize(
    "fault",
    [FlipElement(), ReplaceElement(), ConstantOutput(), ScaleOutput(), PermuteRows(), WrongDtype(), WrongShape()],
)
def test_a_fault_of_one_output_changes_the_first_output_alone(fault: Fault) -> None:
    results = run(fault)
    assert all(not _same(found["y"], feed) for found, feed in zip(results, FEEDS, strict=True))
    assert changed_feeds(results, "z") == []


def _same(found: np.ndarray, feed: np.ndarray) -> bool:
    sound = answer({"x": feed})["y"]
    return found.dtype == sound.dtype and found.shape == sound.shape and np.array_equal(found, sound)


def test_a_fault_can_name_its_output_and_its_feed() -> None:
    results = run(ScaleOutput(output="z", feed=1))
    assert changed_feeds(results, "z") == [1]
    assert changed_feeds(results, "y") == []


def test_a_fault_can_name_its_session() -> None:
    backend = FakeBackend([ScaleOutput(session=1)], function=answer)
    first, second = (backend.open(make_model(), SessionOptions()).run({"x": FEEDS[0]}) for _ in range(2))
    np.testing.assert_array_equal(first["y"], FEEDS[0])
    np.testing.assert_array_equal(second["y"], FEEDS[0] * 2)


@pytest.mark.parametrize("array", [np.zeros((2, 2), np.float32), np.array([True, False]), np.array([0, 3], np.uint8)])
def test_a_flip_always_changes_exactly_one_element(array: np.ndarray) -> None:
    flipped = FlipElement().change(array)
    assert np.count_nonzero(flipped != array) == 1
    assert flipped.dtype == array.dtype


def test_replacing_puts_the_value_at_the_index() -> None:
    replaced = run(ReplaceElement(value=float("inf"), index=3))[0]["y"]
    assert np.flatnonzero(np.isinf(replaced)).tolist() == [3]


def test_stale_outputs_are_those_of_the_feed_before() -> None:
    results = run(StaleOutputs())
    np.testing.assert_array_equal(results[1]["y"], FEEDS[0])
    np.testing.assert_array_equal(results[2]["z"], -FEEDS[1])
    assert changed_feeds(results, "y") == [1, 2]


def test_permuted_rows_keep_the_values_and_move_them() -> None:
    np.testing.assert_array_equal(run(PermuteRows())[0]["y"], FEEDS[0][[2, 0, 1]])


def test_swapped_outputs_have_each_others_names() -> None:
    found = run(SwapOutputs(first="y", second="z"))[0]
    np.testing.assert_array_equal(found["y"], -FEEDS[0])
    np.testing.assert_array_equal(found["z"], FEEDS[0])


def test_outputs_can_be_dropped_and_added() -> None:
    assert list(run(DropOutput(output="y"))[0]) == ["z"]
    assert list(run(ExtraOutput())[0]) == ["y", "z", "extra"]


@pytest.mark.parametrize(("fault", "error"), [(LateAnswer(feed=1), BackendTimeout), (Crash(feed=1), BackendCrash)])
def test_a_session_can_be_late_or_crash_on_a_feed(fault: Fault, error: type[Exception]) -> None:
    session = FakeBackend([fault], function=answer).open(make_model(), SessionOptions())
    session.run({"x": FEEDS[0]})
    with pytest.raises(error, match="planted"):
        session.run({"x": FEEDS[1]})


def test_a_wrong_feed_is_refused_as_by_a_real_runtime() -> None:
    session = FakeBackend(function=answer).open(make_model(), SessionOptions())
    with pytest.raises(FeedError, match="expects x"):
        session.run({"w": FEEDS[0]})
