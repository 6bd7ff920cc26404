"""Shapes that only the feed decides: profiles, values that are read for shapes, outputs that depend on data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.build_options import ShapeProfile
from parity.errors import FeedError
from parity.inspector import parse_inspection
from tests.gpu import models
from tests.gpu.rig import require_close, rows_of
from tests.tiny_graphs import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx import ModelProto

    from parity.backends.tensorrt.session import TensorRTSession
    from tests.gpu.models import Feed
    from tests.gpu.rig import Rig

    Build = Callable[..., TensorRTSession]

pytestmark = pytest.mark.gpu

_SIZE = 16
_IMAGE = (3, _SIZE, _SIZE)
_PROFILES = (rows_of("x", _IMAGE, best=2, most=4), rows_of("x", _IMAGE, least=5, best=8, most=16))


def dynamic_net(build: Build) -> TensorRTSession:
    session = build(models.conv_net("rows", _SIZE), profiles=_PROFILES)
    assert session.record.profile_count == 2
    return session


def batch(rows: int) -> Feed:
    return models.images(rows, _SIZE)


def test_an_engine_goes_from_profile_to_profile_and_back(build: Build) -> None:
    session, net = dynamic_net(build), models.conv_net("rows", _SIZE)
    first = session.run(batch(2))["y"]
    for rows, fresh in ((8, False), (3, False), (16, True), (1, False), (8, True), (4, True)):
        answer = session.infer(batch(rows), fresh_context=fresh).outputs["y"]
        expected = run(net, batch(rows))["y"]
        np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-4 * np.ptp(expected), err_msg=f"{rows} rows")
    np.testing.assert_array_equal(session.run(batch(2))["y"], first)


@pytest.mark.parametrize("rows", [2, 8])
def test_layers_can_be_inspected_and_timed_in_either_profile(build: Build, rows: int) -> None:
    session = dynamic_net(build)
    session.run(batch(rows))
    layers = parse_inspection(session.inspector_json).of_profile(int(rows > 4))
    assert any(layer.is_arithmetic for layer in layers), [layer.name for layer in layers]
    times = session.layer_times(batch(rows), 5)
    assert times
    assert all(len(layer.times_ms) == 5 and min(layer.times_ms) >= 0 for layer in times), times
    unknown = {layer.name for layer in times} - {layer.name for layer in layers}
    assert not unknown, f"timed and not inspected: {unknown}; inspected: {[layer.name for layer in layers]}"
    np.testing.assert_array_equal(session.run(batch(rows))["y"], session.run(batch(rows))["y"])


@pytest.mark.parametrize("rows", [1, 16])
def test_the_ends_of_the_profiles_are_taken(build: Build, rows: int) -> None:
    require_close(dynamic_net(build), models.conv_net("rows", _SIZE), batch(rows))


@pytest.mark.parametrize(("rows", "profile"), [(17, None), (8, 0), (2, 1), (2, 2)])
def test_a_batch_beyond_its_profile_is_refused_and_the_next_is_taken(
    build: Build, rows: int, profile: int | None
) -> None:
    session = dynamic_net(build)
    with pytest.raises(FeedError, match="profile"):
        session.infer(batch(rows), profile=profile)
    require_close(session, models.conv_net("rows", _SIZE), batch(4))


def test_the_values_of_an_input_decide_a_shape(build: Build) -> None:
    model = models.expanded()
    session = build(model, profiles=({"shape": ShapeProfile((1, 6), (4, 6), (8, 6))},))
    row: Feed = {"x": np.arange(6, dtype=np.float32)[None]}
    for rows in (1, 8, 4):
        feed: Feed = {**row, "shape": np.array([rows, 6], np.int64)}
        np.testing.assert_array_equal(session.run(feed)["y"], run(model, feed)["y"])
    with pytest.raises(FeedError, match=r"the values \(9, 6\)"):
        session.run({**row, "shape": np.array([9, 6], np.int64)})


def test_a_scalar_decides_the_length_of_a_range(build: Build) -> None:
    model = models.counted()
    session = build(model, profiles=({"n": ShapeProfile((1,), (4,), (9,))},))
    for count in (1, 9, 5):
        feed: Feed = {"n": np.array(count, np.int64), "step": np.array([0.5], np.float32)}
        np.testing.assert_array_equal(session.run(feed)["y"], run(model, feed)["y"])


def as_set(rows: np.ndarray) -> set[tuple[int, ...]]:
    """Return rows without their order, which ONNX leaves open."""
    return {tuple(row) for row in rows.tolist()}


def test_detections_come_in_the_number_that_the_scores_give(build: Build) -> None:
    model = models.detections()
    session = build(model)
    for scale in (1.0, 0.0, 0.5, 1.0):
        feed = models.found_boxes(scores_by=scale)
        answer, expected = session.run(feed)["selected"], run(model, feed)["selected"]
        assert answer.shape == expected.shape, f"scores times {scale}: {answer.tolist()}, not {expected.tolist()}"
        assert as_set(answer) == as_set(expected), f"scores times {scale}"


def test_places_of_what_is_not_zero_come_in_their_number(build: Build) -> None:
    model = models.places()
    session = build(model)
    some = np.zeros((3, 5), np.float32)
    some[[0, 1, 2], [4, 0, 3]] = (1, -2, 0.5)
    for x in (some, np.zeros_like(some), np.ones_like(some)):
        answer, expected = session.run({"x": x})["where"], run(model, {"x": x})["where"]
        assert answer.shape == expected.shape, f"{answer.tolist()}, not {expected.tolist()}"
        assert as_set(answer.T) == as_set(expected.T)


def test_an_empty_batch_gives_an_empty_answer(build: Build) -> None:
    model = models.linear("rows")
    session = build(model, profiles=(rows_of("x", (6,), least=0, best=4, most=8),))
    assert session.run(models.vectors(0))["y"].shape == (0, 5)
    require_close(session, model, models.vectors(8))
    assert session.run(models.vectors(0))["y"].shape == (0, 5)


def test_a_scalar_is_taken(build: Build) -> None:
    feed = {"x": np.arange(4, dtype=np.float32), "s": np.array(2.5, np.float32)}
    np.testing.assert_array_equal(build(models.scaled()).run(feed)["y"], run(models.scaled(), feed)["y"])


def test_bool_goes_in_and_comes_out(build: Build) -> None:
    feed = {
        "mask": np.array([True, False, True, True, False, True]),
        "x": np.array([1, 2, -3, 4, -5, 0], np.float32),
    }
    answer, expected = build(models.masked()).run(feed), run(models.masked(), feed)
    assert answer["both"].dtype == np.bool_
    for name, array in expected.items():
        np.testing.assert_array_equal(answer[name], array, err_msg=name)


def test_int64_is_taken_and_given_as_wide_as_tensorrt_has_it(rig: Rig, build: Build) -> None:
    feed = {"ids": np.array([[0, 9, 3], [4, 4, 1]], np.int64)}
    session = build(models.looked_up())
    dtype = "int64" if rig.has("int64") else "int32"
    assert {info.name: info.dtype for info in session.outputs} == {"twice": dtype, "hidden": "float32"}
    answer, expected = session.run(feed), run(models.looked_up(), feed)
    np.testing.assert_array_equal(answer["twice"].astype(np.int64), expected["twice"])
    np.testing.assert_array_equal(answer["hidden"], expected["hidden"])


def test_an_int64_that_int32_cannot_hold_is_refused(rig: Rig, build: Build) -> None:
    if rig.has("int64"):
        pytest.skip("this TensorRT has int64")
    feed = {"ids": np.array([[0, 1, 2], [3, 4, 2**40]], np.int64)}
    with pytest.raises(FeedError, match=f"{2**40}.*int32"):
        build(models.looked_up()).run(feed)


def test_a_feed_whose_rows_lie_apart_is_taken_as_what_it_shows(build: Build) -> None:
    session = dynamic_net(build)
    apart = np.asfortranarray(batch(8)["x"])[::-2]
    assert not apart.flags.c_contiguous
    plain = session.run({"x": np.ascontiguousarray(apart)})["y"]
    np.testing.assert_array_equal(session.run({"x": apart})["y"], plain)


@pytest.mark.parametrize(
    ("model", "feed"),
    [
        (models.linear(), models.vectors()),
        (models.conv_net(2, _SIZE), batch(2)),
        (models.detections(), models.found_boxes()),
        (models.looked_up(), {"ids": np.zeros((2, 3), np.int64)}),
        (models.masked(), {"mask": np.ones(6, np.bool_), "x": np.ones(6, np.float32)}),
    ],
    ids=["linear", "conv", "detections", "int64", "bool"],
)
def test_every_element_of_every_output_is_written(build: Build, model: ModelProto, feed: Feed) -> None:
    session = build(model)
    answer = session.infer(feed, find_unwritten=True)
    assert dict(answer.unwritten) == {info.name: 0 for info in session.outputs}
    for name, array in session.run(feed).items():
        np.testing.assert_array_equal(answer.outputs[name], array, err_msg=name)
