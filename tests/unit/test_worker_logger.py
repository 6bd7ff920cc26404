"""What TensorRT logs is kept, counted and sorted; nothing of it crosses back into TensorRT."""

from __future__ import annotations

from typing import Any

import pytest

from parity.worker.logger import Messages, classify, make_logger
from tests.fake_tensorrt import RELEASES, fake_tensorrt

# Texts as TensorRT 8.5 to 10 write them; the first eight are in the libraries of 8.6.0 too.
TEXTS = [
    ("subnormal-weights", " - 12 weights are affected by this issue: Detected subnormal FP16 values."),
    (
        "subnormal-weights",
        (
            "- 3 weights are affected by this issue: Detected values less than smallest positive FP16 subnormal value "
            "and converted them to the FP16 minimum subnormalized value."
        ),
    ),
    (
        "weights-clamped",
        (
            "- 1 weights are affected by this issue: Detected finite FP32 values which would overflow in FP16 and "
            "converted them to the closest finite FP16 value."
        ),
    ),
    (
        "subnormal-weights",
        "TensorRT encountered issues when converting weights between types and that could affect accuracy.",
    ),
    (
        "missing-scales",
        (
            "Missing scale and zero-point for tensor /fc/out, expect fall back to non-int8 implementation for any "
            "layer consuming or producing given tensor"
        ),
    ),
    (
        "missing-dynamic-range",
        "Calibrator is not being used. Users must provide dynamic range for all tensors that are not Int32 or Bool.",
    ),
    ("int64-clamped", "One or more weights outside the range of INT32 was clamped"),
    ("fallback", "Loop has insufficient context to run reliably in auto-tuner. Falling back to heuristic estimate"),
    (
        "int64-clamped",
        (
            "onnx2trt_utils.cpp:374: Your ONNX model has been generated with INT64 weights, while TensorRT does not "
            "natively support INT64. Attempting to cast down to INT32."
        ),
    ),
    ("timing-cache", "The timing cache will not be used!"),
    (
        "tactic-skipped",
        "Skipping tactic 0 due to insufficient memory on requested size of 8589934592 detected for tactic 0x02",
    ),
    (
        "tactic-skipped",
        "Tactic Device request: 5632MB Available: 3000MB. Device memory is insufficient to use tactic.",
    ),
    ("memory", "Error Code 2: OutOfMemory (no further information)"),
    ("memory", "Requested amount of GPU memory (17179869184 bytes) could not be allocated."),
    ("memory", "Unable to determine GPU memory usage"),
    (
        "overflow-risk",
        (
            "Running layernorm after self-attention in FP16 may cause overflow. Forcing layernorm layers to run in "
            "FP32 precision can help with preserving accuracy."
        ),
    ),
    ("overflow-risk", "Detected layernorm nodes in FP16: /norm/Div, /norm/Mul"),
    (
        "fallback",
        (
            "No implementation of layer conv obeys the requested constraints in strict mode. No conforming "
            "implementation was found i.e. requested layer computation precision and output precision types are "
            "ignored, using the fastest implementation."
        ),
    ),
    ("deprecated", "The enqueue() method has been deprecated when used with engines built from a network"),
    ("plugin", "getPluginCreator could not find plugin: BatchedNMS_TRT version: 1"),
    ("lazy-loading", "CUDA lazy loading is not enabled. Enabling it can significantly reduce device memory usage"),
    (
        "foreign-plan",
        (
            "Using an engine plan file across different models of devices is not recommended and is likely to affect "
            "performance or even cause errors."
        ),
    ),
    ("myelin", "[myelin] autotuner: no kernel for region 4"),
    ("other", "Error Code 4: Internal Error (images: dynamic input is missing dimensions in profile 0.)"),
]


@pytest.mark.parametrize(("kind", "text"), TEXTS)
def test_a_text_of_tensorrt_has_its_kind(kind: str, text: str) -> None:
    assert classify(text) == kind


def test_messages_are_counted_once_a_text_and_every_line_is_passed_on() -> None:
    lines: list[tuple[str, str]] = []
    messages = Messages(lambda severity, text: lines.append((severity, text)))
    told = [("info", "building"), ("warning", "The timing cache will not be used!"), ("error", "broken")]
    for severity, text in [*told, told[1]]:
        messages.hear(severity, text)
    assert lines == [*told, told[1]]
    assert messages.told() == [
        {"severity": "warning", "kind": "timing-cache", "text": "The timing cache will not be used!", "count": 2},
        {"severity": "error", "kind": "other", "text": "broken", "count": 1},
    ]
    assert messages.errors() == ["broken"]


def test_a_flood_of_different_messages_is_bounded_and_said_so() -> None:
    messages = Messages(lambda *_: None)
    for number in range(2003):
        messages.hear("warning", f"Missing scale and zero-point for tensor {number}")
    told = messages.told()
    assert len(told) == 2001
    assert told[-1]["count"] == 3
    assert told[-1]["text"].startswith("3 further messages")


@pytest.mark.parametrize("release", RELEASES)
def test_severities_have_the_names_of_the_conversation(release: str) -> None:
    trt = fake_tensorrt(release)
    lines: list[str] = []
    logger = make_logger(trt, lambda severity, _text: lines.append(severity))
    for level in ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"):
        logger.log(getattr(trt.ILogger.Severity, level), "text")
    assert lines == ["error", "error", "warning", "info"]


def test_verbose_lines_are_told_on_request() -> None:
    trt = fake_tensorrt("8.6.0")
    lines: list[str] = []
    logger = make_logger(trt, lambda severity, _text: lines.append(severity), is_verbose=True)
    logger.log(trt.ILogger.Severity.VERBOSE, "text")
    assert lines == ["verbose"]


def test_an_exception_never_leaves_the_callback(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_severity: str, _text: str) -> Any:
        raise OSError("channel closed")

    trt = fake_tensorrt("10.0.1")
    make_logger(trt, broken).log(trt.ILogger.Severity.ERROR, "the cause")
    assert capsys.readouterr().err == "[error] the cause (not told: channel closed)\n"
