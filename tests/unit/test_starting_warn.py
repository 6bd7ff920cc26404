"""What is wrong or unusual in a model is told before anything is run."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from parity.starting.warn import model_warnings
from tests.tiny_graphs import model_of, node

SOUND = model_of([node("MatMul", ["x", "w"], ["y"], "product")], ["x"], ["y"], {"w": [[1.0, np.inf], [0.0, 2.0]]})


def test_a_sound_model_has_no_warning() -> None:
    assert model_warnings(SOUND) == ()


@pytest.mark.parametrize("is_attribute", [False, True], ids=["initializer", "Constant"])
def test_weights_that_hold_nan_are_named(is_attribute: bool) -> None:
    values = [[1.0, np.nan], [0.0, 2.0]]
    if is_attribute:
        held = onnx.numpy_helper.from_array(np.array(values, np.float32), "w")
        nodes = [node("Constant", [], ["w"], "held", value=held), *SOUND.graph.node]
        model = model_of(nodes, ["x"], ["y"])
    else:
        model = model_of(list(SOUND.graph.node), ["x"], ["y"], {"w": values})
    (told,) = model_warnings(model)
    assert told.startswith("weights hold NaN (w): ")


def test_a_model_with_pairs_of_its_own_is_told_to_be_its_own_int8() -> None:
    nodes = [
        node("QuantizeLinear", ["x", "s"], ["q"], "quantize"),
        node("DequantizeLinear", ["q", "s"], ["y"], "dequantize"),
    ]
    (told,) = model_warnings(model_of(nodes, ["x"], ["y"], {"s": 0.1}))
    assert "quantized already: its int8 variant is the model as it is" in told


def test_operators_that_tensorrt_does_not_have_are_named() -> None:
    scaler = helper.make_node("Scaler", ["x"], ["y"], "scaler", domain="ai.onnx.ml", offset=[0.0], scale=[1.0])
    model = model_of([scaler], ["x"], ["y"], domains=["ai.onnx.ml"])
    (told,) = model_warnings(model)
    assert "no operator of ai.onnx.ml (Scaler)" in told
