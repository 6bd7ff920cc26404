"""A recording behind the whole TensorRT backend: the engines, answers and refusals of the worker that was recorded."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.backends.engine import EngineRequest, OnnxSource
from parity.backends.tensorrt.backend import TensorRTBackend
from parity.backends.tensorrt.recording import RecordingConversation, ReplayConversation
from parity.build_options import BuildOptions
from parity.errors import BackendError, PrecisionError
from parity.tolerance import Precision
from tests.simulated_worker import SimulatedWorker
from tests.tiny_cases import two_matmuls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from parity.backends.tensorrt.conversation import Conversation
    from parity.results import EngineRecord

FEED = {"x": np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)}


def request(precision: Precision = Precision.FP16, scale: float = 1.0, level: int | None = None) -> EngineRequest:
    options = replace(BuildOptions(), optimization_level=level)
    source = OnnxSource(two_matmuls(scale), two_matmuls(scale))
    return EngineRequest(source, precision, keep_precision=Precision.FP32, options=options)


def judge(conversation: Conversation, cache: Path | None = None) -> tuple[EngineRecord, np.ndarray, list[str]]:
    """Return an engine's record, its output, and the names of its layers."""
    backend = TensorRTBackend(conversation, cache)
    session = backend.open_engine(request(), 60.0)
    answer = session.record, session.infer(FEED).outputs["y"], [layer.name for layer in session.layer_times(FEED, 3)]
    session.close()
    backend.close()
    return answer


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    judge(RecordingConversation(SimulatedWorker("8.6.0"), tmp_path / "recording"))
    return tmp_path / "recording"


def test_a_replayed_backend_gives_the_recorded_engine_and_its_outputs(recording: Path) -> None:
    live, replayed = judge(SimulatedWorker("8.6.0")), judge(ReplayConversation(recording))
    assert replayed[0].sha256 == live[0].sha256
    assert replayed[0] == live[0]
    np.testing.assert_array_equal(replayed[1], live[1])
    assert replayed[2] == live[2]


def test_replayed_engines_are_kept_in_the_cache_and_apart_from_real_ones(recording: Path, tmp_path: Path) -> None:
    sources = [judge(ReplayConversation(recording), tmp_path / "cache")[0].source for _ in range(2)]
    assert sources == ["built", "cache"]
    assert judge(SimulatedWorker("8.6.0"), tmp_path / "cache")[0].source == "built"


@pytest.fixture
def replayed(recording: Path) -> Iterator[TensorRTBackend]:
    with closing(TensorRTBackend(ReplayConversation(recording), None)) as backend:
        yield backend


def test_the_workers_record_says_that_it_is_a_recording(replayed: TensorRTBackend) -> None:
    assert replayed.name == "tensorrt-8.6"
    assert "recording" in replayed.worker.packages


def test_another_gpu_is_refused(recording: Path) -> None:
    with pytest.raises(BackendError, match=r"no answer to this hello: device: asked 1, recorded 0"):
        TensorRTBackend(ReplayConversation(recording), None, device=1)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (request(scale=2.0), r"source\.model: asked a file of"),
        (request(level=5), r"options\.optimization_level: asked 5, recorded nothing"),
        (request(Precision.FP32), r'precision: asked "fp32", recorded "fp16"'),
    ],
)
def test_another_model_option_or_precision_is_refused_before_anything_is_loaded(
    replayed: TensorRTBackend, other: EngineRequest, told: str
) -> None:
    with pytest.raises(BackendError, match=told):
        replayed.open_engine(other, 60.0)


def test_another_feed_is_refused(replayed: TensorRTBackend) -> None:
    session = replayed.open_engine(request(), 60.0)
    with pytest.raises(BackendError, match=r"tensors\.x: asked float32 \[4, 8\] of SHA-256"):
        session.infer({"x": FEED["x"] + 1})


def test_a_precision_that_the_recorded_tensorrt_lacks_is_refused_as_by_itself(replayed: TensorRTBackend) -> None:
    with pytest.raises(PrecisionError):
        replayed.open_engine(request(Precision.BF16), 60.0)
