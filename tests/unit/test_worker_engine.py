from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.worker import engine
from parity.worker.dtypes import name_of, storage
from parity.worker.errors import ModelRefused, Unavailable, WorkerError
from tests.fake_desk import open_desk
from tests.fake_tensorrt import RELEASES, fake_tensorrt
from tests.toy_engines import Port, Toy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fake_desk import Desk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with open_desk("8.6.0", tmp_path, monkeypatch) as opened:
        yield opened


def copier() -> Toy:
    ports = [Port("x", (-1, 2), profiles=[((1, 2), (2, 2), (4, 2))]), Port("y", (-1, 2), "OUTPUT")]
    return Toy(ports, lambda feed: {"y": feed["x"]}, lambda shapes, _: {"y": shapes["x"]})


def test_a_loaded_engine_tells_its_inputs_outputs_and_needs(desk: Desk) -> None:
    told = desk.load(copier())
    x, y = told["bindings"]
    assert x == {
        "name": "x",
        "mode": "input",
        "dtype": "float32",
        "shape": [-1, 2],
        "location": "device",
        "is_shape_io": False,
        "format": "LINEAR",
        "profiles": [{"min": [1, 2], "opt": [2, 2], "max": [4, 2]}],
    }
    assert (y["mode"], y["profiles"]) == ("output", [])
    assert (told["profile_count"], told["aux_streams"], told["messages"]) == (1, 2, [])
    assert told["load_s"] > 0
    json.dumps(told)


@pytest.mark.parametrize(("release", "expected"), [("8.6.0", 4096), ("10.16.1.11", 8192), ("11.4.0.106", 8192)])
def test_device_memory_is_asked_of_what_a_release_has(
    release: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_desk(release, tmp_path, monkeypatch) as desk:
        assert desk.load(copier())["device_memory_bytes"] == expected


def test_a_header_is_skipped(desk: Desk) -> None:
    desk.shop.toys[b"the plan"] = copier()
    assert desk.load_bytes(b"header!the plan", offset=7)["profile_count"] == 1


# The second column is text of libnvinfer 8.6.0.
REFUSALS = [
    (
        WorkerError,
        "Serialization assertion failed.Version tag does not match. Note: Current Version: 232, Serialized Engine 239",
        r"was built by another TensorRT; build it with TensorRT 8\.6\.0",
    ),
    (
        WorkerError,
        "The engine plan file is not compatible with this version of TensorRT, expecting library version 8.6 got 8.5",
        "was built by another TensorRT",
    ),
    (
        WorkerError,
        "The engine plan file is generated on an incompatible device, expecting compute 9.0 got compute 8.6",
        "was built for another GPU; build it with this one",
    ),
    (
        WorkerError,
        "Cannot deserialize engine with lean runtime since IRuntime::getEngineHostCodeAllowed() is false.",
        r"set load\.host_code = true",
    ),
    (ModelRefused, "Magic tag does not match", r"is no plan of this TensorRT at byte 0: .*build it with"),
    (ModelRefused, "getPluginCreator could not find plugin: ROIAlign version: 1", "; name its library in plugins. "),
    (ModelRefused, "Unexpected end of memory buffer: 12", "is truncated or damaged"),
]


@pytest.mark.parametrize(("kind", "text", "told"), REFUSALS)
def test_a_refused_plan_is_told_with_tensorrts_line_and_a_way_out(
    desk: Desk, kind: type[WorkerError], text: str, told: str
) -> None:
    desk.shop.refusals[b"foreign"] = text
    with pytest.raises(WorkerError, match=told) as caught:
        desk.load_bytes(b"foreign")
    assert type(caught.value) is kind
    assert f"TensorRT: {text}" in str(caught.value)
    assert ".plan" not in str(caught.value), "whoever sent the file names it"
    assert not desk.state.engines


def test_a_stripped_plan_without_a_model_to_refit_from_is_refused(desk: Desk) -> None:
    with pytest.raises(ModelRefused, match="has to be refitted, and no ONNX model came with it"):
        desk.load(copier(), options={"refit": True})


def test_an_empty_plan_is_refused_before_tensorrt_sees_it(desk: Desk) -> None:
    with pytest.raises(ModelRefused, match="has 6 bytes, and nothing behind its header of 6"):
        desk.load_bytes(b"header", offset=6)


def test_a_plan_that_is_not_there_is_named(desk: Desk) -> None:
    with pytest.raises(ModelRefused, match=r"plan /nowhere/x\.plan cannot be read: No such file"):
        engine.load(desk.state, {"plan": "/nowhere/x.plan", "offset": 0, "options": {}})


def test_an_implicit_batch_is_refused_with_the_way_out(desk: Desk) -> None:
    toy = copier()
    toy.implicit_batch = True
    with pytest.raises(ModelRefused, match=r"implicit batch dimension \(maximum 32\).*EXPLICIT_BATCH"):
        desk.load(toy)


def test_a_context_that_cannot_be_made_is_told_with_tensorrts_line(desk: Desk) -> None:
    toy = copier()
    toy.faults["context"] = "CUDA out of memory"
    handle = desk.load(toy)["engine"]
    with pytest.raises(WorkerError, match=r"no execution context could be made; .*TensorRT: CUDA out of memory"):
        desk.infer(handle, {"x": np.zeros((1, 2), np.float32)})


def test_the_inspector_speaks_unchanged_of_the_last_shapes(desk: Desk) -> None:
    handle = desk.load(copier())["engine"]
    assert engine.inspect(desk.state, {"engine": handle}) == {"json": '{"Layers": "\x1eno context"}'}
    for count, is_fresh in ((3, False), (2, True)):
        desk.infer(handle, {"x": np.zeros((count, 2), np.float32)}, fresh_context=is_fresh)
        told = engine.inspect(desk.state, {"engine": handle})["json"]
        assert told == f"{{\"Layers\": \"\x1e[('x', ({count}, 2)), ('y', ({count}, 2))]\"}}"


def test_the_inspector_outlives_the_memory_of_the_feed(desk: Desk) -> None:
    size = Port("size", (1,), dtype="INT32", location="HOST", profiles=[((1,), (2,), (9,))])
    toy = Toy(
        [size, Port("y", (-1,), "OUTPUT")],
        lambda feed: {"y": np.zeros(feed["size"][0], np.float32)},
        lambda _, values: {"y": (int(values["size"][0]),) if values else (-1,)},
    )
    handle = desk.load(toy)["engine"]
    feed = np.array([3], np.int32)
    desk.infer(handle, {"size": feed})
    feed[0] = 99
    assert "('y', (3,))" in engine.inspect(desk.state, {"engine": handle})["json"]


def test_an_input_on_the_device_is_held_to_its_shape_whatever_the_engine_calls_it(desk: Desk) -> None:
    x = Port("x", (2, 3), is_called_shape_io=True)
    toy = Toy([x, Port("y", (2, 3), "OUTPUT")], lambda feed: {"y": feed["x"]}, lambda shapes, _: {"y": shapes["x"]})
    told = desk.load(toy)["bindings"][0]
    assert not told["is_shape_io"]
    assert told["profiles"] == [{"min": [2, 3], "opt": [2, 3], "max": [2, 3]}]


def test_an_error_of_an_earlier_request_is_not_quoted_again(desk: Desk) -> None:
    with pytest.raises(ModelRefused, match="Unexpected end"):
        desk.load_bytes(b"damaged")
    toy = copier()
    handle = desk.load(toy)["engine"]
    toy.faults["infer_shapes"] = "no"
    with pytest.raises(WorkerError, match="TensorRT logged no error"):
        desk.infer(handle, {"x": np.zeros((1, 2), np.float32)})
    assert [text for _, text in desk.state.lines] == ["Unexpected end of memory buffer"]


def test_tensorrt_that_is_not_installed_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(Unavailable, match=r"tensorrt in .*python"):
        desk.load(copier())


@pytest.mark.parametrize("release", RELEASES)
def test_every_data_type_of_a_release_has_a_name_of_its_own(release: str) -> None:
    members = list(fake_tensorrt(release).DataType)
    assert len({name_of(member) for member in members}) == len(members)


def test_storage_is_raw_where_numpy_has_no_such_dtype() -> None:
    assert [storage(name).name for name in ("bfloat16", "float8_e4m3fn", "bool")] == ["uint16", "uint8", "bool"]
    with pytest.raises(WorkerError, match="int4 pack two elements"):
        storage("int4")
