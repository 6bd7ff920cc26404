"""Debug tensors are copied while they are there, and a copy that fails is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from parity.worker.errors import PrecisionMissing, WorkerError
from tests.fake_desk import open_desk, tensors
from tests.fake_pycuda import CudaError
from tests.toy_engines import Port, Toy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fake_desk import Desk
    from tests.toy_engines import Arrays

X = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}


@pytest.fixture(params=["10.0.1", "10.16.1.11", "11.4.0.106"])
def desk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with open_desk(request.param, tmp_path, monkeypatch) as opened:
        yield opened


def watched(**fields: Any) -> Toy:
    """y = 2 x + 1, with 2 x inside, and its first column on the host."""

    def compute(feed: Arrays) -> Arrays:
        twice = feed["x"] * 2
        return {"y": twice + 1, "twice": twice.astype(np.float16), "column": twice[:, 0].astype(np.int32)}

    ports = [Port("x", (2, 3)), Port("y", (2, 3), "OUTPUT")]
    inside = [Port("twice", (2, 3), "", "HALF"), Port("column", (2,), "", "INT32", "HOST")]
    return Toy(ports, compute, lambda shapes, _: {"y": shapes["x"]}, **{"debug": inside, **fields})


def infer(desk: Desk, toy: Toy, *wanted: str) -> dict[str, Any]:
    return desk.infer(desk.load(toy)["engine"], X, debug=list(wanted))


def test_tensors_of_the_device_and_of_the_host_are_copied(desk: Desk) -> None:
    answer = infer(desk, watched(), "twice", "column")
    debug = answer["debug"]
    assert debug["twice"].dtype == "float16"
    assert np.array_equal(debug["twice"].array, X["x"] * 2)
    assert np.array_equal(debug["column"].array, [0, 6])
    assert np.array_equal(answer["tensors"]["y"], X["x"] * 2 + 1)


def test_only_what_was_asked_for_is_copied(desk: Desk) -> None:
    assert infer(desk, watched(), "column")["debug"].keys() == {"column"}


def test_a_tensor_that_the_engine_does_not_show_is_left_out(desk: Desk) -> None:
    assert infer(desk, watched(), "nobody", "column")["debug"].keys() == {"column"}


def test_an_ordinary_inference_behind_it_shows_nothing(desk: Desk) -> None:
    toy = watched()
    handle = desk.load(toy)["engine"]
    desk.infer(handle, X, debug=["twice"])
    downloads = desk.gpu.downloads
    assert "debug" not in desk.infer(handle, X)
    assert desk.gpu.downloads == downloads + 1


def test_an_empty_tensor_is_an_empty_array(desk: Desk) -> None:
    toy = Toy(
        [Port("x", (2, 3)), Port("y", (2, 3), "OUTPUT")],
        lambda feed: {"y": feed["x"], "none": np.zeros((0, 3), np.float32)},
        lambda shapes, _: {"y": shapes["x"]},
        debug=[Port("none", (0, 3), "")],
    )
    assert infer(desk, toy, "none")["debug"]["none"].array.shape == (0, 3)


def test_a_copy_that_cuda_refuses_fails_the_inference(desk: Desk) -> None:
    desk.gpu.faults["memcpy_dtoh"] = CudaError("cuMemcpyDtoH failed: invalid argument")
    with pytest.raises(WorkerError, match="invalid argument"):
        infer(desk, watched(), "twice")


def test_a_type_that_cannot_travel_is_named(desk: Desk) -> None:
    inside = [Port("twice", (2, 3), "", "INT4"), Port("column", (2,), "", "INT32", "HOST")]
    with pytest.raises(WorkerError, match="int4"):
        infer(desk, watched(debug=inside), "twice")


def test_a_listener_that_tensorrt_does_not_take_is_an_error(desk: Desk) -> None:
    with pytest.raises(WorkerError, match="takes no listener"):
        infer(desk, watched(faults={"listener": "no"}), "twice")


def test_tensors_that_survived_fusion_are_shown_where_the_release_can(desk: Desk) -> None:
    answer = infer(desk, watched(unfused={"twice"}), "twice")
    has_unfused = hasattr(desk.shop.trt.IExecutionContext, "unfused_tensors_debug_state")
    assert set(answer["debug"]) == ({"twice"} if has_unfused else set())


def test_without_debug_tensors_the_release_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_desk("8.6.0", tmp_path, monkeypatch) as desk:
        handle = desk.load(watched())["engine"]
        with pytest.raises(PrecisionMissing, match=r"TensorRT 8\.6\.0 has no debug tensors"):
            desk.infer(handle, X, debug=["twice"])
        assert tensors(X)["x"].dtype == "float32"
