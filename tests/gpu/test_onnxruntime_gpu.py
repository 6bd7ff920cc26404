"""ONNX Runtime's CUDA provider: as the reference, and as a candidate beside TensorRT's own engines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from parity.backends import get_backend
from parity.backends.engine import EngineRequest, OnnxSource
from parity.backends.provider import ProviderBackend
from parity.errors import BackendError
from parity.options import Provider, SessionOptions
from parity.tolerance import Precision
from tests.gpu.models import conv_net, images
from tests.gpu.rig import share_of_range
from tests.tiny_graphs import run

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    Figure = Callable[[str, float | str], None]

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", autouse=True)
def cuda_provider() -> None:
    """Skip where ONNX Runtime has no CUDA provider, or has one that does not load."""
    options = SessionOptions(provider=Provider.CUDA)
    try:
        with get_backend("onnxruntime").open(conv_net(1, 8), options) as session:
            session.run(images(1, 8))
    except BackendError as missing:
        pytest.skip(f"ONNX Runtime on CUDA: {missing}")


def on_cuda(**options: str) -> np.ndarray:
    chosen = SessionOptions(provider=Provider.CUDA, provider_options=tuple(options.items()))
    with get_backend("onnxruntime").open(conv_net(), chosen) as session:
        return session.run(images())["y"]


def as_candidate(precision: Precision) -> np.ndarray:
    backend = ProviderBackend(Provider.CUDA)
    source = OnnxSource(conv_net(), conv_net())
    request = EngineRequest(source, precision, keep_precision=Precision.FP32)
    with backend.open_engine(request, 120.0) as session:
        assert f"use_tf32={int(precision is Precision.TF32)}" in session.record.flags
        return session.infer(images()).outputs["y"]


def test_a_reference_on_cuda_lies_as_close_as_float32_does(figure: Figure) -> None:
    error = share_of_range(on_cuda(), run(conv_net(), images())["y"])
    figure("CUDA reference to CPU, share of range", error)
    assert error <= 1e-4


def test_tf32_is_off_in_a_reference_unless_it_is_asked_for(figure: Figure) -> None:
    expected = run(conv_net(), images())["y"]
    off, on = (share_of_range(array, expected) for array in (on_cuda(), on_cuda(use_tf32="1")))
    figure("CUDA with TF32 to CPU, share of range", on)
    assert on > 10 * off, f"with TF32 {on:.3g} of the range, without {off:.3g}"


def test_a_candidate_on_cuda_rounds_to_tf32_in_a_tf32_variant_alone(figure: Figure) -> None:
    expected = run(conv_net(), images())["y"]
    plain, rounded = (share_of_range(as_candidate(p), expected) for p in (Precision.FP32, Precision.TF32))
    figure("CUDA candidate at fp32, share of range", plain)
    figure("CUDA candidate at tf32, share of range", rounded)
    assert math.isfinite(rounded)
    assert plain <= 1e-4
    assert 10 * plain < rounded < 1e-2, f"tf32 is {rounded:.3g} of the range off, fp32 {plain:.3g}"
