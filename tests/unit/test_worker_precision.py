"""Which flags a precision becomes at each typing, and which releases and GPUs have it, on stand-ins of each release."""

from __future__ import annotations

from typing import Any

import pytest

from parity.worker.config import require_precision
from parity.worker.errors import ModelRefused, PrecisionMissing, WorkerError
from tests import config_bench
from tests.config_bench import FIRST, LAST_WEAK, NEW, OLD, Bench

# Fixtures, asked for by name.
bench, at = config_bench.bench, config_bench.at


def test_fp32_turns_tf32_off_and_tf32_leaves_it_on(bench: Bench) -> None:
    assert bench.flags("fp32") == []
    assert bench.flags("tf32") == ["TF32"]


def test_tf32_of_float32_layers_can_be_asked_for_and_refused(bench: Bench) -> None:
    assert bench.flags("fp32", options={"tf32": True}) == ["TF32"]
    assert bench.flags("tf32", options={"tf32": False}) == []


@pytest.mark.parametrize(
    ("release", "precision", "flags"),
    [
        (OLD, "fp16", ["FP16"]),
        (OLD, "int8", ["INT8"]),
        (FIRST, "bf16", ["BF16"]),
        (FIRST, "fp8", ["FP8"]),
        (LAST_WEAK, "fp16", ["FP16"]),
    ],
)
def test_weak_typing_allows_the_precision_alone(at: Any, release: str, precision: str, flags: list[str]) -> None:
    bench = at(release)
    bench.add_layer("q", "QUANTIZE")
    assert bench.flags(precision) == flags


def test_weak_typing_obeys_layer_precisions_and_allows_companions(at: Any) -> None:
    bench = at(OLD)
    bench.add_layer("q", "QUANTIZE")
    both = bench.flags("int8", obey=True, options={"also": ["fp16"]})
    assert both == ["FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"]
    assert bench.flags("int8", keep=["conv"], keep_precision="fp16") == ["FP16", "INT8"]


@pytest.mark.parametrize("release", [FIRST, LAST_WEAK, NEW])
def test_a_strongly_typed_network_takes_no_precision_flag(at: Any, release: str) -> None:
    assert at(release).flags("fp16", typing="strong", obey=True) == []


def test_where_strong_typing_is_missing_obeyed_constraints_stand_in(at: Any) -> None:
    bench = at(OLD)
    assert bench.flags("fp16", typing="strong") == ["FP16", "OBEY_PRECISION_CONSTRAINTS"]
    assert bench.flags("fp32", typing="strong") == ["OBEY_PRECISION_CONSTRAINTS"]


def test_half_tensors_of_a_quantized_model_are_allowed_where_strong_typing_is_missing(at: Any) -> None:
    bench = at(OLD)
    bench.add_layer("q", "QUANTIZE")
    assert "FP16" not in bench.flags("int8", typing="strong")
    bench.add_layer("cast", "CAST", "HALF")
    assert bench.flags("int8", typing="strong") == ["FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"]


def test_int8_without_scales_is_refused(at: Any) -> None:
    bench = at(OLD)
    bench.add_layer("conv")
    with pytest.raises(ModelRefused, match="no Q/DQ pairs and there is no calibrator"):
        bench.config("int8")
    assert bench.flags("int8", source={"kind": "network"}) == ["INT8"]


def test_a_calibrator_runs_at_a_profile_of_its_own(at: Any) -> None:
    bench, calibrator = at(OLD), object()
    config = bench.config("int8", calibrator=calibrator, options={"calibrate_before_fusion": True})
    assert config.int8_calibrator is calibrator
    profile = config.get_calibration_profile()
    assert profile.get_shape("images")[1] == (4, 3, 8, 8)
    # TensorRT writes into the profile that it calibrates at.
    assert profile is not config.kept("profiles", list)[0]
    assert config.get_quantization_flag(bench.trt.QuantizationFlag.CALIBRATE_BEFORE_FUSION)
    with pytest.raises(WorkerError, match=r"build\.calibration_profile: there are 1 profiles, counted from 0; got 1"):
        bench.config("int8", calibrator=calibrator, options={"calibration_profile": 1})


def test_a_calibrator_is_refused_where_tensorrt_takes_none(at: Any) -> None:
    with pytest.raises(PrecisionMissing, match=r"quantization = \"implicit\": TensorRT 11\.4.* 8\.6 to 10\.16 has it"):
        at(NEW).config("int8", calibrator=object())


HAVING = {
    "fp32": {OLD, FIRST, LAST_WEAK, NEW},
    "tf32": {OLD, FIRST, LAST_WEAK, NEW},
    "fp16": {OLD, FIRST, LAST_WEAK, NEW},
    "bf16": {FIRST, LAST_WEAK, NEW},
    "int8": {OLD, FIRST, LAST_WEAK, NEW},
    "fp8": {FIRST, LAST_WEAK, NEW},
}


@pytest.mark.parametrize("precision", HAVING)
def test_a_release_has_its_precisions_and_no_others(bench: Bench, precision: str) -> None:
    release = bench.trt.__version__
    if release in HAVING[precision]:
        require_precision(bench.trt, bench.builder, precision, "strong", "9.0")
    else:
        with pytest.raises(PrecisionMissing, match=r"TensorRT 10\.0 and later ha"):
            require_precision(bench.trt, bench.builder, precision, "strong", "9.0")


@pytest.mark.parametrize(
    ("precision", "lacking", "having"),
    [
        ("tf32", "7.5", "8.0"),
        ("bf16", "7.5", "8.0"),
        ("fp8", "8.6", "8.9"),
        ("fp16", "5.2", "5.3"),
        ("int8", "6.0", "10.0"),
    ],
)
def test_a_gpu_has_its_precisions_and_no_others(at: Any, precision: str, lacking: str, having: str) -> None:
    bench = at(LAST_WEAK)
    with pytest.raises(PrecisionMissing, match=f"{precision}: this GPU, of compute capability {lacking}"):
        require_precision(bench.trt, bench.builder, precision, "weak", lacking)
    require_precision(bench.trt, bench.builder, precision, "weak", having)


def test_a_gpu_that_is_slow_at_half_precision_is_refused_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(OLD, monkeypatch)
    monkeypatch.setattr(bench.trt.Builder, "platform_has_fast_fp16", False)
    with pytest.raises(PrecisionMissing, match=r"fp16: this GPU, of compute capability 6\.1"):
        require_precision(bench.trt, bench.builder, "fp16", "weak", "6.1")


def test_weak_typing_is_refused_where_it_is_gone(at: Any) -> None:
    bench = at(NEW)
    with pytest.raises(PrecisionMissing, match=r"typing = \"weak\": TensorRT 11\.4.* judge on TensorRT 8\.6 to 10\.16"):
        require_precision(bench.trt, bench.builder, "fp32", "weak", "9.0")
