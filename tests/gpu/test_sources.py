"""Engines that are not built from the case's float32 model."""

from __future__ import annotations

import json
import re
import struct
from typing import TYPE_CHECKING

import pytest

from parity.backends.engine import EngineFile, NetworkSource, OnnxSource
from parity.errors import ParityError
from parity.options import PrecisionOptions
from parity.precision import forecast
from parity.tolerance import Precision
from tests.gpu.models import conv_net, images, linear, vectors
from tests.gpu.rig import describe, precision_by_node, products, require_close

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from parity.backends.tensorrt.session import TensorRTSession
    from tests.gpu.rig import Rig

    Build = Callable[..., TensorRTSession]
    Figure = Callable[[str, float | str], None]

pytestmark = pytest.mark.gpu

NETWORK = """\
def build(network, weights, trt):
    x = network.add_input("x", trt.float32, (4, 6))
    kernel = network.add_constant((6, 5), {kernel}).get_output(0)
    none = trt.MatrixOperation.NONE
    product = network.add_matrix_multiply(x, none, kernel, none).get_output(0)
    y = network.add_activation(product, trt.ActivationType.RELU).get_output(0)
    y.name = "y"
    network.mark_output(y)
"""


def plan_bytes(rig: Rig, build: Build) -> bytes:
    return rig.plan_of(build(linear())).read_bytes()


def test_an_engine_file_answers_as_the_engine_that_it_holds(rig: Rig, build: Build, tmp_path: Path) -> None:
    path = tmp_path / "model.plan"
    path.write_bytes(plan_bytes(rig, build))
    session = build(EngineFile(path))
    require_close(session, linear(), vectors())
    assert session.record.source == "file"
    assert session.record.metadata == {}
    told = [note.startswith(f"built by TensorRT {rig.backend.version}") for note in session.record.notes]
    assert all(told), session.record.notes


def test_the_header_of_an_ultralytics_file_is_read_and_passed_over(rig: Rig, build: Build, tmp_path: Path) -> None:
    metadata = {"task": "detect", "imgsz": [320, 320], "names": {"0": "disc"}}
    text = json.dumps(metadata).encode()
    path = tmp_path / "model.engine"
    path.write_bytes(len(text).to_bytes(4, "little") + text + plan_bytes(rig, build))
    session = build(EngineFile(path))
    require_close(session, linear(), vectors())
    assert session.record.metadata == {"task": "detect", "imgsz": "[320, 320]", "names": '{"0": "disc"}'}


def wts_text(tensors: dict[str, np.ndarray]) -> str:
    lines = [
        " ".join([name, str(array.size), *(struct.pack(">f", value).hex() for value in array.reshape(-1))])
        for name, array in tensors.items()
    ]
    return "\n".join([str(len(lines)), *lines, ""])


@pytest.mark.parametrize(
    "kernel_text", ['weights["kernel"]', 'trt.Weights(weights["kernel"])'], ids=["array", "Weights"]
)
def test_a_function_fills_a_network_with_the_weights_of_a_wts_file(
    build: Build, tmp_path: Path, kernel_text: str
) -> None:
    from onnx import numpy_helper

    (tmp_path / "net.py").write_text(NETWORK.format(kernel=kernel_text), encoding="utf-8")
    kernel = numpy_helper.to_array(linear().graph.initializer[0])
    (tmp_path / "net.wts").write_text(wts_text({"kernel": kernel}), encoding="utf-8")
    session = build(NetworkSource(tmp_path / "net.py", "build", tmp_path / "net.wts"))
    require_close(session, linear(), vectors())
    assert session.record.source == "network"


def test_a_typed_model_of_the_user_is_obeyed(build: Build) -> None:
    own = forecast(conv_net(), PrecisionOptions(Precision.FP16, keep=("conv1",))).typed
    session = build(OnnxSource(conv_net(), own, is_own=True), Precision.FP16, optimization_level=2)
    assert any("the user's own typed model" in note for note in session.record.notes), session.record.notes
    found = precision_by_node(session)
    assert (found.get("conv1"), found.get("conv2")) == ("fp32", "fp16"), describe(products(session))
    require_close(session, conv_net(), images(), most=5e-3)


def test_a_version_compatible_engine_runs_or_its_refusal_names_what_is_missing(build: Build, figure: Figure) -> None:
    told = "lean runtime: found"
    try:
        require_close(build(linear(), version_compatible=True), linear(), vectors())
    except ParityError as refused:
        told = str(refused)
    figure("version compatible", told)
    assert re.search(r"lean|version.?compatible", told, re.IGNORECASE), told
    require_close(build(linear()), linear(), vectors())
