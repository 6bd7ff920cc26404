"""The simulated worker is trusted by other tests: it answers as it should, and each planted fault shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from parity.backends.tensorrt.conversation import SentFile, WrittenFile
from parity.errors import BackendCrash, BackendError, BackendTimeout, PrecisionError
from tests.simulated_worker import CAPABILITIES, Faults, SimulatedWorker
from tests.tiny_models import conv_relu

if TYPE_CHECKING:
    from pathlib import Path

_PROFILE = {"images": {"min": [1, 3, 8, 8], "opt": [2, 3, 8, 8], "max": [4, 3, 8, 8]}}
_IMAGES = np.random.default_rng(1).standard_normal((3, 3, 8, 8)).astype(np.float32)


def _fields(folder: Path, **changed: Any) -> dict[str, Any]:
    model = folder / "model.onnx"
    model.write_bytes(conv_relu().SerializeToString())
    return {
        "source": {"kind": "onnx", "model": SentFile(model)},
        "precision": "fp32",
        "typing": "weak",
        "obey": False,
        "keep": [],
        "keep_precision": "fp32",
        "options": {},
        "profiles": [_PROFILE],
        "calibration": None,
        "timing_cache": None,
        "plan": WrittenFile(folder / "engine.plan"),
    } | changed


def _loaded(worker: SimulatedWorker, folder: Path, **changed: Any) -> int:
    worker.ask("build", _fields(folder, **changed), 1)
    answer = worker.ask("load", {"plan": SentFile(folder / "engine.plan"), "offset": 0, "options": {}}, 1)
    return int(answer["engine"])


def _infer(worker: SimulatedWorker, engine: int, **changed: Any) -> dict[str, Any]:
    fields = {"engine": engine, "tensors": {"images": _IMAGES}, "profile": 0}
    return worker.ask("infer", fields | {"fresh_context": False, "find_unwritten": False} | changed, 1)


def _logits(folder: Path, faults: Faults | None = None, **changed: Any) -> np.ndarray:
    worker = SimulatedWorker(faults=faults)
    array: np.ndarray = _infer(worker, _loaded(worker, folder, **changed))["tensors"]["logits"]
    return array


def _error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.sqrt(np.mean((actual - expected) ** 2) / np.mean(expected**2)))


@pytest.mark.parametrize(("precision", "least", "most"), [("tf32", 1e-5, 2e-3), ("fp16", 1e-5, 2e-3)])
def test_a_reduced_precision_rounds(tmp_path: Path, precision: str, least: float, most: float) -> None:
    exact = _logits(tmp_path)
    assert least < _error(_logits(tmp_path, precision=precision), exact) < most


def test_a_silent_fp32_engine_does_not_round(tmp_path: Path) -> None:
    exact = _logits(tmp_path)
    assert _error(_logits(tmp_path, Faults(is_silent_fp32=True), precision="fp16"), exact) < 1e-6


@pytest.mark.parametrize("release", CAPABILITIES)
def test_an_inspector_has_the_schema_of_its_release(tmp_path: Path, release: str) -> None:
    worker = SimulatedWorker(release)
    typing = "weak" if worker.capabilities["weakly_typed"] else "strong"
    engine = _loaded(worker, tmp_path, precision="fp16", typing=typing)
    told = json.loads(worker.ask("inspect", {"engine": engine}, 1)["json"])
    assert ("I/O Tensors" in told) == release.startswith("11")
    output = told["Layers"][0]["Outputs"][0]
    assert output.get("Datatype") == "half" or "FP16" in output["Format/Datatype"]


def test_a_feed_outside_the_profile_is_refused(tmp_path: Path) -> None:
    worker = SimulatedWorker()
    with pytest.raises(BackendError, match="outside profile 0"):
        _infer(worker, _loaded(worker, tmp_path), tensors={"images": np.zeros((5, 3, 8, 8), np.float32)})


@pytest.mark.parametrize(
    ("faults", "error"),
    [(Faults(crash_at=0), BackendCrash), (Faults(hang_at=0), BackendTimeout)],
    ids=["crash", "hang"],
)
def test_a_lost_worker_is_replaced_without_its_engines(
    tmp_path: Path, faults: Faults, error: type[BackendError]
) -> None:
    worker = SimulatedWorker(faults=faults)
    engine = _loaded(worker, tmp_path)
    with pytest.raises(error):
        _infer(worker, engine)
    assert worker.generation == 1
    with pytest.raises(BackendError, match="is not loaded"):
        _infer(worker, engine)
    assert worker.generation == 2


@pytest.mark.parametrize("faults", [Faults(rolls_rows=True), Faults(leak=0.5), Faults(unwritten_count=9)])
def test_a_fault_of_values_shows(tmp_path: Path, faults: Faults) -> None:
    assert not np.array_equal(_logits(tmp_path, faults), _logits(tmp_path))


def test_a_drifting_engine_never_answers_twice_alike(tmp_path: Path) -> None:
    worker = SimulatedWorker(faults=Faults(drift=1e-3))
    engine = _loaded(worker, tmp_path)
    first, second = (_infer(worker, engine)["tensors"]["logits"] for _ in range(2))
    assert not np.array_equal(first, second)


def test_unwritten_elements_are_told_only_when_asked(tmp_path: Path) -> None:
    worker = SimulatedWorker(faults=Faults(unwritten_count=9))
    engine = _loaded(worker, tmp_path)
    assert _infer(worker, engine)["unwritten"] == {}
    assert _infer(worker, engine, find_unwritten=True)["unwritten"] == {"logits": 9}


def test_what_a_release_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrecisionError, match="bf16"):
        SimulatedWorker().ask("build", _fields(tmp_path, precision="bf16"), 1)


@pytest.mark.parametrize("position", [0, 30, -5])
def test_a_damaged_plan_is_not_loaded(tmp_path: Path, position: int) -> None:
    worker = SimulatedWorker()
    worker.ask("build", _fields(tmp_path), 1)
    content = bytearray((tmp_path / "engine.plan").read_bytes())
    content[position] ^= 0xFF
    (tmp_path / "engine.plan").write_bytes(content)
    with pytest.raises(BackendError, match="cannot deserialize"):
        worker.ask("load", {"plan": SentFile(tmp_path / "engine.plan"), "offset": 0, "options": {}}, 1)
