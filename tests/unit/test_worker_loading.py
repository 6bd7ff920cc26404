"""Options of loading, on stand-ins with exactly the symbols of a release."""

from __future__ import annotations

import _ctypes
import ctypes
from typing import Any

import pytest

from parity.worker import loading
from parity.worker.errors import ModelRefused, PrecisionMissing, WorkerError
from parity.worker.loading import apply_runtime_options, create_context, load_plugins, refit_from_onnx
from tests.fake_tensorrt import RELEASES, fake_tensorrt

OLD, FIRST, LAST_WEAK, NEW = RELEASES


@pytest.fixture(params=RELEASES)
def trt(request: pytest.FixtureRequest) -> Any:
    return fake_tensorrt(request.param)


@pytest.fixture(autouse=True)
def _forget_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_opened", {})


def engine_of(trt: Any, **known: Any) -> Any:
    engine = trt.ICudaEngine()
    vars(engine).update(known)
    return engine


def test_tensorrts_own_plugins_are_always_registered(trt: Any) -> None:
    load_plugins(trt, [])
    assert [(name, args) for name, args, _ in trt.calls] == [("init_libnvinfer_plugins", (None, ""))]


class Library:
    """A library as ctypes opens it; ``names`` are what it exports."""

    def __init__(self, *names: str) -> None:
        vars(self).update(dict.fromkeys(names))


@pytest.mark.parametrize("export", ["getCreators", "getPluginCreators"])
def test_a_library_of_plugins_is_loaded_once(trt: Any, export: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Library(export))
    load_plugins(trt, ["/a/libmine.so"])
    load_plugins(trt, ["/a/../a/libmine.so"])
    assert trt.get_plugin_registry().called("load_library") == [("/a/libmine.so",)]


def test_a_library_that_registers_itself_is_only_opened(trt: Any) -> None:
    load_plugins(trt, [_ctypes.__file__])
    assert trt.get_plugin_registry().called("load_library") == []


def test_a_library_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    trt = fake_tensorrt(OLD, {"IPluginRegistry.load_library": lambda _registry, _path: None})
    with pytest.raises(WorkerError, match=r"plugins: /nowhere/libmine\.so cannot be opened"):
        load_plugins(trt, ["/nowhere/libmine.so"])
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Library("getCreators"))
    with pytest.raises(WorkerError, match=r"does not take /a/libmine\.so; a plugin of it has the name of one"):
        load_plugins(trt, ["/a/libmine.so"])


def test_a_runtime_is_left_alone_without_options(trt: Any) -> None:
    runtime = trt.Runtime(None)
    assert apply_runtime_options(trt, runtime, {}) is runtime
    assert [name for name, _, _ in runtime.calls] == ["__init__"]
    assert set(vars(runtime)) == {"calls"}


def test_runtime_options_reach_the_runtime(trt: Any) -> None:
    runtime = trt.Runtime(None)
    vars(runtime)["num_DLA_cores"] = 2
    options = {"host_code": True, "temporary_folder": "/scratch", "temporary_files": False, "dla_core": 1}
    assert apply_runtime_options(trt, runtime, options) is runtime
    assert runtime.engine_host_code_allowed is True
    assert runtime.temporary_directory == "/scratch"
    assert runtime.tempfile_control_flags == 1 << int(trt.TempfileControlFlag.ALLOW_IN_MEMORY_FILES)
    assert runtime.DLA_core == 1


def test_a_missing_dla_core_is_told(trt: Any) -> None:
    runtime = trt.Runtime(None)
    vars(runtime)["num_DLA_cores"] = 0
    with pytest.raises(PrecisionMissing, match=r"load\.dla_core: this machine has 0 DLA cores, counted from 0; got 0"):
        apply_runtime_options(trt, runtime, {"dla_core": 0})


def test_a_lean_runtime_takes_the_place_of_the_full_one(trt: Any) -> None:
    runtime = trt.Runtime(None)
    lean = apply_runtime_options(trt, runtime, {"lean_runtime": "/lean.so", "host_code": True})
    assert lean is not runtime
    assert runtime.called("load_runtime") == [("/lean.so",)]
    assert lean.engine_host_code_allowed is True


def test_a_lean_runtime_that_cannot_be_loaded_is_told() -> None:
    trt = fake_tensorrt(OLD, {"Runtime.load_runtime": lambda _runtime, _path: None})
    with pytest.raises(WorkerError, match=r"load\.lean_runtime: /lean\.so cannot be loaded"):
        apply_runtime_options(trt, trt.Runtime(None), {"lean_runtime": "/lean.so"})


def test_a_context_without_options_takes_no_argument(trt: Any) -> None:
    engine = engine_of(trt)
    assert create_context(trt, engine, {}) is not None
    assert engine.called("create_execution_context") == [()]


def test_a_context_takes_its_allocation_and_its_share_of_the_cache() -> None:
    trt = fake_tensorrt(FIRST)
    engine = engine_of(trt)
    context = create_context(trt, engine, {"allocation": "on_profile_change", "persistent_cache_mib": 1.5})
    strategy = trt.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE
    assert engine.called("create_execution_context") == [(strategy,)]
    assert context.persistent_cache_limit == 3 * 2**19


def test_an_allocation_strategy_is_refused_where_there_is_none() -> None:
    trt = fake_tensorrt(OLD)
    with pytest.raises(PrecisionMissing, match=r"load\.allocation: TensorRT 8\.6\.0 .*TensorRT 10\.0 and later has it"):
        create_context(trt, engine_of(trt), {"allocation": "static"})


def test_no_context_is_handed_on_as_none() -> None:
    trt = fake_tensorrt(NEW, {"ICudaEngine.create_execution_context": lambda _engine: None})
    assert create_context(trt, engine_of(trt), {"persistent_cache_mib": 1}) is None


@pytest.mark.parametrize(
    ("budget", "size"),
    [("auto", 300), ({"share": 0.25}, 250), ({"bytes": 400}, 400), ({"bytes": 4000}, 1000), ({"share": 0.0}, 0)],
)
def test_the_budget_of_streamed_weights_is_set_before_the_context(budget: Any, size: int) -> None:
    trt = fake_tensorrt(NEW, {"ICudaEngine.get_weight_streaming_automatic_budget": lambda _engine: 300})
    engine = engine_of(trt, streamable_weights_size=1000)
    create_context(trt, engine, {"weight_streaming_budget": budget})
    assert engine.weight_streaming_budget_v2 == size


def test_weight_streaming_is_refused_where_there_is_nothing_to_stream() -> None:
    trt = fake_tensorrt(NEW)
    with pytest.raises(WorkerError, match="no weights to stream; build it with weight_streaming = true"):
        create_context(trt, engine_of(trt, streamable_weights_size=0), {"weight_streaming_budget": "auto"})
    old = fake_tensorrt(OLD)
    with pytest.raises(PrecisionMissing, match=r"load\.weight_streaming_budget: TensorRT 8\.6\.0 .* 10\.1 and later"):
        create_context(old, engine_of(old), {"weight_streaming_budget": "auto"})


def refitting(*, parsed: bool, refitted: bool) -> Any:
    return fake_tensorrt(
        NEW,
        {
            "OnnxParserRefitter.refit_from_file": lambda _parser, _path: parsed,
            "OnnxParserRefitter.num_errors": 0 if parsed else 1,
            "OnnxParserRefitter.get_error": lambda _parser, _index: "no node conv2",
            "Refitter.refit_cuda_engine": lambda _refitter: refitted,
            "Refitter.get_missing_weights": lambda _refitter: [] if refitted else ["a", "b", "c", "d"],
        },
    )


def test_a_stripped_engine_is_refitted_from_its_model() -> None:
    trt = refitting(parsed=True, refitted=True)
    refit_from_onnx(trt, engine_of(trt), "model.onnx", None)


def test_a_model_that_does_not_fit_is_told_with_what_is_wrong() -> None:
    trt = refitting(parsed=False, refitted=True)
    with pytest.raises(ModelRefused, match=r"load\.refit: model\.onnx does not fit the engine: no node conv2"):
        refit_from_onnx(trt, engine_of(trt), "model.onnx", None)
    trt = refitting(parsed=True, refitted=False)
    with pytest.raises(ModelRefused, match=r"load\.refit: 4 weights are missing \(a, b, c\)"):
        refit_from_onnx(trt, engine_of(trt), "model.onnx", None)


def test_refitting_from_a_model_is_refused_where_there_is_no_way() -> None:
    trt = fake_tensorrt(OLD)
    with pytest.raises(PrecisionMissing, match=r"load\.refit: TensorRT 8\.6\.0 has no OnnxParserRefitter"):
        refit_from_onnx(trt, engine_of(trt), "model.onnx", None)
