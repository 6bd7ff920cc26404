"""TensorRT in one interpreter, and several of them side by side, with simulated workers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import helper

from parity.backends import TensorRTSettings, get_backend, open_backends
from parity.backends.engine import EngineFile, EngineRequest, NetworkSource, OnnxSource
from parity.backends.tensorrt.backend import TensorRTBackend
from parity.backends.tensorrt.building import write_model
from parity.backends.tensorrt.opening import converse, select_backends
from parity.build_options import BuildOptions, Calibrator, LoadOptions, Quantization, ShapeProfile
from parity.errors import BackendError, BackendUnavailable, ModelError, PrecisionError
from parity.options import SessionOptions
from parity.tolerance import Precision
from parity.worker.plan import refusal
from tests.scripted_worker import path_of
from tests.simulated_worker import SimulatedWorker
from tests.tiny_models import conv_relu

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from parity.backends.engine import EngineSource

PROFILE = {"images": ShapeProfile((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))}
IMAGES = {"images": np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)}
MODEL = conv_relu()


@pytest.fixture
def worker() -> SimulatedWorker:
    return SimulatedWorker(network=MODEL)


@pytest.fixture
def backend(worker: SimulatedWorker, tmp_path: Path) -> Iterator[TensorRTBackend]:
    made = TensorRTBackend(worker, tmp_path / "cache")
    yield made
    made.close()


def request(source: EngineSource | None = None, precision: Precision = Precision.FP16, **fields: Any) -> EngineRequest:
    return EngineRequest(
        source or OnnxSource(MODEL, MODEL), precision, Precision.FP32, **({"profiles": (PROFILE,)} | fields)
    )


def test_a_backend_says_what_it_is(backend: TensorRTBackend, worker: SimulatedWorker) -> None:
    assert (backend.name, backend.version) == ("tensorrt-8.6", "8.6.0")
    assert backend.worker.name == backend.name
    assert backend.worker.gpu == "Simulated H200"
    assert backend.worker.capabilities["weakly_typed"]
    assert worker.asked[0].timeout_s <= 60


def test_an_interpreter_without_tensorrt_is_refused() -> None:
    worker = SimulatedWorker(hello={"packages": {"numpy": "1.26"}})
    with pytest.raises(BackendUnavailable, match="pip install tensorrt"):
        TensorRTBackend(worker, None)


def test_the_second_time_nothing_is_built(backend: TensorRTBackend, worker: SimulatedWorker) -> None:
    with backend.open_engine(request(), 5) as first:
        expected = first.run(IMAGES)
    with backend.open_engine(request(), 5) as second:
        np.testing.assert_array_equal(second.run(IMAGES)["logits"], expected["logits"])
    assert (first.record.source, second.record.source) == ("built", "cache")
    assert second.record.build_s == first.record.build_s
    assert worker.count("build") == 1


def test_a_damaged_plan_is_built_again_and_runs(backend: TensorRTBackend, tmp_path: Path) -> None:
    backend.open_engine(request(), 5).close()
    (plan,) = tmp_path.glob("cache/engines/*/engine.plan")
    plan.write_bytes(plan.read_bytes()[:-1])
    with backend.open_engine(request(), 5) as session:
        assert session.run(IMAGES)["logits"].shape == (2, 4, 8, 8)
    assert "not the one that was stored" in session.record.notes[-1]


def test_without_a_cache_engines_live_as_long_as_the_backend() -> None:
    worker = SimulatedWorker()
    backend = TensorRTBackend(worker, None)
    backend.open_engine(request(), 5).close()
    with backend.open_engine(request(), 5) as session:
        plan = path_of(worker.last("load")["plan"])
        assert session.record.source == "cache"
    backend.close()
    assert worker.is_closed
    assert not plan.exists()


def test_the_recipe_is_what_the_worker_is_asked(backend: TensorRTBackend, worker: SimulatedWorker) -> None:
    source = OnnxSource(MODEL, MODEL, ("relu",))
    session = backend.open_engine(request(source, options=BuildOptions(optimization_level=2)), 5)
    asked = worker.last("build")
    assert {name: asked[name] for name in ("precision", "typing", "obey", "keep", "keep_precision")} == {
        "precision": "fp16",
        "typing": "weak",
        "obey": True,
        "keep": ["relu"],
        "keep_precision": "fp32",
    }
    assert asked["options"]["optimization_level"] == 2
    assert asked["profiles"] == [{"images": {"min": [1, 3, 8, 8], "opt": [2, 3, 8, 8], "max": [4, 3, 8, 8]}}]
    assert asked["calibration"] is None
    assert "1 nodes are held at fp32 by layer precision" in session.record.notes
    assert session.record.flags == ("FP16", "OBEY_PRECISION_CONSTRAINTS")


def test_options_of_loading_reach_the_load_and_build_nothing_anew(
    backend: TensorRTBackend, worker: SimulatedWorker
) -> None:
    backend.open_engine(request(), 5)
    backend.open_engine(request(options=BuildOptions(load=LoadOptions(persistent_cache_mib=1.5))), 5)
    assert worker.last("load")["options"] == {"persistent_cache_mib": 1.5}
    assert worker.count("build") == 1


def test_a_model_is_parsed_as_it_was_given(backend: TensorRTBackend, worker: SimulatedWorker) -> None:
    parsed: list[bytes] = []
    build = worker.answers["build"]

    def read_and_build(fields: dict[str, Any]) -> dict[str, Any]:
        parsed.append(path_of(fields["source"]["model"]).read_bytes())
        return build(fields)

    worker.answers["build"] = read_and_build
    backend.open_engine(request(), 5)
    assert onnx.load_model_from_string(parsed[0]) == MODEL


def test_measured_tactics_are_kept_for_the_machine(backend: TensorRTBackend, tmp_path: Path) -> None:
    for precision in (Precision.FP16, Precision.FP32):
        backend.open_engine(request(precision=precision), 5)
    (timing,) = tmp_path.glob("cache/timing/*.cache")
    assert timing.read_bytes() == b"tactics\n" * 2


def test_an_implicit_calibrator_gets_the_feeds(
    backend: TensorRTBackend, worker: SimulatedWorker, tmp_path: Path
) -> None:
    options = BuildOptions(quantization=Quantization.IMPLICIT)
    asked = request(precision=Precision.INT8, options=options, calibration=lambda: [IMAGES, IMAGES])
    backend.open_engine(asked, 5)
    calibration = worker.last("build")["calibration"]
    assert calibration["kind"] == "entropy"
    assert [feed["images"].shape for feed in calibration["feeds"]] == [(2, 3, 8, 8)] * 2
    assert path_of(calibration["cache"]).is_relative_to(tmp_path / "cache" / "calibration")


def test_a_calibration_cache_of_the_users_is_read_and_never_written(
    backend: TensorRTBackend, worker: SimulatedWorker, tmp_path: Path
) -> None:
    given = tmp_path / "ranges.cache"
    given.write_bytes(b"TRT-8600-EntropyCalibration2")
    read: list[bytes] = []
    build = worker.answers["build"]

    def read_and_write(fields: dict[str, Any]) -> dict[str, Any]:
        path = path_of(fields["calibration"]["cache"])
        read.append(path.read_bytes())
        path.write_bytes(b"other ranges")
        return build(fields)

    worker.answers["build"] = read_and_write
    options = BuildOptions(quantization=Quantization.IMPLICIT, calibration_cache=given)
    asked = request(precision=Precision.INT8, options=options, calibration=lambda: [IMAGES])
    backend.open_engine(asked, 5)
    assert read == [given.read_bytes()] == [b"TRT-8600-EntropyCalibration2"]
    given.write_bytes(b"changed")
    backend.open_engine(asked, 5)
    assert worker.count("build") == 2


def test_calibrators_and_their_feeds_make_engines_of_their_own(
    backend: TensorRTBackend, worker: SimulatedWorker
) -> None:
    for kind, feed in ((Calibrator.ENTROPY, 1.0), (Calibrator.MIN_MAX, 1.0), (Calibrator.MIN_MAX, 2.0)):
        options = BuildOptions(quantization=Quantization.IMPLICIT, calibrator=kind)
        images = {"images": np.full((2, 3, 8, 8), feed, np.float32)}
        backend.open_engine(
            request(precision=Precision.INT8, options=options, calibration=lambda images=images: [images]), 5
        )
    assert worker.count("build") == 3


@pytest.mark.parametrize("calibration", [None, list])
def test_an_implicit_calibrator_without_feeds_is_refused(backend: TensorRTBackend, calibration: Any) -> None:
    options = BuildOptions(quantization=Quantization.IMPLICIT)
    with pytest.raises(PrecisionError, match=r"expected a \[calibration\] table"):
        backend.open_engine(request(precision=Precision.INT8, options=options, calibration=calibration), 5)


def test_a_dynamic_input_without_a_profile_is_refused(backend: TensorRTBackend, worker: SimulatedWorker) -> None:
    with pytest.raises(ModelError, match=r"images: .* has dynamic dimensions.*\[shapes\]"):
        backend.open_engine(request(profiles=()), 5)
    assert worker.count("build") == 0


def test_a_model_that_the_parser_refuses_names_its_node(backend: TensorRTBackend) -> None:
    broken = conv_relu(batch=1)
    broken.graph.node[1].op_type = "Unsupported"
    with pytest.raises(ModelError, match="'relu'"):
        backend.open_engine(request(OnnxSource(broken, broken), profiles=()), 5)


def test_a_network_function_is_built_from_its_files(
    backend: TensorRTBackend, worker: SimulatedWorker, tmp_path: Path
) -> None:
    code, weights = tmp_path / "network.py", tmp_path / "model.wts"
    code.write_text("def fill(network, weights): ...\n", encoding="utf-8")
    weights.write_text("0\n", encoding="utf-8")
    with backend.open_engine(request(NetworkSource(code, "fill", weights)), 5) as session:
        assert session.run(IMAGES)["logits"].shape == (2, 4, 8, 8)
    assert session.record.source == "network"
    source = worker.last("build")["source"]
    assert (source["kind"], source["function"]) == ("network", "fill")
    assert (path_of(source["file"]), path_of(source["weights"])) == (code, weights)


def shipped(backend: TensorRTBackend, tmp_path: Path, header: dict[str, Any] | None = None) -> Path:
    backend.open_engine(request(), 5).close()
    (plan,) = tmp_path.glob("cache/engines/*/engine.plan")
    text = json.dumps(header).encode() if header is not None else b""
    path = tmp_path / "shipped.engine"
    path.write_bytes((len(text).to_bytes(4, "little") + text if text else b"") + plan.read_bytes())
    return path


@pytest.mark.parametrize("header", [None, {"stride": 32, "task": "detect", "args": {"half": True}}])
def test_an_engine_file_is_loaded_where_it_lies(
    backend: TensorRTBackend, tmp_path: Path, header: dict[str, Any] | None
) -> None:
    path = shipped(backend, tmp_path, header)
    with backend.open_engine(request(EngineFile(path)), 5) as session:
        assert session.run(IMAGES)["logits"].shape == (2, 4, 8, 8)
        record = session.record
    assert (record.source, record.typing, record.build_s, record.size_bytes) == ("file", "", None, path.stat().st_size)
    assert record.metadata == ({"stride": "32", "task": "detect", "args": '{"half": true}'} if header else {})
    assert record.notes == ("built by TensorRT 8.6.0.0",)


def test_an_engine_file_that_is_written_over_is_not_judged_under_its_old_hash(
    backend: TensorRTBackend, worker: SimulatedWorker, tmp_path: Path
) -> None:
    path = shipped(backend, tmp_path)
    with backend.open_engine(request(precision=Precision.FP32), 5) as session:
        another = session._plan.path.read_bytes()
    before = worker.engine_count
    with backend.open_engine(request(EngineFile(path)), 5) as session:
        path.write_bytes(another)
        with pytest.raises(BackendError, match=r"shipped\.engine: was written over while it was judged \(SHA-256 "):
            session.reload()
        assert session.run(IMAGES)["logits"].shape == (2, 4, 8, 8)
    assert worker.engine_count == before


def test_an_engine_of_another_tensorrt_says_which(tmp_path: Path) -> None:
    path = shipped(TensorRTBackend(SimulatedWorker("10.16.1.11"), tmp_path / "cache"), tmp_path)
    older = TensorRTBackend(SimulatedWorker(), tmp_path / "cache")
    with pytest.raises(BackendError, match=r"built by TensorRT 10\.16\.1\.11, this is 8\.6\.0: name an interpreter"):
        older.open_engine(request(EngineFile(path)), 5)


def test_a_damaged_engine_file_is_named(backend: TensorRTBackend, tmp_path: Path) -> None:
    path = shipped(backend, tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BackendError, match=r"shipped\.engine: cannot deserialize"):
        backend.open_engine(request(EngineFile(path)), 5)


def test_an_engine_file_that_the_worker_refuses_is_named_once(
    backend: TensorRTBackend, worker: SimulatedWorker, tmp_path: Path
) -> None:
    path = shipped(backend, tmp_path)

    def refuse(fields: dict[str, Any]) -> dict[str, Any]:
        raise ModelError(str(refusal(fields["offset"], "Unexpected end of memory buffer: 12", "8.6.0")))

    worker.answers["load"] = refuse
    with pytest.raises(ModelError, match=r"shipped\.engine: the plan is truncated or damaged") as caught:
        backend.open_engine(request(EngineFile(path)), 5)
    assert str(caught.value).count(path.name) == 1


@pytest.mark.parametrize("calibration", [None, list])
def test_a_calibration_cache_alone_is_refused_and_says_what_is_needed_too(
    backend: TensorRTBackend, tmp_path: Path, calibration: Any
) -> None:
    (tmp_path / "ranges.cache").write_bytes(b"TRT-8600-EntropyCalibration2")
    options = BuildOptions(quantization=Quantization.IMPLICIT, calibration_cache=tmp_path / "ranges.cache")
    with pytest.raises(
        PrecisionError, match=r"\[calibration\] table in the case file, with a calibration_cache as well"
    ):
        backend.open_engine(request(precision=Precision.INT8, options=options, calibration=calibration), 5)


def test_open_builds_a_static_model_in_float32(backend: TensorRTBackend, worker: SimulatedWorker) -> None:
    with backend.open(conv_relu(batch=2), SessionOptions(timeout_s=9)) as session:
        assert session.run(IMAGES)["logits"].shape == (2, 4, 8, 8)
    assert worker.last("build")["precision"] == "fp32"


def test_a_model_is_written_as_one_file(tmp_path: Path) -> None:
    assert onnx.load(write_model(MODEL, tmp_path)) == MODEL


class TooLarge:
    """A model that protobuf refuses to serialize in one piece."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        raise ValueError("Message onnx.ModelProto exceeds maximum protobuf size of 2GB")


def test_a_model_above_protobufs_limit_is_written_with_its_weights_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = np.ones((64, 64), np.float32)
    value = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [64, 64])
    node = helper.make_node("Identity", ["w"], ["y"], "copy")
    graph = helper.make_graph([node], "large", [], [value], [onnx.numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph)
    monkeypatch.setattr(onnx.ModelProto, "CopyFrom", lambda self, other: self.MergeFrom(other.model), raising=True)
    path = write_model(TooLarge(model), tmp_path)  # type: ignore[arg-type]  # a stand-in for 2 GiB
    assert (tmp_path / "weights.bin").stat().st_size == weights.nbytes
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(onnx.load(path).graph.initializer[0]), weights)


def test_interpreters_of_one_version_are_told_apart_and_all_are_closed() -> None:
    workers = [SimulatedWorker(release) for release in ("8.6.0", "10.16.1.11", "8.6.0", "8.6.0")]
    with converse(workers, TensorRTSettings()) as backends:
        assert [backend.name for backend in backends] == [
            "tensorrt-8.6",
            "tensorrt-10.16",
            "tensorrt-8.6-2",
            "tensorrt-8.6-3",
        ]
        assert [backend.worker.name for backend in backends] == [backend.name for backend in backends]
        assert select_backends(backends, "tensorrt") == backends
        assert select_backends(backends, "tensorrt-10.16") == backends[1:2]
        with pytest.raises(BackendError, match=r"tensorrt-8\.6, tensorrt-10\.16"):
            select_backends(backends, "tensorrt-11.4")
    assert all(worker.is_closed for worker in workers)


def test_a_worker_that_fails_at_its_start_leaves_no_other_running() -> None:
    sound, broken = SimulatedWorker(), SimulatedWorker(hello={"packages": {}})
    with pytest.raises(BackendUnavailable), converse([sound, broken], TensorRTSettings()):
        pass
    assert sound.is_closed
    assert broken.is_closed


def test_the_gpu_of_the_settings_is_asked_for() -> None:
    worker = SimulatedWorker()
    with converse([worker], TensorRTSettings(device=3)):
        assert worker.last("hello") == {"device": 3}


def test_backends_of_this_process_are_opened_by_name() -> None:
    with open_backends(("onnxruntime", "fake"), TensorRTSettings()) as backends:
        assert [backend.name for backend in backends] == ["onnxruntime", "fake"]
    assert get_backend("onnxruntime-cuda").name == "onnxruntime-cuda"


def test_a_backend_that_is_not_known_is_refused() -> None:
    with (
        pytest.raises(BackendError, match="'tensorflow': not known"),
        open_backends(("tensorflow",), TensorRTSettings()),
    ):
        pass


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-8.6"])
def test_an_interpreter_that_is_not_there_is_named(name: str) -> None:
    settings = TensorRTSettings(interpreters=("/nowhere/python",))
    with pytest.raises(BackendUnavailable, match="/nowhere/python"), open_backends((name,), settings):
        pass


def test_one_name_given_twice_is_one_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    from parity.backends.tensorrt import process

    monkeypatch.setattr(process, "LiveConversation", lambda _interpreter: SimulatedWorker("10.16.1.11"))
    with open_backends(("tensorrt", "onnxruntime", "tensorrt-10.16"), TensorRTSettings()) as backends:
        assert [backend.name for backend in backends] == ["tensorrt-10.16", "onnxruntime"]
