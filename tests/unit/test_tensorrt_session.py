"""A loaded engine, asked through a simulated worker."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from parity.backends.engine import EngineRequest, Exposed, Exposure, OnnxSource
from parity.backends.tensorrt.backend import TensorRTBackend
from parity.build_options import BuildOptions, ShapeProfile
from parity.errors import BackendCrash, BackendError, BackendTimeout, FeedError
from parity.tolerance import Precision
from tests.simulated_worker import Faults, SimulatedWorker
from tests.tiny_models import conv_relu, two_inputs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from parity.backends.tensorrt.session import TensorRTSession

SMALL = {"images": ShapeProfile((1, 3, 8, 8), (1, 3, 8, 8), (2, 3, 8, 8))}
LARGE = {"images": ShapeProfile((2, 3, 8, 8), (4, 3, 8, 8), (8, 3, 8, 8))}


def images(count: int = 2) -> dict[str, np.ndarray]:
    return {"images": np.random.default_rng(count).standard_normal((count, 3, 8, 8)).astype(np.float32)}


class Opened:
    """A backend on a simulated worker, and the sessions that were opened on it."""

    def __init__(self, cache: Path) -> None:
        self.worker = SimulatedWorker()
        self.backend = TensorRTBackend(self.worker, cache)

    def session(self, model: onnx.ModelProto | None = None, *profiles: dict[str, ShapeProfile]) -> TensorRTSession:
        graph = model or conv_relu()
        request = EngineRequest(OnnxSource(graph, graph), Precision.FP32, Precision.FP32, profiles=profiles or (SMALL,))
        return self.backend.open_engine(request, 7.0)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    made = Opened(tmp_path)
    yield made
    made.backend.close()


def test_outputs_are_the_models_in_the_engines_order(opened: Opened) -> None:
    from parity.backends import get_backend
    from parity.options import SessionOptions

    with opened.session() as session, get_backend("onnxruntime").open(conv_relu(), SessionOptions()) as expected:
        assert [str(info) for info in (*session.inputs, *session.outputs)] == [
            "images: float32 (?, 3, 8, 8)",
            "logits: float32 (?, 4, 8, 8)",
        ]
        np.testing.assert_allclose(session.run(images())["logits"], expected.run(images())["logits"], rtol=1e-5)


def test_the_record_tells_what_was_built_and_loaded(opened: Opened) -> None:
    record = opened.session(None, SMALL, LARGE).record
    assert (record.source, record.typing, record.build_s, record.profile_count) == ("built", "weak", 1.5, 2)
    assert record.bindings == ("images: float32 (?, 3, 8, 8)", "logits: float32 (?, 4, 8, 8)")
    assert record.device_memory_bytes == 4096
    assert [(message.text, message.count) for message in record.messages] == [("simulated", 2)]


@pytest.mark.parametrize(("count", "profile"), [(1, 0), (2, 0), (3, 1), (8, 1)])
def test_the_first_profile_that_fits_is_taken(opened: Opened, count: int, profile: int) -> None:
    session = opened.session(None, SMALL, LARGE)
    session.run(images(count))
    assert opened.worker.last("infer")["profile"] == profile


def test_a_profile_can_be_chosen(opened: Opened) -> None:
    session = opened.session(None, SMALL, LARGE)
    session.infer(images(2), profile=1)
    assert opened.worker.last("infer")["profile"] == 1


@pytest.mark.parametrize(
    ("feed", "profile", "words"),
    [
        (images(9), None, ["(9, 3, 8, 8)", "(1, 3, 8, 8) to (2, 3, 8, 8)", "(2, 3, 8, 8) to (8, 3, 8, 8)"]),
        (images(1), 1, ["(1, 3, 8, 8)", "profile 1", "(2, 3, 8, 8) to (8, 3, 8, 8)"]),
        (images(1), 2, ["profile 2", "has 2"]),
        (images(1), -1, ["profile -1"]),
        ({"images": images()["images"].astype(np.float16)}, None, ["is float16", "images: float32"]),
        ({"images": images()["images"][0]}, None, ["(3, 8, 8)"]),
        ({"images": images()["images"][:, :2]}, None, ["2 on axis 1"]),
        ({"pictures": images()["images"]}, None, ["pictures", "images"]),
        ({}, None, ["nothing", "images"]),
    ],
)
def test_a_feed_that_does_not_fit_is_not_sent(
    opened: Opened, feed: dict[str, np.ndarray], profile: int | None, words: list[str]
) -> None:
    session = opened.session(None, SMALL, LARGE)
    with pytest.raises(FeedError) as caught:
        session.infer(feed, profile=profile)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert opened.worker.count("infer") == 0


def half_input() -> onnx.ModelProto:
    node = helper.make_node("Cast", ["x"], ["y"], "widen", to=TensorProto.FLOAT)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "half", [value("x", TensorProto.FLOAT16, [4])], [value("y", TensorProto.FLOAT, [4])]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_float32_for_a_float16_input_is_the_callers_mistake(opened: Opened) -> None:
    session = opened.session(half_input())
    with pytest.raises(FeedError, match=r"'x': is float32; .* x: float16 \(4\)"):
        session.run({"x": np.zeros(4, np.float32)})
    assert session.run({"x": np.ones(4, np.float16)})["y"].tolist() == pytest.approx([1.0] * 4)


def test_int64_is_taken_where_the_engine_has_int32(opened: Opened) -> None:
    shapes = {name: ShapeProfile((1, 3), (1, 3), (2, 3)) for name in ("ids", "mask")}
    session = opened.session(two_inputs(), shapes)
    assert [info.dtype for info in session.inputs] == ["int32", "bool"]
    mask = np.ones((1, 3), bool)
    wide, narrow = (session.run({"ids": np.array([[1, 2, 3]], dtype), "mask": mask}) for dtype in ("int64", "int32"))
    np.testing.assert_array_equal(wide["hidden"], narrow["hidden"])
    with pytest.raises(FeedError, match="uint8"):
        session.run({"ids": np.array([[1, 2, 3]], np.uint8), "mask": mask})


def test_what_is_asked_of_an_inference_reaches_the_worker(opened: Opened) -> None:
    opened.worker.plant(unwritten_count=5)
    session = opened.session()
    answer = session.infer(images(), fresh_context=True, find_unwritten=True)
    assert (answer.unwritten, answer.gpu_ms) == ({"logits": 5}, 0.25)
    assert opened.worker.last("infer")["fresh_context"]
    assert session.infer(images()).unwritten == {}
    assert not opened.worker.last("infer")["fresh_context"]


def test_debug_tensors_are_asked_for_and_given_by_name_and_an_ordinary_request_does_not_mention_them(
    tmp_path: Path,
) -> None:
    backend = TensorRTBackend(worker := SimulatedWorker("10.16.1.11"), tmp_path)
    graph = conv_relu()
    inner = graph.graph.node[0].output[0]
    request = EngineRequest(
        OnnxSource(graph, graph),
        Precision.FP32,
        Precision.FP32,
        profiles=(SMALL,),
        observe=Exposed((inner,), Exposure.DEBUG),
    )
    with backend.open_engine(request, 7.0) as session:
        answer = session.infer(images(), debug=[inner, "nobody"])
        asked = worker.last("infer")
        assert (list(answer.debug), asked["debug"]) == ([inner], [inner, "nobody"])
        expected = np.maximum(answer.debug[inner], 0)
        assert np.allclose(answer.outputs[session.outputs[0].name], expected, rtol=1e-5)
        assert session.infer(images()).debug == {}
        assert "debug" not in worker.last("infer")
    assert worker.last("build")["observe"] == {"tensors": [inner], "how": "debug", "half": []}
    backend.close()


def test_layer_times_come_in_the_order_of_execution(opened: Opened) -> None:
    times = opened.session().layer_times(images(), iterations=3)
    assert [(layer.name, len(layer.times_ms)) for layer in times] == [("conv", 3), ("relu", 3)]


def test_the_inspectors_text_comes_unchanged(opened: Opened) -> None:
    assert [layer["Name"] for layer in json.loads(opened.session().inspector_json)["Layers"]] == ["conv", "relu"]


def test_a_reloaded_engine_is_another_one_of_the_same_plan(opened: Opened) -> None:
    with opened.session() as first:
        with first.reload() as second:
            assert opened.worker.engine_count == 2
            np.testing.assert_array_equal(first.run(images())["logits"], second.run(images())["logits"])
        assert opened.worker.engine_count == 1
    assert opened.worker.engine_count == 0
    assert opened.worker.count("build") == 1


def test_a_stripped_plan_is_given_its_weights_each_time_it_is_loaded(opened: Opened) -> None:
    graph = conv_relu()
    weightless = BuildOptions(strip_plan=True)
    request = EngineRequest(
        OnnxSource(graph, graph), Precision.FP32, Precision.FP32, options=weightless, profiles=(SMALL,)
    )
    with opened.backend.open_engine(request, 7.0) as first, first.reload() as second:
        assert opened.worker.count("load") == 2
        assert all("model" in asked.fields for asked in opened.worker.asked if asked.operation == "load")
        np.testing.assert_array_equal(first.run(images())["logits"], second.run(images())["logits"])


def test_a_closed_session_answers_nothing_and_closes_once(opened: Opened) -> None:
    session = opened.session()
    session.close()
    session.close()
    assert opened.worker.count("unload") == 1
    with pytest.raises(BackendError, match="is closed"):
        session.run(images())


def test_every_request_has_the_time_limit(opened: Opened) -> None:
    with opened.session() as session:
        session.run(images())
    assert {asked.operation: asked.timeout_s for asked in opened.worker.asked[1:]} == {
        "build": 7.0,
        "load": 7.0,
        "infer": 7.0,
        "unload": 7.0,
    }


@pytest.mark.parametrize(("fault", "error"), [("crash_at", BackendCrash), ("hang_at", BackendTimeout)])
def test_a_lost_worker_costs_one_answer_and_the_plan_is_loaded_again(
    opened: Opened, fault: str, error: type[BackendError]
) -> None:
    session = opened.session()
    before = session.run(images())
    opened.worker.plant(**{fault: 1})
    with pytest.raises(error):
        session.run(images())
    np.testing.assert_array_equal(session.run(images())["logits"], before["logits"])
    assert session.record.notes[-1] == "the worker was replaced after a failure; the plan was loaded once more"
    assert (opened.worker.count("load"), opened.worker.count("build")) == (2, 1)


def test_another_sessions_crash_costs_this_one_nothing(opened: Opened) -> None:
    first, second = opened.session(), opened.session()
    opened.worker.plant(crash_at=0)
    with pytest.raises(BackendCrash):
        second.run(images())
    assert first.run(images())["logits"].shape == (2, 4, 8, 8)
    assert second.run(images())["logits"].shape == (2, 4, 8, 8)
    assert opened.worker.generation == 2


def test_a_worker_that_replaces_another_is_told_its_gpu_first(tmp_path: Path) -> None:
    worker = SimulatedWorker()
    backend = TensorRTBackend(worker, tmp_path, device=1)
    model = conv_relu()
    request = EngineRequest(OnnxSource(model, model), Precision.FP32, Precision.FP32, profiles=(SMALL,))
    with backend.open_engine(request, 7.0) as session:
        worker.plant(crash_at=0)
        with pytest.raises(BackendCrash):
            session.run(images())
        session.run(images())
    assert [asked.operation for asked in worker.asked] == [
        *("hello", "build", "load", "infer"),
        *("hello", "load", "infer", "unload"),
    ]
    assert all(asked.fields == {"device": 1} for asked in worker.asked if asked.operation == "hello")


def test_a_worker_that_died_unseen_is_noticed_by_its_answer(opened: Opened) -> None:
    session = opened.session()
    opened.worker.kill()
    assert session.run(images())["logits"].shape == (2, 4, 8, 8)
    assert opened.worker.count("load") == 2


def test_an_error_of_a_living_worker_is_told_once(opened: Opened) -> None:
    def fail(_fields: dict[str, Any]) -> dict[str, Any]:
        raise BackendError("TensorRT failed")

    session = opened.session()
    opened.worker.answers["infer"] = fail
    with pytest.raises(BackendError, match="TensorRT failed"):
        session.run(images())
    assert (opened.worker.count("infer"), opened.worker.count("load")) == (1, 1)


def test_an_engine_of_a_lost_worker_is_not_unloaded(opened: Opened) -> None:
    with opened.session() as session:
        opened.worker.plant(crash_at=0)
        with pytest.raises(BackendCrash):
            session.run(images())
    assert opened.worker.count("unload") == 0
    assert opened.worker.generation == 1


def test_a_failure_to_unload_does_not_hide_what_was_answered(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    with opened.session() as session:
        session.run(images())
        opened.worker.kill()
    assert "could not be unloaded" in caplog.text


@pytest.mark.parametrize("tensors", [{}, {"other": np.zeros(1)}, {"logits": np.zeros(1), "other": np.zeros(1)}])
def test_outputs_that_are_not_the_engines_are_refused(opened: Opened, tensors: dict[str, np.ndarray]) -> None:
    session = opened.session()
    opened.worker.answers["infer"] = lambda _fields: {"tensors": tensors, "unwritten": {}, "gpu_ms": 0.1}
    with pytest.raises(BackendError, match="logits"):
        session.run(images())


def test_faults_are_planted_from_the_beginning_as_well(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    opened.worker.faults = Faults(refusal="out of memory")
    with pytest.raises(BackendError, match="out of memory"):
        opened.session()


def test_a_timing_loop_gives_its_readings_and_passes_on_what_was_asked(opened: Opened) -> None:
    timing = opened.session().time(images(), warm_up_ms=5.0, min_iterations=12, min_s=0.0)
    assert timing.gpu_ms == (0.25,) * 12
    assert timing.host_ms == pytest.approx([0.35] * 12)
    assert len(timing.enqueue_ms) == 12
    asked = opened.worker.last("time")
    assert (asked["warm_up_ms"], asked["min_iterations"], asked["min_s"], asked["cuda_graph"]) == (5.0, 12, 0.0, False)
