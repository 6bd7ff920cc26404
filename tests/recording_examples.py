"""Conversations to record: a worker that answers in form alone, the requests to ask it, and one recording of them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from parity.backends.tensorrt.conversation import SentFile, WrittenFile
from parity.backends.tensorrt.recording import RecordingConversation

if TYPE_CHECKING:
    from pathlib import Path

    from parity.errors import ParityError

    Fields = dict[str, Any]

PLAN = b"a plan of TensorRT" * 100
INSPECTED = json.dumps({"Layers": [f"layer {i}" for i in range(500)]})


class CountingWorker:
    """Answers as a worker in form; each inference gives its own number, each load a handle of its process."""

    def __init__(self) -> None:
        self.generation = 1
        self.inferences = 0
        self.handles = 0
        self.is_closed = False
        self.raises: ParityError | None = None

    def ask(self, operation: str, fields: Fields, timeout_s: float) -> Fields:
        self.last_timeout_s = timeout_s
        if self.raises is not None:
            raise self.raises
        answer: Fields = getattr(self, f"answer_{operation}")(fields)
        return answer

    def close(self) -> None:
        self.is_closed = True

    def answer_hello(self, _fields: Fields) -> Fields:
        return {"packages": {"tensorrt": "8.6.0"}, "memory_bytes": np.int64(5)}

    def answer_build(self, fields: Fields) -> Fields:
        fields["plan"].path.write_bytes(PLAN)
        if fields["timing_cache"] is not None:
            fields["timing_cache"].path.write_bytes(b"tactics")
        return {"sha256": hashlib.sha256(PLAN).hexdigest(), "build_s": 12.25, "messages": [], "flags": ["FP16"]}

    def answer_load(self, _fields: Fields) -> Fields:
        self.handles += 1
        return {"engine": self.handles, "bindings": [{"name": "x", "shape": [2, 3]}]}

    def answer_inspect(self, _fields: Fields) -> Fields:
        return {"json": INSPECTED}

    def answer_infer(self, fields: Fields) -> Fields:
        self.inferences += 1
        x = fields["tensors"]["x"]
        outputs = {"z": x + np.float32(self.inferences), "$array": x.astype(ml_dtypes.bfloat16), "empty": x[:0]}
        return {"tensors": outputs, "unwritten": {}, "gpu_ms": 0.5}


def build_fields(folder: Path, model: bytes = b"an ONNX model", **options: Any) -> Fields:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model)
    return {
        "source": {"kind": "onnx", "model": SentFile(folder / "model.onnx")},
        "precision": "fp16",
        "keep": [],
        "options": {"optimization_level": 3, **options},
        "profiles": [{"x": {"min": (1, 3), "opt": (2, 3), "max": (4, 3)}}],
        "calibration": {"kind": "entropy", "feeds": [{"x": np.zeros((2, 3), np.float32)}], "cache": None},
        "timing_cache": WrittenFile(folder / "timing.cache"),
        "plan": WrittenFile(folder / "model.plan"),
    }


def infer_fields(engine: int, value: float = 1.0, **more: Any) -> Fields:
    return {"engine": engine, "tensors": {"x": np.full((2, 3), value, np.float32)}, "profile": 0, **more}


def load_fields(plan: Path) -> Fields:
    return {"plan": SentFile(plan), "offset": 0, "options": {}}


def converse(conversation: Any, folder: Path) -> list[Fields]:
    """Build, load, inspect and infer once; return the answers."""
    build = build_fields(folder)
    built = conversation.ask("build", build, 60.0)
    loaded = conversation.ask("load", load_fields(build["plan"].path), 60.0)
    inspected = conversation.ask("inspect", {"engine": loaded["engine"]}, 60.0)
    return [built, loaded, inspected, conversation.ask("infer", infer_fields(loaded["engine"]), 60.0)]


def record(folder: Path) -> Path:
    """Return the folder of one recorded build, load, inspection and inference."""
    converse(RecordingConversation(CountingWorker(), folder / "recording"), folder / "live")
    return folder / "recording"
