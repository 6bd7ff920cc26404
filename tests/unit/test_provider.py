"""What ONNX Runtime's GPU providers are given of a variant, and what of it they cannot do."""

from __future__ import annotations

from typing import Any

import pytest

from parity.backends.engine import EngineFile, EngineRequest, OnnxSource
from parity.backends.provider import TF32_STAYS, ProviderBackend, model_of, notes_on, provider_options
from parity.build_options import BuildOptions, ShapeProfile
from parity.errors import BackendError
from parity.options import Provider
from parity.tolerance import Precision
from tests.gpu.models import conv_net, linear

CUDA, TENSORRT = Provider.CUDA, Provider.TENSORRT
PROFILE = {"x": ShapeProfile((1, 6), (4, 6), (8, 6)), "z": ShapeProfile((1,), (2,), (3,))}


def request(precision: Precision = Precision.FP32, **more: Any) -> EngineRequest:
    keep = more.pop("keep", ())
    return EngineRequest(
        OnnxSource(linear(), conv_net(), keep=keep), precision, **{"keep_precision": Precision.FP32, **more}
    )


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)


@pytest.mark.parametrize("precision", Precision)
def test_cuda_rounds_to_tf32_in_tf32_variants_alone(precision: Precision) -> None:
    expected = "1" if precision is Precision.TF32 else "0"
    assert provider_options(CUDA, request(precision)) == (("use_tf32", expected),)


@pytest.mark.parametrize(
    ("precision", "flags"),
    [
        (Precision.FP32, ()),
        (Precision.TF32, ()),
        (Precision.FP16, (("trt_fp16_enable", "True"),)),
        (Precision.BF16, (("trt_bf16_enable", "True"),)),
        (Precision.INT8, (("trt_int8_enable", "True"),)),
    ],
)
def test_tensorrt_is_told_the_precision(precision: Precision, flags: tuple[tuple[str, str], ...]) -> None:
    assert provider_options(TENSORRT, request(precision)) == flags


def test_tensorrt_is_told_the_level_and_the_first_profile() -> None:
    other = {"x": ShapeProfile((9, 6), (9, 6), (9, 6))}
    asked = request(options=BuildOptions(optimization_level=2), profiles=(PROFILE, other))
    assert provider_options(TENSORRT, asked) == (
        ("trt_builder_optimization_level", "2"),
        ("trt_profile_min_shapes", "x:1x6,z:1"),
        ("trt_profile_opt_shapes", "x:4x6,z:2"),
        ("trt_profile_max_shapes", "x:8x6,z:3"),
    )
    assert "of 2 profiles it is given the first alone" in notes_on(TENSORRT, asked)


@pytest.mark.parametrize(
    ("provider", "precision", "keep", "is_typed"),
    [
        (TENSORRT, Precision.FP16, (), False),
        (TENSORRT, Precision.FP16, ("product",), True),
        (TENSORRT, Precision.INT8, (), True),
        (CUDA, Precision.FP16, (), True),
    ],
    ids=["lowered by TensorRT", "kept nodes", "int8", "cuda"],
)
def test_a_provider_gets_the_typed_model_unless_it_lowers_all_of_it(
    provider: Provider, precision: Precision, keep: tuple[str, ...], is_typed: bool
) -> None:
    source = OnnxSource(linear(), conv_net(), keep=keep)
    assert model_of(provider, precision, source) is (source.typed if is_typed else source.model)


def test_options_of_an_engine_that_a_provider_does_not_take_are_told() -> None:
    asked = request(Precision.FP16, options=BuildOptions(optimization_level=2, sparse_weights=True, max_aux_streams=0))
    assert notes_on(TENSORRT, asked) == (
        "ONNX Runtime's provider does not take sparse_weights, max_aux_streams of the engine options",
    )
    [note] = notes_on(CUDA, asked)
    assert "optimization_level, sparse_weights, max_aux_streams" in note
    assert notes_on(CUDA, request()) == ()


def test_an_fp32_variant_says_that_tf32_stays_on_unless_the_driver_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert notes_on(TENSORRT, request()) == (TF32_STAYS,)
    assert notes_on(TENSORRT, request(Precision.TF32)) == ()
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert notes_on(TENSORRT, request()) == ()


def test_an_engine_file_is_for_tensorrt_itself(tmp_path: Any) -> None:
    asked = EngineRequest(EngineFile(tmp_path / "a.plan"), Precision.FP16, keep_precision=Precision.FP32)
    with pytest.raises(BackendError, match=r"onnxruntime-tensorrt: executes ONNX models only; .* --backend tensorrt"):
        ProviderBackend(TENSORRT).open_engine(asked, 5)
