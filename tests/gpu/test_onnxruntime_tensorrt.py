"""ONNX Runtime's TensorRT provider as a candidate, where its TensorRT is installed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from parity.backends import TensorRTSettings
from parity.backends.engine import EngineRequest, OnnxSource
from parity.backends.provider import ProviderBackend
from parity.build_options import BuildOptions
from parity.errors import BackendError
from parity.options import PrecisionOptions, Provider
from parity.precision import forecast
from parity.runner import JudgeSettings, RunSettings, run_cases
from parity.tolerance import Precision
from parity.verdict import Verdict
from tests.gpu.models import calibration_feeds, conv_net, images
from tests.gpu.rig import require_close, rows_of, sqnr_db, told
from tests.tiny_graphs import run
from tests.tiny_models import write_case

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from onnx import ModelProto

    from parity.backends.engine import Profile
    from parity.backends.provider import ProviderSession

    Figure = Callable[[str, float | str], None]

pytestmark = pytest.mark.gpu

# TensorRT has TF32 on, and the provider no switch for it.
_FP32_SHARE = 1e-4 if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0" else 5e-3

CASE = """\
model = "model.onnx"
[inputs]
kind = "random"
seed = 1
count = 16
[calibration]
kind = "random"
seed = 2
count = 16
[variants.fp16]
precision = "fp16"
[variants.int8]
precision = "int8"
"""


def opened(
    model: ModelProto, precision: Precision, *, typed: ModelProto | None = None, profiles: tuple[Profile, ...] = ()
) -> ProviderSession:
    request = EngineRequest(
        OnnxSource(model, typed or model),
        precision,
        keep_precision=Precision.FP32,
        options=BuildOptions(optimization_level=1),
        profiles=profiles,
    )
    return ProviderBackend(Provider.TENSORRT).open_engine(request, 240.0)


@pytest.fixture(scope="module", autouse=True)
def tensorrt_provider() -> None:
    """Skip where ONNX Runtime has no TensorRT provider, or has one that does not load."""
    try:
        with opened(conv_net(1, 8), Precision.FP32) as session:
            session.run(images(1, 8))
    except BackendError as missing:
        pytest.skip(f"ONNX Runtime on TensorRT: {missing}")


def test_float32_lies_as_close_as_tf32_lets_it(figure: Figure) -> None:
    with opened(conv_net(), Precision.FP32) as session:
        figure("fp32, share of range", require_close(session, conv_net(), images(), _FP32_SHARE))


def test_half_rounds_as_half_does(figure: Figure) -> None:
    with opened(conv_net(), Precision.FP16) as session:
        signal = sqnr_db(session.run(images())["y"], run(conv_net(), images())["y"])
    figure("fp16 SQNR, dB", signal)
    assert 45 < signal < 100, f"{signal:.1f} dB: below 45 is no fp16, above 100 no rounding"


def test_int8_answers_as_forecast(figure: Figure) -> None:
    made = forecast(conv_net(), PrecisionOptions(Precision.INT8), calibration_feeds)
    expected = run(conv_net(), images())["y"]
    with opened(conv_net(), Precision.INT8, typed=made.typed) as session:
        signal = sqnr_db(session.run(images())["y"], expected)
    forecasted = sqnr_db(run(made.rounded, images())["y"], expected)
    figure("int8 SQNR, dB", signal)
    figure("int8 forecast, dB", forecasted)
    assert abs(signal - forecasted) < 6, f"the provider has {signal:.1f} dB, the forecast {forecasted:.1f}"


def test_a_profile_holds_its_batches() -> None:
    model = conv_net("rows", 16)
    with opened(model, Precision.FP32, profiles=(rows_of("x", (3, 16, 16), best=4, most=8),)) as session:
        for rows in (1, 8, 4):
            require_close(session, model, images(rows, 16), _FP32_SHARE)


def test_a_case_is_judged(tmp_path: Path, figure: Figure) -> None:
    case = write_case(tmp_path / "case", CASE, conv_net(8, 32))
    settings = RunSettings(
        cases=(case,),
        backends=("onnxruntime-tensorrt",),
        out=tmp_path / "reports",
        tensorrt=TensorRTSettings(cache=tmp_path / "cache"),
        judging=JudgeSettings(cache=tmp_path / "cache"),
    )
    found = run_cases(settings).outcomes
    for outcome in found:
        figure(f"{outcome.variant} {outcome.check}", f"{outcome.verdict}: {outcome.headline}")
    outputs = {o.variant: o.verdict for o in found if o.check == "outputs"}
    expected = dict.fromkeys(("fp16@onnxruntime-tensorrt", "int8@onnxruntime-tensorrt"), Verdict.PASS)
    assert outputs == expected, told(found)
