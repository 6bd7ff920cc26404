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
    assert "no operator of ai.onnx.ml (Scaler): without plugins no engine" in told


@pytest.mark.parametrize(
    ("training", "is_constant", "draws"),
    [(True, False, True), (True, True, True), (False, False, False), (None, False, False)],
    ids=["in training", "in training by a Constant", "not in training", "untold"],
)
def test_a_dropout_that_was_exported_in_training_draws_random_numbers(
    training: bool | None, is_constant: bool, draws: bool
) -> None:
    share = onnx.numpy_helper.from_array(np.array(0.5, np.float32), "share")
    told = onnx.numpy_helper.from_array(np.array(training, np.bool_), "training")
    names = ["x", "share", *([] if training is None else ["training"])]
    nodes = [node("Dropout", names, ["y"], "drop")]
    if is_constant:
        nodes.insert(0, node("Constant", [], ["training"], "held", value=told))
    graph = helper.make_graph(
        nodes,
        "dropping",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2])],
        [share, *([told] if training is not None and not is_constant else [])],
    )
    warnings = model_warnings(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert [one.startswith("the model draws random numbers (Dropout)") for one in warnings] == [True] * draws
