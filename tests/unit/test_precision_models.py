"""Models of every make have a forecast: any opset, branches, functions, foreign operators, odd names, any graph."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from google.protobuf.message import EncodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, helper

from parity.errors import PrecisionError
from parity.graph import load_model
from parity.options import PrecisionOptions, Rounding
from parity.precision import forecast
from parity.tolerance import Precision
from tests.forecast_examples import EVERY, ROUNDING_ONES, convnet, feeds, noise
from tests.tiny_graphs import (
    array,
    as_half,
    branches,
    copy_of,
    graph_of,
    half_options,
    looped,
    model_of,
    node,
    op_types,
    pointwise,
    run,
    value,
)


def in_branches() -> ModelProto:
    branch = graph_of([node("MatMul", ["x", "w"], ["b"], "inside")], [], [value("b", 1)])
    return branches(branch, branch, {"w": noise(3, 2)})


@pytest.mark.parametrize("opset", [9, 11, 12])
def test_bfloat16_needs_no_opset_of_the_model(opset):
    model = convnet(opset=opset)
    made = forecast(model, half_options(Precision.BF16))
    np.testing.assert_allclose(run(made.rounded, feeds()[0])["y"], run(model, feeds()[0])["y"], atol=0.1)


@pytest.mark.parametrize("precision", EVERY)
def test_old_models_that_list_initializers_as_inputs_are_forecast(precision):
    model = convnet(opset=8, ir_version=4)
    model.ir_version = 3
    inputs = [helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in model.graph.initializer]
    model.graph.input.extend(inputs)
    onnx.checker.check_model(model)
    made = forecast(model, PrecisionOptions(precision), feeds)
    assert np.isfinite(run(made.rounded, feeds()[0])["y"]).all()


@pytest.mark.parametrize("precision", ROUNDING_ONES)
def test_unnamed_nodes_survive_a_conversion_of_the_opset(precision):
    nodes = [
        node("MatMul", ["x", "w"], ["t"]),
        node("Softmax", ["t"], ["s"], axis=1),
        node("Squeeze", ["s"], ["q"], axes=[0]),
        node("Softmax", ["q"], ["r"], axis=0),
        node("MatMul", ["r", "u"], ["y"]),
    ]
    constants = {"w": noise(4, 4), "u": noise(4, 2)}
    model = model_of(nodes, [helper.make_tensor_value_info("x", 1, [1, 3, 4])], [value("y", 2)], constants, opset=11)
    feed = {"x": noise(1, 3, 4)}
    made = forecast(model, PrecisionOptions(precision), lambda: [feed])
    np.testing.assert_allclose(run(made.rounded, feed)["y"], run(model, feed)["y"], atol=0.1)


def test_branches_of_constants_load():
    then = graph_of([node("Constant", [], ["b"], value_floats=[0.1])], [], ["b"])
    other = graph_of([node("Exp", ["x"], ["b"], "exp")], [], ["b"])
    for precision in (Precision.FP16, Precision.BF16):
        made = forecast(branches(then, other), half_options(precision))
        feed = {"c": np.array(True), "x": array(0.0)}
        np.testing.assert_allclose(run(made.rounded, feed)["y"], [0.1], rtol=1e-2)


def test_products_of_branches_and_loops_are_half():
    for model, feed in (
        (in_branches(), {"c": np.array(True), "x": noise(3)}),
        (looped([node("Mul", ["before", "k"], ["after"], "mul")], 3, {"k": [0.7]}), {"x": array(0.3)}),
    ):
        made = forecast(model, half_options())
        np.testing.assert_allclose(run(made.rounded, feed)["y"], run(model, feed)["y"], rtol=1e-2, atol=1e-2)
        np.testing.assert_allclose(run(made.typed, feed)["y"], run(model, feed)["y"], rtol=1e-2, atol=1e-2)


def test_products_of_branches_are_not_quantized_and_not_counted_as_tf32():
    feed = {"c": np.array(True), "x": noise(3)}
    for precision in (Precision.INT8, Precision.TF32):
        with pytest.raises(PrecisionError):
            forecast(in_branches(), PrecisionOptions(precision), lambda: [feed])


def test_local_functions_are_rounded_inside():
    body = [node("Exp", ["a"], ["e"]), node("Identity", ["e"], ["b"])]
    function = helper.make_function("own", "Grow", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    nodes = [node("Grow", ["x"], ["y"], domain="own")]
    model = model_of(nodes, ["x"], ["y"], domains=["own"], functions=[function])
    made = forecast(model, half_options())
    assert run(made.rounded, {"x": array(0.3)})["y"][0] == as_half(np.exp(as_half(array(0.3))))[0]


def test_operators_of_other_domains_stay_float32():
    nodes = [node("Gelu", ["x"], ["h"], "own", domain="com.microsoft"), node("Exp", ["h"], ["y"], "exp")]
    model = model_of(nodes, ["x"], ["y"], domains=["com.microsoft"])
    model.graph.value_info.append(value("h", 1))
    made = forecast(model, half_options())
    assert op_types(made.typed.graph) == ["Gelu", "Cast", "Exp", "Cast"]
    np.testing.assert_allclose(run(made.rounded, {"x": array(0.3)})["y"], run(model, {"x": array(0.3)})["y"], rtol=1e-2)


def test_models_with_external_data_are_forecast(tmp_path):
    onnx.save_model(convnet(), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    model = load_model(tmp_path / "m.onnx")
    made = forecast(model, half_options())
    assert made.typed_sha256 == forecast(convnet(), half_options()).typed_sha256


def test_an_empty_region_of_a_resize_does_no_harm_beside_weights_that_vanish():
    nodes = [node("Mul", ["x", "k"], ["t"], "mul"), node("Resize", ["t", "roi", "scales"], ["y"], "resize")]
    constants = {"k": np.full((1, 1, 1, 1), 1e-9, np.float32), "roi": np.zeros(0, np.float32), "scales": [1, 1, 2, 2]}
    made = forecast(model_of(nodes, [value("x", 4)], [value("y", 4)], constants), half_options())
    assert made.notes == ("1 constants in 1 tensors are too small for the format and become 0; worst: k, 1 of 1",)


def test_an_invalid_model_is_one_sentence():
    model = pointwise("Exp")
    model.graph.node[0].input.append("nowhere")
    with pytest.raises(PrecisionError, match="fp32: the typed model is not valid ONNX: "):
        forecast(model, PrecisionOptions(Precision.FP32))


def test_a_model_above_2_gib_is_not_refused_for_its_size(monkeypatch):
    def refuse(*_arguments, **_keywords):
        raise EncodeError("too large")

    model = pointwise("Exp")
    monkeypatch.setattr(ModelProto, "SerializeToString", refuse)
    assert forecast(model, PrecisionOptions(Precision.FP32)).typed is model


def test_nodes_that_are_called_as_added_ones_keep_a_name_of_their_own():
    names = ["x_fp16/cast", "x_rounded/cast", "t0/cast", "y/cast", "x_rounded_half/cast"]
    model = pointwise(*["Exp", "Neg", "Sigmoid", "Abs", "Exp"])
    for one, name in zip(model.graph.node, names, strict=True):
        one.name = name
    made = forecast(model, half_options())
    assert np.isfinite(run(made.rounded, {"x": array(0.1)})["y"]).all()


@pytest.mark.parametrize("opset", [7, 9, 10, 11])
def test_the_bias_of_a_gemm_that_must_have_one_is_split_too(opset):
    nodes = [node("Gemm", ["x", "w", "b"], ["y"], "gemm")]
    model = model_of(nodes, [value("x", 2)], [value("y", 2)], {"w": [[1e3]], "b": [-9e4]}, opset=opset)
    found = run(forecast(model, half_options()).rounded, {"x": array(100.0, 10.0).reshape(2, 1)})["y"]
    np.testing.assert_array_equal(found, [[np.inf], as_half(array(10000 - 65504))])


@st.composite
def graphs(draw):
    tensors, nodes = ["x"], []
    for number in range(draw(st.integers(2, 9))):
        op = draw(st.sampled_from(["Exp", "Relu", "Sigmoid", "Add", "Mul", "Identity", "Concat", "Softmax", "Sum"]))
        count = {"Add": 2, "Mul": 2, "Concat": 1, "Sum": draw(st.integers(1, 3))}.get(op, 1)
        attributes = {"axis": 0} if op == "Concat" else {}
        inputs = [draw(st.sampled_from(tensors)) for _ in range(count)]
        nodes.append(node(op, inputs, [f"t{number}"], draw(st.sampled_from(["", "same", f"n{number}"])), **attributes))
        tensors.append(f"t{number}")
    outputs = draw(st.lists(st.sampled_from(tensors[1:]), min_size=1, unique=True))
    return model_of(nodes, ["x"], outputs)


@given(graphs(), st.sampled_from([Precision.FP16, Precision.BF16]), st.booleans(), st.sampled_from(Rounding))
@settings(max_examples=40, deadline=None)
def test_any_graph_gives_valid_products_with_its_own_names(model, precision, half_io, rounding):
    io_precision = precision if half_io else Precision.FP32
    made = forecast(copy_of(model), half_options(precision, io_precision=io_precision, rounding=rounding))
    onnx.checker.check_model(made.typed, full_check=True)
    onnx.checker.check_model(made.rounded, full_check=True)
    feed = {"x": array(0.1, -0.7)}
    for one in model.graph.node:
        one.name = ""  # ONNX Runtime refuses the names that were drawn twice.
    found, expected = run(made.rounded, feed), run(model, feed)
    assert list(found) == list(expected)
    for name, values in found.items():
        if half_io and precision is Precision.FP16:
            np.testing.assert_array_equal(values, as_half(values))
        assert values.shape == expected[name].shape
