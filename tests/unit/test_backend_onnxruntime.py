"""The ONNX Runtime backend: dtypes, feed checks, refusals and failures, each as an error of the tree."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import onnx
import pytest
from google.protobuf.message import EncodeError
from onnx import TensorProto, helper

from parity.backends import get_backend
from parity.backends import onnxruntime as module
from parity.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeSession, explain_refusal, foreign_errors
from parity.errors import BackendError, BackendTimeout, BackendUnavailable, FeedError, ModelError, ParityError
from parity.options import Provider, SessionOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OWN_CLASSES = [error for error in foreign_errors() if error.__module__.startswith("onnxruntime")]


def make_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    *,
    initializers: Sequence[onnx.TensorProto] = (),
    opset: int = 21,
    ir_version: int = 10,
    domain: str = "",
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def value(name: str, dtype: int = TensorProto.FLOAT, shape: Sequence[int | str | None] = ("n",)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def relu(**changes: int) -> onnx.ModelProto:
    return make_model([helper.make_node("Relu", ["x"], ["y"])], [value("x")], [value("y")], **changes)


def cast(source: int, target: int) -> onnx.ModelProto:
    return make_model([helper.make_node("Cast", ["x"], ["y"], to=target)], [value("x", source)], [value("y", target)])


def open_session(model: onnx.ModelProto, options: SessionOptions | None = None) -> OnnxRuntimeSession:
    return OnnxRuntimeBackend().open(model, options or SessionOptions())


def test_the_backend_is_found_by_its_name() -> None:
    backend = get_backend("onnxruntime")
    assert backend.name == "onnxruntime"
    assert backend.version[0].isdigit()


def test_a_session_names_its_inputs_and_outputs_and_computes() -> None:
    with open_session(relu()) as session:
        assert [str(info) for info in session.inputs] == ["x: float32 (n)"]
        assert [str(info) for info in session.outputs] == ["y: float32 (n)"]
        result = session.run({"x": np.array([-1.0, 2.0], np.float32)})
    np.testing.assert_array_equal(result["y"], np.array([0.0, 2.0], np.float32))


@pytest.mark.parametrize(
    ("target", "dtype"),
    [
        (TensorProto.FLOAT16, np.float16),
        (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
        (TensorProto.FLOAT8E4M3FN, ml_dtypes.float8_e4m3fn),
        (TensorProto.FLOAT8E5M2, ml_dtypes.float8_e5m2),
        (TensorProto.INT8, np.int8),
        (TensorProto.BOOL, np.bool_),
    ],
)
def test_outputs_of_every_narrow_dtype_come_back_as_that_dtype(target: int, dtype: type) -> None:
    array = np.array([1.0, 2.5, -0.1, 30.0], np.float32)
    result = open_session(cast(TensorProto.FLOAT, target)).run({"x": array})["y"]
    assert result.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(result, array.astype(dtype))


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.int64])
def test_inputs_of_every_dtype_are_taken(dtype: type) -> None:
    source = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    array = np.array([1, 2, 3], dtype)
    result = open_session(cast(source, TensorProto.FLOAT)).run({"x": array})["y"]
    np.testing.assert_array_equal(result, array.astype(np.float32))


def test_an_input_that_is_an_output_as_well_comes_back_in_memory_of_its_own() -> None:
    model = relu()
    model.graph.output.append(model.graph.input[0])
    array = np.array([-1.0, 2.0], np.float32)
    returned = open_session(model).run({"x": array})["x"]
    array[:] = 7.0
    np.testing.assert_array_equal(returned, np.array([-1.0, 2.0], np.float32))


def test_an_empty_output_of_a_narrow_dtype_is_empty() -> None:
    result = open_session(cast(TensorProto.FLOAT, TensorProto.BFLOAT16)).run({"x": np.zeros(0, np.float32)})["y"]
    assert result.shape == (0,)
    assert result.dtype == np.dtype(ml_dtypes.bfloat16)


def test_a_four_bit_output_is_refused_by_name() -> None:
    session = open_session(cast(TensorProto.FLOAT, TensorProto.INT4))
    with pytest.raises(BackendError, match="output 'y': is int4"):
        session.run({"x": np.ones(2, np.float32)})


def test_strided_and_foreign_byte_order_arrays_are_read_by_value() -> None:
    array = np.arange(6, dtype=">f4")[::2]
    np.testing.assert_array_equal(open_session(relu()).run({"x": array})["y"], [0, 2, 4])


def two_inputs() -> onnx.ModelProto:
    return make_model(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        [value("a", shape=["batch", 3]), value("b", shape=["batch", 3])],
        [value("y", shape=["batch", 3])],
    )


@pytest.mark.parametrize(
    ("feed", "text"),
    [
        ({"a": np.zeros((1, 3), np.float32)}, "has the inputs a; the model expects a, b"),
        ({}, "has the inputs nothing"),
        ({n: np.zeros((1, 3), np.float32) for n in "abc"}, "has the inputs a, b, c"),
        (
            {"a": np.zeros((1, 3), np.float64), "b": np.zeros((1, 3), np.float32)},
            r"input 'a': is float64; the model expects a: float32 \(batch, 3\)",
        ),
        ({"a": np.zeros((3,), np.float32), "b": np.zeros((1, 3), np.float32)}, r"has shape \(3,\)"),
        ({"a": np.zeros((1, 3), np.float32), "b": np.zeros((1, 4), np.float32)}, "4 on axis 1"),
        ({"a": np.zeros((1, 3), np.float32), "b": np.zeros((2, 3), np.float32)}, "same dimension 'batch'"),
    ],
)
def test_a_feed_that_does_not_fit_is_refused_with_what_was_expected(feed: dict[str, np.ndarray], text: str) -> None:
    with pytest.raises(FeedError, match=text):
        open_session(two_inputs()).run(feed)


def test_a_feed_for_an_input_without_a_shape_is_left_to_the_runtime() -> None:
    open_shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    free = open_session(make_model([helper.make_node("Relu", ["x"], ["y"])], [open_shape], [value("y", shape=None)]))
    assert free.run({"x": np.ones((2, 3), np.float32)})["y"].shape == (2, 3)


def test_graph_optimisations_are_off_unless_asked_for() -> None:
    # A float32 value through a half and back: optimised away, the pair no longer rounds.
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT),
    ]
    model = make_model(nodes, [value("x")], [value("y")])
    array = np.array([1.0002], np.float32)
    assert open_session(model).run({"x": array})["y"] == np.float32(1.0)


def test_the_options_reach_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = module._runtime()
    monkeypatch.setenv("PARITY_THREADS", "2")
    plain = module._session_options(runtime, SessionOptions())
    tuned = module._session_options(runtime, SessionOptions(graph_optimizations=True, thread_count=3))
    assert plain.graph_optimization_level == runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    assert tuned.graph_optimization_level == runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert (plain.intra_op_num_threads, tuned.intra_op_num_threads) == (2, 3)
    monkeypatch.delenv("PARITY_THREADS")
    assert module._session_options(runtime, SessionOptions()).intra_op_num_threads == 0


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (relu(opset=99), r"uses opset 99 of domain ai\.onnx, it supports up to \d+"),
        (relu(ir_version=99), r"has IR version 99, it reads up to \d+"),
        (
            make_model(
                [helper.make_node("Foo", ["x"], ["y"], domain="my.ops")], [value("x")], [value("y")], domain="my.ops"
            ),
            r"does not know the operator Foo of domain my\.ops",
        ),
        (
            make_model([helper.make_node("Gelu", ["x"], ["y"])], [value("x")], [value("y")], opset=13),
            "no operator Gelu in opset 13",
        ),
        (
            make_model(
                [helper.make_node("Sin", ["x"], ["y"], name="wave")],
                [value("x", TensorProto.BFLOAT16)],
                [value("y", TensorProto.BFLOAT16)],
                opset=22,
            ),
            r"no implementation of Sin \(opset 22\) for the dtype of node 'wave'",
        ),
        (
            make_model([helper.make_node("Relu", ["z"], ["y"])], [value("x")], [value("y")]),
            "input 'z' is not a graph input",
        ),
    ],
    ids=["opset", "ir version", "custom operator", "operator newer than opset", "no kernel", "dangling input"],
)
def test_a_refused_model_is_a_model_error_of_one_line_that_says_why(model: onnx.ModelProto, text: str) -> None:
    with pytest.raises(ModelError, match=text) as caught:
        open_session(model)
    assert "\n" not in str(caught.value)
    assert "/onnxruntime_src" not in str(caught.value)


def test_a_failure_while_running_is_a_backend_error_with_the_node() -> None:
    shape = helper.make_tensor("s", TensorProto.INT64, [2], [2, 3])
    node = helper.make_node("Reshape", ["x", "s"], ["y"], name="fold")
    session = open_session(make_model([node], [value("x")], [value("y", shape=[None, None])], initializers=[shape]))
    with pytest.raises(BackendError, match="Name:'fold'") as caught:
        session.run({"x": np.zeros(5, np.float32)})
    assert "/onnxruntime_src" not in str(caught.value)


def endless_loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still"]), helper.make_node("Sqrt", ["a"], ["b"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            value("a"),
        ],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []), value("b")],
    )
    start = helper.make_tensor("start", TensorProto.BOOL, [], [True])
    node = helper.make_node("Loop", ["", "start", "x"], ["y"], body=body)
    return make_model([node], [value("x")], [value("y")], initializers=[start])


def test_a_feed_that_takes_too_long_is_ended_and_is_a_timeout() -> None:
    session = open_session(endless_loop(), SessionOptions(timeout_s=0.2))
    with pytest.raises(BackendTimeout, match=r"no answer within 0\.2 s"):
        session.run({"x": np.ones(1, np.float32)})


def test_onnxruntime_has_exceptions_of_its_own() -> None:
    assert len(OWN_CLASSES) >= 12


@pytest.mark.parametrize("kind", foreign_errors())
def test_every_exception_of_the_runtime_is_mapped_when_it_refuses_a_model(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise kind("something is wrong")

    monkeypatch.setattr(module._runtime(), "InferenceSession", refuse)
    with pytest.raises((ModelError, BackendError), match="something is wrong"):
        open_session(relu())


@pytest.mark.parametrize("kind", foreign_errors())
def test_every_exception_of_the_runtime_is_mapped_when_it_runs(kind: type[Exception]) -> None:
    def fail(*_args: object) -> None:
        raise kind("something is wrong")

    session = OnnxRuntimeSession(SimpleNamespace(run_with_ort_values=fail), relu(), 60.0)
    with pytest.raises(BackendError, match="something is wrong"):
        session.run({"x": np.zeros(1, np.float32)})


def test_an_exception_without_text_is_named_by_its_class() -> None:
    assert "MemoryError" in str(explain_refusal(MemoryError(), "1.0"))


def test_errors_that_are_not_the_runtimes_pass_through() -> None:
    def fail(*_args: object) -> None:
        raise KeyboardInterrupt

    session = OnnxRuntimeSession(SimpleNamespace(run_with_ort_values=fail), relu(), 60.0)
    with pytest.raises(KeyboardInterrupt):
        session.run({"x": np.zeros(1, np.float32)})


def test_a_model_above_the_message_limit_is_loaded_from_a_file_and_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_serialize", lambda _model: None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    weights = onnx.numpy_helper.from_array(np.arange(1000, dtype=np.float32), "w")
    model = make_model([helper.make_node("Add", ["x", "w"], ["y"])], [value("x")], [value("y")], initializers=[weights])
    before = model.SerializeToString(deterministic=True)
    result = open_session(model).run({"x": np.ones(1, np.float32)})
    np.testing.assert_array_equal(result["y"], np.arange(1000, dtype=np.float32) + 1)
    assert model.SerializeToString(deterministic=True) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [EncodeError("Failed to serialize proto"), ValueError("exceeds 2GB")])
def test_a_model_that_does_not_fit_one_message_is_known_by_its_failure(error: Exception) -> None:
    def fail() -> None:
        raise error

    assert module._serialize(SimpleNamespace(SerializeToString=fail)) is None


def test_a_provider_that_is_absent_is_named_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module._runtime(), "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BackendUnavailable, match="no CUDAExecutionProvider, only CPUExecutionProvider"):
        open_session(relu(), SessionOptions(provider=Provider.CUDA))


def test_a_provider_that_fell_back_silently_is_named_with_what_was_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = module._runtime()
    monkeypatch.setattr(runtime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    fallen = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"], disable_fallback=lambda: None)
    monkeypatch.setattr(runtime, "InferenceSession", lambda *_args, **_options: fallen)
    with pytest.raises(BackendUnavailable, match="asked for, but CPUExecutionProvider was loaded"):
        open_session(relu(), SessionOptions(provider=Provider.CUDA))


def test_a_provider_that_does_not_start_is_named_with_its_words_and_nothing_is_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_words: object) -> None:
        raise RuntimeError("CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version")

    runtime = module._runtime()
    monkeypatch.setattr(runtime, "get_available_providers", lambda: ["TensorrtExecutionProvider"])
    monkeypatch.setattr(runtime.InferenceSession, "_create_inference_session", fail)
    with pytest.raises(
        BackendUnavailable, match=r"TensorrtExecutionProvider does not start \(CUDA failure 35: .*TensorRT 10"
    ):
        open_session(relu(), SessionOptions(provider=Provider.TENSORRT))
    assert capfd.readouterr() == ("", "")


def test_a_provider_that_fails_in_a_run_is_not_replaced_by_the_cpu(capfd: pytest.CaptureFixture[str]) -> None:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    def fail(*_words: object) -> None:
        raise state.EPFail("the engine cannot be enqueued")

    session = open_session(relu())
    session._session._sess = SimpleNamespace(run_with_ort_values=fail, is_webgpu_graph_capture_enabled=lambda: False)
    with pytest.raises(BackendError, match="the engine cannot be enqueued"):
        session.run({"x": np.ones(3, np.float32)})
    assert capfd.readouterr() == ("", "")


def test_a_broken_installation_is_said_at_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    module._require_sound_installation.cache_clear()
    monkeypatch.setattr(module, "onnxruntime_conflict", lambda: "installed twice; run: pip uninstall")
    with pytest.raises(BackendUnavailable, match="installed twice"):
        open_session(relu())
    module._require_sound_installation.cache_clear()


def test_an_unknown_backend_names_the_known_ones() -> None:
    with pytest.raises(
        ParityError, match="expected onnxruntime, onnxruntime-cuda, onnxruntime-tensorrt, tensorrt or fake"
    ):
        get_backend("nosuch")
