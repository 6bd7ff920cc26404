"""A build answers with a whole plan and all that was said and done, or says why there is none."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from parity.worker import cuda
from parity.worker.build import build
from parity.worker.errors import CudaLost, FeedRefused, ModelRefused, PrecisionMissing, WorkerError
from parity.worker.heard import listener
from parity.worker.tensor import Tensor
from tests.fake_pycuda import FakeGpu
from tests.fake_tensorrt import fake_tensorrt

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAN = b"plan" * 100

Answers = dict[str, Any]
Install = Callable[..., Any]


def _parse_into(parser: Any, _model: str) -> bool:
    """Fill the network that the parser was made for: one input, one convolution."""
    network = parser.calls[0][1][0]
    trt = network.module
    x = network.add_input("x", trt.DataType.FLOAT, (1, 3))
    network.mark_output(x)
    layer = SimpleNamespace(name="conv", metadata="", type=trt.LayerType.CONVOLUTION, num_outputs=1)
    layer.precision = None
    layer.get_output = lambda _index: SimpleNamespace(
        name="y", dtype=trt.DataType.FLOAT, is_shape_tensor=False, is_network_output=True
    )
    layer.set_output_type = lambda _index, _dtype: None
    network.kept("layers", list).append(layer)
    return True


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGpu]:
    stand_in = FakeGpu()
    stand_in.install(monkeypatch)
    yield stand_in
    cuda.release()
    listener.cache_clear()


@pytest.fixture
def install(gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> Install:
    def put(release: str, **answers: Any) -> Any:
        """Answers by ``Class__member``, as keywords."""
        given: Answers = {
            "Builder.build_serialized_network": lambda *_: PLAN,
            "OnnxParser.parse_from_file": _parse_into,
            "OnnxParser.num_errors": 0,
            "nptype": lambda _dtype: np.float32,
            **{name.replace("__", "."): answer for name, answer in answers.items()},
        }
        trt = fake_tensorrt(release, given)
        monkeypatch.setitem(sys.modules, "tensorrt", trt)
        # Polygraphy keeps the module that it saw first; an older one would answer for this test's.
        for name in [name for name in sys.modules if name.split(".")[0] == "polygraphy"]:
            monkeypatch.delitem(sys.modules, name)
        return trt

    return put


def _state() -> Any:
    return SimpleNamespace(log=lambda *_: None, tell_share=lambda _share: None)


def _request(folder: Path, **fields: Any) -> dict[str, Any]:
    return {
        "source": {"kind": "onnx", "model": str(folder / "model.onnx")},
        "precision": "fp16",
        "typing": "weak",
        "obey": False,
        "keep": [],
        "keep_precision": "fp32",
        "options": {},
        "profiles": [],
        "calibration": None,
        "timing_cache": None,
        "plan": str(folder / "model.plan"),
        **fields,
    }


def _saying(severity: str, text: str, answer: Any) -> Callable[..., Any]:
    """Return a builder's method that logs a line before it answers."""

    def serialize(builder: Any, *_: Any) -> Any:
        logger = builder.calls[0][1][0]
        logger.log(getattr(builder.module.ILogger.Severity, severity), text)
        return answer

    return serialize


def test_the_plan_is_written_whole_and_described(install: Install, tmp_path: Path) -> None:
    install("8.6.0")
    answer = build(_state(), _request(tmp_path))
    assert Path(tmp_path / "model.plan").read_bytes() == PLAN
    assert (answer["sha256"], answer["size_bytes"]) == (hashlib.sha256(PLAN).hexdigest(), len(PLAN))
    assert answer["build_s"] > 0
    assert "FP16" in answer["flags"]
    assert "TF32" not in answer["flags"]
    assert (answer["typing"], answer["messages"]) == ("weak", [])
    assert [path.name for path in tmp_path.iterdir()] == ["model.plan"]


@pytest.mark.parametrize("release", ["10.0.1", "11.4.0.106"])
def test_a_build_tells_the_steps_that_the_builder_reports(install: Install, tmp_path: Path, release: str) -> None:
    shares: list[float] = []

    def serialize(_builder: Any, _network: Any, config: Any) -> Any:
        config.progress_monitor.phase_start("build", None, 2)
        config.progress_monitor.step_complete("build", 0)
        return PLAN

    install(release, Builder__build_serialized_network=serialize)
    state = SimpleNamespace(log=lambda *_: None, tell_share=shares.append)
    build(state, _request(tmp_path, typing="strong"))
    assert shares == [0.5]


@pytest.mark.parametrize("release", ["10.0.1", "10.16.1.11", "11.4.0.106"])
def test_a_strongly_typed_build_sets_no_precision_flag(install: Install, tmp_path: Path, release: str) -> None:
    install(release)
    answer = build(_state(), _request(tmp_path, typing="strong"))
    assert answer["typing"] == "strong"
    assert not {"FP16", "OBEY_PRECISION_CONSTRAINTS"} & set(answer["flags"])


def test_on_8_6_held_layers_stand_in_for_strong_typing(install: Install, tmp_path: Path) -> None:
    install("8.6.0")
    answer = build(_state(), _request(tmp_path, typing="strong", obey=True, types={"conv": "fp16"}))
    assert answer["typing"] == "weak"
    assert {"FP16", "OBEY_PRECISION_CONSTRAINTS"} <= set(answer["flags"])
    assert "1 of 1 layers are held at the types of the model" in answer["notes"]


def test_a_precision_without_its_flag_is_never_built_in_float32(install: Install, tmp_path: Path) -> None:
    trt = install("11.4.0.106")
    with pytest.raises(PrecisionMissing, match="types every network by its model"):
        build(_state(), _request(tmp_path))
    assert not (tmp_path / "model.plan").exists()
    assert trt.__version__ == "11.4.0.106"


def test_a_tensor_to_observe_is_marked_before_the_build_and_one_that_is_absent_is_noted(
    install: Install, tmp_path: Path
) -> None:
    marked: list[int] = []

    def serialize(_builder: Any, network: Any, _config: Any) -> bytes:
        marked.append(network.num_outputs)
        return PLAN

    install("8.6.0", Builder__build_serialized_network=serialize)
    observe = {"tensors": ["absent"], "how": "output", "half": []}
    with pytest.raises(PrecisionMissing, match="observe: TensorRT 8"):
        build(_state(), _request(tmp_path, observe={**observe, "how": "debug"}))
    assert "the network has no tensor absent" in build(_state(), _request(tmp_path, observe=observe))["notes"]
    assert marked == [1]
    assert not any("tensor" in note for note in build(_state(), _request(tmp_path))["notes"])


def test_kept_nodes_are_layers_held_at_their_precision(install: Install, tmp_path: Path) -> None:
    install("10.16.1.11")
    answer = build(_state(), _request(tmp_path, keep=["conv"], obey=True))
    assert "1 kept nodes are 1 layers held at fp32" in answer["notes"]
    with pytest.raises(ModelRefused, match="comes from 'cnov'"):
        build(_state(), _request(tmp_path, keep=["cnov"]))


def _parse_suppression(parser: Any, model: str) -> bool:
    """Fill the network with a convolution and a suppression behind it, which reads floats and gives indices."""
    _parse_into(parser, model)
    network = parser.calls[0][1][0]
    trt = network.module
    layer = SimpleNamespace(name="nms", metadata="", type=trt.LayerType.NMS, num_outputs=1, num_inputs=1)
    layer.get_input = lambda _index: SimpleNamespace(dtype=trt.DataType.FLOAT)
    layer.get_output = lambda _index: SimpleNamespace(
        name="kept", dtype=trt.DataType.INT32, is_shape_tensor=False, is_network_output=True
    )
    network.kept("layers", list).append(layer)
    return True


def test_a_kept_node_that_takes_no_precision_is_noted(install: Install, tmp_path: Path) -> None:
    install("8.6.0", OnnxParser__parse_from_file=_parse_suppression)
    [held, free] = [
        note for note in build(_state(), _request(tmp_path, keep=["conv", "nms"], obey=True))["notes"] if "kept" in note
    ]
    assert held == "2 kept nodes are 1 layers held at fp32"
    assert free.startswith("kept, and yet not held at fp32: nms; a layer that reads floats and gives none")


def test_messages_of_the_build_are_told_by_kind(install: Install, tmp_path: Path) -> None:
    install("8.6.0", Builder__build_serialized_network=_saying("WARNING", "Detected subnormal FP16 values.", PLAN))
    (message,) = build(_state(), _request(tmp_path))["messages"]
    assert (message["severity"], message["kind"], message["count"]) == ("warning", "subnormal-weights", 1)


def test_messages_of_an_earlier_build_are_forgotten(install: Install, tmp_path: Path) -> None:
    install("8.6.0", Builder__build_serialized_network=_saying("WARNING", "x", PLAN))
    counts = [build(_state(), _request(tmp_path))["messages"][0]["count"] for _ in range(2)]
    assert counts == [1, 1]


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        (
            "Could not find any implementation for node /head/Einsum.",
            ModelRefused,
            r"refuses model\.onnx: .*/head/Einsum",
        ),
        ("Skipping tactic 0x3 due to exception Assertion axis failed.", ModelRefused, "refuses model.*Assertion axis"),
        ("Skipping tactic 1 due to insufficient memory on requested size of 8", WorkerError, "out of memory"),
        ("Error Code 2: OutOfMemory (no further information)", WorkerError, r"out of memory, 3072 MiB .*workspace"),
        ("Cuda Runtime (an illegal memory access was encountered)", CudaLost, "cannot be used any more"),
    ],
)
def test_no_plan_is_told_with_its_cause(
    install: Install, tmp_path: Path, text: str, kind: type[Exception], expected: str
) -> None:
    install("8.6.0", Builder__build_serialized_network=_saying("ERROR", text, None))
    with pytest.raises(WorkerError, match=expected) as caught:
        build(_state(), _request(tmp_path))
    assert caught.type is kind
    assert not (tmp_path / "model.plan").exists()


def test_no_plan_without_a_logged_error_says_so(install: Install, tmp_path: Path) -> None:
    install("10.0.1", Builder__build_serialized_network=lambda *_: None)
    with pytest.raises(ModelRefused, match="TensorRT logged no error"):
        build(_state(), _request(tmp_path))


def test_the_timing_cache_is_written_and_taken_next_time(install: Install, tmp_path: Path) -> None:
    install("8.6.0", ITimingCache__serialize=lambda cache: cache.data + b"+tactics")
    request = _request(tmp_path, timing_cache=str(tmp_path / "tactics"))
    first = build(_state(), request)
    second = build(_state(), request)
    assert (tmp_path / "tactics").read_bytes() == b"+tactics+tactics"
    assert any("is new" in note for note in first["notes"])
    assert second["notes"] == []


def test_a_refused_timing_cache_is_a_note_and_begun_anew(install: Install, tmp_path: Path) -> None:
    (tmp_path / "tactics").write_bytes(b"of another GPU")

    def take(config: Any, cache: Any, ignore_mismatch: bool) -> bool:
        if cache.data:
            return False
        config.kept("timing_cache", list).append(cache)
        return True

    install("8.6.0", IBuilderConfig__set_timing_cache=take)
    answer = build(_state(), _request(tmp_path, timing_cache=str(tmp_path / "tactics")))
    assert [note for note in answer["notes"] if "refuses the timing cache" in note]
    assert (tmp_path / "tactics").read_bytes() == b""


def _calibration(count: int = 2, dtype: str = "float32") -> dict[str, Any]:
    feeds = [{"x": Tensor(np.zeros((1, 3), dtype), dtype)} for _ in range(count)]
    return {"kind": "entropy", "feeds": feeds, "cache": None}


def _calibrating(names: list[str]) -> Callable[..., bytes]:
    """Return a builder's method that asks the calibrator for every batch, as TensorRT does."""

    def serialize(_builder: Any, _network: Any, config: Any) -> bytes:
        config.int8_calibrator.read_calibration_cache()
        while config.int8_calibrator.get_batch(names):
            pass
        return PLAN

    return serialize


def test_an_implicit_int8_build_runs_every_feed(install: Install, gpu: FakeGpu, tmp_path: Path) -> None:
    install("8.6.0", Builder__build_serialized_network=_calibrating(["x"]))
    answer = build(_state(), _request(tmp_path, precision="int8", calibration=_calibration()))
    assert "INT8" in answer["flags"]
    assert "calibrated on 2 feeds of 1 rows" in answer["notes"]
    assert gpu.allocations
    assert all(held.is_free for held in gpu.allocations)


def test_what_fails_in_a_callback_fails_the_build(install: Install, gpu: FakeGpu, tmp_path: Path) -> None:
    install("8.6.0", Builder__build_serialized_network=_calibrating(["y"]))
    with pytest.raises(FeedRefused, match="the feeds lack y"):
        build(_state(), _request(tmp_path, precision="int8", calibration=_calibration()))
    assert not (tmp_path / "model.plan").exists()


def test_a_calibrator_where_there_are_none_is_refused(install: Install, tmp_path: Path) -> None:
    install("11.4.0.106")
    with pytest.raises(PrecisionMissing, match="has no calibrators"):
        build(_state(), _request(tmp_path, precision="int8", typing="strong", calibration=_calibration()))


def test_a_folder_that_is_not_there_is_told_by_name(install: Install, tmp_path: Path) -> None:
    install("8.6.0")
    with pytest.raises(WorkerError, match=r"absent/model\.plan cannot be written: No such file"):
        build(_state(), _request(tmp_path, plan=str(tmp_path / "absent" / "model.plan")))


def test_a_network_function_is_built_too(install: Install, tmp_path: Path) -> None:
    install("8.6.0")
    (tmp_path / "network.py").write_text(
        "def build(network, weights, trt):\n    network.mark_output(network.add_input('x', trt.float32, (1, 3)))\n"
    )
    source = {"kind": "network", "file": str(tmp_path / "network.py"), "function": "build", "weights": None}
    assert build(_state(), _request(tmp_path, source=source))["size_bytes"] == len(PLAN)
