"""What TensorRT answered on a GPU for ``tests/data/recorded_case``, and how it is judged again from the recording."""

from __future__ import annotations

import json

from tests.pages import ROOT

CASE = ROOT / "tests/data/recorded_case"
RECORDING = ROOT / "tests/data/recordings/h200-tensorrt-8.6"
INTERPRETER = f"recording={RECORDING}"
CHECKS = ("outputs", "census", "invariants")
JUDGED = ("fp32", "tf32", "fp16", "int8_entropy")
REFUSED = "bf16"

VERDICTS = {
    **{(variant, check): "pass" for variant in JUDGED for check in CHECKS},
    **{(REFUSED, check): "error" for check in CHECKS},
}


def recorded_engines() -> dict[str, str]:
    """Return the SHA-256 of the engine that TensorRT built for each variant, as the recording's own lines have it."""
    lines = (RECORDING / "conversation.jsonl").read_text(encoding="utf-8").splitlines()
    bodies = [json.loads(line)["body"] for line in lines]
    hashes = [body["answer"]["sha256"] for body in bodies if body["operation"] == "build"]
    return dict(zip(JUDGED, hashes, strict=True))
