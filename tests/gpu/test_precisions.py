"""Every precision of a small convolutional network, against ONNX Runtime and against what the inspector shows."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.backends.engine import OnnxSource
from parity.build_options import Calibrator, Quantization, TensorIo, Typing
from parity.checks.census import judge_census, take_census
from parity.errors import PrecisionError
from parity.inspector import parse_inspection
from parity.options import PrecisionOptions
from parity.precision import forecast
from parity.tolerance import Precision
from parity.verdict import Verdict
from tests.gpu.models import calibration_feeds, conv_net, images
from tests.gpu.rig import describe, precision_by_node, products, require_close, share_of_range, sqnr_db
from tests.tiny_graphs import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from parity.backends.tensorrt.session import TensorRTSession
    from parity.precision import Forecast
    from tests.gpu.rig import Rig

    Build = Callable[..., TensorRTSession]
    Figure = Callable[[str, float | str], None]

pytestmark = pytest.mark.gpu

FP32, TF32, FP16, INT8 = Precision.FP32, Precision.TF32, Precision.FP16, Precision.INT8
_LEVEL = 2
_CONVOLUTIONS = ("conv0", "conv1", "conv2")


@cache
def reference() -> np.ndarray:
    return run(conv_net(), images())["y"]


@cache
def rewritten(options: PrecisionOptions) -> Forecast:
    return forecast(conv_net(), options, calibration_feeds)


def error_of(session: TensorRTSession) -> float:
    return share_of_range(session.run(images())["y"], reference())


def require_census(session: TensorRTSession, asked: Precision) -> None:
    """Assert that the asked precision runs half of the products and of their time."""
    times = session.layer_times(images(), 10)
    layers = parse_inspection(session.inspector_json).of_profile(0)
    judged = judge_census(take_census(layers, times, asked, 0.5, may_use_tf32="TF32" in session.record.flags))
    assert judged.verdict is Verdict.PASS, f"{judged.headline}: {judged.reasons}: {describe(products(session))}"


def test_fp32_stays_within_a_ten_thousandth_of_the_range_and_uses_no_tf32(build: Build, figure: Figure) -> None:
    session = build(conv_net(), FP32, optimization_level=_LEVEL)
    figure("fp32 error, share of range", require_close(session, conv_net(), images()))
    assert "TF32" not in session.record.flags
    require_census(session, FP32)
    coarser = [layer for layer in products(session) if layer.precision != "fp32"]
    assert not coarser, describe(coarser)


def test_tf32_shows_in_the_answer_and_in_the_census(build: Build, figure: Figure) -> None:
    exact = error_of(build(conv_net(), FP32, optimization_level=_LEVEL))
    session = build(conv_net(), TF32, optimization_level=_LEVEL)
    rounded = error_of(session)
    figure("tf32 error, share of range", rounded)
    assert "TF32" in session.record.flags
    assert "tf32" in precision_by_node(session).values(), describe(products(session))
    assert 10 * exact < rounded < 1e-2, f"tf32 is {rounded:.3g} of the range off, fp32 {exact:.3g}"


def test_weakly_typed_fp16_runs_half_products(build: Build, figure: Figure) -> None:
    session = build(conv_net(), FP16, typing=Typing.WEAK, optimization_level=_LEVEL)
    signal = sqnr_db(session.run(images())["y"], reference())
    figure("weak fp16 SQNR, dB", signal)
    assert "FP16" in session.record.flags
    require_census(session, FP16)
    assert 45 < signal < 100, f"{signal:.1f} dB: below 45 is no fp16, above 100 no rounding"


def test_a_typed_half_model_is_obeyed_in_every_layer(rig: Rig, build: Build, figure: Figure) -> None:
    made = rewritten(PrecisionOptions(FP16))
    session = build(OnnxSource(conv_net(), made.typed), FP16, typing=Typing.STRONG, optimization_level=_LEVEL)
    signal = sqnr_db(session.run(images())["y"], reference())
    expected = sqnr_db(run(made.rounded, images())["y"], reference())
    figure("strong fp16 SQNR, dB", signal)
    figure("strong fp16 forecast, dB", expected)
    assert rig.has("strongly_typed") or "OBEY_PRECISION_CONSTRAINTS" in session.record.flags
    found = precision_by_node(session)
    assert {name: found.get(name) for name in _CONVOLUTIONS} == dict.fromkeys(_CONVOLUTIONS, "fp16"), found
    assert signal > expected - 13, f"the engine has {signal:.1f} dB, the forecast {expected:.1f}"


def test_int8_by_qdq_runs_int8_products_as_forecast(build: Build, figure: Figure) -> None:
    made = rewritten(PrecisionOptions(INT8))
    session = build(OnnxSource(conv_net(), made.typed), INT8)
    signal = sqnr_db(session.run(images())["y"], reference())
    expected = sqnr_db(run(made.rounded, images())["y"], reference())
    figure("int8 Q/DQ SQNR, dB", signal)
    figure("int8 Q/DQ forecast, dB", expected)
    require_census(session, INT8)
    assert abs(signal - expected) < 6, f"the engine has {signal:.1f} dB, the forecast {expected:.1f}"


@pytest.mark.parametrize("calibrator", list(Calibrator))
def test_int8_by_a_calibrator_reads_its_cache_the_second_time(
    rig: Rig, build: Build, figure: Figure, calibrator: Calibrator
) -> None:
    if not rig.has("implicit_int8"):
        pytest.skip("this TensorRT has no calibrators")
    options = {"quantization": Quantization.IMPLICIT, "calibrator": calibrator, "calibration": calibration_feeds}
    first = build(conv_net(), INT8, **options)
    signal = sqnr_db(first.run(images())["y"], reference())
    figure(f"int8 {calibrator} SQNR, dB", signal)
    require_census(first, INT8)
    assert 15 < signal < 60, f"{signal:.1f} dB"
    assert "calibrated on 4 feeds of 8 rows" in first.record.notes, first.record.notes
    # A kept node makes another engine of the same ranges.
    second = build(OnnxSource(conv_net(), conv_net(), ("conv2",)), INT8, **options)
    assert second.record.source == "built"
    assert "calibrated from the cache file: no feed was run" in second.record.notes, second.record.notes
    assert precision_by_node(second)["conv2"] == "fp32", describe(products(second))


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.FP8])
def test_a_precision_that_is_not_there_is_refused_with_what_has_it(
    rig: Rig, build: Build, precision: Precision
) -> None:
    if rig.has(precision):
        pytest.skip(f"this TensorRT has {precision}")
    with pytest.raises(PrecisionError, match=rf"^{precision}: TensorRT 8\.6.* 10.* does: name such an interpreter"):
        build(conv_net(), precision)


def test_a_kept_node_stays_at_float32_in_a_weakly_typed_half_engine(build: Build, figure: Figure) -> None:
    # What becomes of its neighbours is TensorRT's own choice by speed: they may follow it to float32.
    source = OnnxSource(conv_net(), conv_net(), ("conv1",))
    session = build(source, FP16, typing=Typing.WEAK, optimization_level=_LEVEL)
    found = precision_by_node(session)
    assert found.get("conv1") == "fp32", describe(products(session))
    assert "OBEY_PRECISION_CONSTRAINTS" in session.record.flags
    figure("weak fp16 with conv1 kept", {name: found.get(name) for name in _CONVOLUTIONS})
    figure("kept fp16 SQNR, dB", sqnr_db(session.run(images())["y"], reference()))


def half_images() -> dict[str, np.ndarray]:
    return {"x": images()["x"].astype(np.float16)}


def require_half_ends(session: TensorRTSession) -> float:
    assert [info.dtype for info in (*session.inputs, *session.outputs)] == ["float16", "float16"]
    answer = session.run(half_images())["y"]
    assert answer.dtype == np.float16
    signal = sqnr_db(answer, reference())
    assert signal > 45, f"{signal:.1f} dB"
    return signal


def test_a_typed_model_with_half_inputs_and_outputs_takes_and_gives_them(build: Build, figure: Figure) -> None:
    typed = rewritten(PrecisionOptions(FP16, io_precision=FP16)).typed
    session = build(OnnxSource(conv_net(), typed), FP16, typing=Typing.STRONG, optimization_level=_LEVEL)
    figure("half inputs of the model, SQNR, dB", require_half_ends(session))


def test_a_weakly_typed_engine_is_given_half_inputs_and_outputs_by_an_option(
    rig: Rig, build: Build, figure: Figure
) -> None:
    if not rig.has("weakly_typed"):
        pytest.skip("this TensorRT takes the dtypes of inputs and outputs from the model alone")
    io = {name: TensorIo("float16") for name in ("x", "y")}
    session = build(conv_net(), FP16, typing=Typing.WEAK, optimization_level=_LEVEL, io=io)
    figure("half inputs by option, SQNR, dB", require_half_ends(session))
