"""Q/DQ models, against NumPy's own fake quantization."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto

from parity.errors import PrecisionError
from parity.precision.qdq import FORMATS, activations_to_quantize, quantize
from parity.tolerance import Precision
from tests.tiny_graphs import (
    affine,
    array,
    branches,
    constants_of,
    copy_of,
    graph_of,
    model_of,
    node,
    op_types,
    run,
    value,
)

INT8, FP8 = FORMATS[Precision.INT8], FORMATS[Precision.FP8]
BOTH = pytest.mark.parametrize("form", [INT8, FP8], ids=["int8", "fp8"])
RNG = np.random.default_rng(0)


def noise(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def fake(values, largest, form):
    """Quantize and dequantize: symmetric, full scale at the largest magnitude."""
    step = np.asarray(largest, np.float64) / form.largest
    scaled = np.clip(values / step.astype(np.float32), -form.largest - (form is INT8), form.largest)
    levels = np.rint(scaled) if form is INT8 else scaled.astype(ml_dtypes.float8_e4m3fn).astype(np.float64)
    return levels * step


def quantized(model, ranges, form, kept=frozenset()):
    model = copy_of(model)
    model.opset_import[0].version = max(model.opset_import[0].version, form.opset)
    done = quantize(model, ranges, form, kept)
    onnx.checker.check_model(model, full_check=True)
    return model, done


def product(op_type, weight, rank, **attributes):
    nodes = [node(op_type, ["x", "w"], ["y"], "product", **attributes)]
    return model_of(nodes, [value("x", rank)], [value("y", rank)], {"w": weight})


@BOTH
@pytest.mark.parametrize(
    ("op_type", "shapes", "axes", "attributes"),
    [
        ("Conv", ((4, 3, 2, 2), (1, 3, 4, 4)), (1, 2, 3), {}),
        ("Conv", ((4, 3, 2), (1, 3, 4)), (1, 2), {}),
        ("ConvTranspose", ((3, 4, 2, 2), (1, 3, 4, 4)), (0, 2, 3), {}),
        ("MatMul", ((3, 4), (2, 3)), (0,), {}),
        ("MatMul", ((2, 3, 4), (2, 5, 3)), (0, 1), {}),
        ("Gemm", ((3, 4), (2, 3)), (0,), {}),
        ("Gemm", ((4, 3), (2, 3)), (1,), {"transB": 1}),
    ],
    ids=["conv", "conv1d", "deconv", "matmul", "batched matmul", "gemm", "gemm transB"],
)
def test_activations_are_quantized_by_tensor_and_weights_by_output_channel(form, op_type, shapes, axes, attributes):
    shape, feed = shapes
    weight, activation = noise(*shape), noise(*feed)
    model = product(op_type, weight, len(feed), **attributes)
    largest = float(np.abs(activation).max())
    made, done = quantized(model, {"x": largest}, form)
    assert (done.node_count, done.tensor_count) == (1, 2)
    faked = fake(weight, np.abs(weight).max(axis=axes, keepdims=True), form)
    expected = run(
        product(op_type, faked.astype(np.float32), len(feed), **attributes),
        {"x": fake(activation, largest, form).astype(np.float32)},
    )["y"]
    np.testing.assert_allclose(run(made, {"x": activation})["y"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_constant_left_operand_is_quantized_by_row(transposed):
    weight = noise(4, 3)
    stored = weight.T.copy() if transposed else weight
    model = model_of(
        [node("Gemm", ["w", "x"], ["y"], "gemm", transA=transposed)], [value("x", 2)], [value("y", 2)], {"w": stored}
    )
    made, _ = quantized(model, {"x": 1.0}, INT8)
    found = run(made, {"x": np.eye(3, dtype=np.float32)})["y"]
    np.testing.assert_allclose(found, fake(weight, np.abs(weight).max(axis=1, keepdims=True), INT8), rtol=1e-5)


@given(arrays(np.float32, 6, elements=st.floats(-3, 3, width=32)))
@settings(max_examples=25, deadline=None)
def test_what_lies_beyond_the_calibrated_range_saturates(values):
    model = product("MatMul", np.eye(6, dtype=np.float32), 2)
    for form in (INT8, FP8):
        found = run(quantized(model, {"x": 2.0}, form)[0], {"x": values.reshape(1, 6)})["y"][0]
        np.testing.assert_allclose(found, fake(values, 2.0, form), rtol=1e-5, atol=1e-6)


@BOTH
def test_biases_and_outputs_are_not_quantized(form):
    bias = array(0.123456, -7.7)
    found = run(quantized(affine(bias=bias), {"x": 1.0}, form)[0], {"x": np.zeros((1, 2), np.float32)})["y"]
    np.testing.assert_array_equal(found, [bias])


def test_weights_are_stored_quantized_and_their_float32_originals_go():
    made, _ = quantized(affine(weight=((2.0, 0.5), (-1.0, 1.0))), {"x": 1.0}, INT8)
    constants = constants_of(made.graph)
    np.testing.assert_array_equal(constants["w_quantized"], np.array([[127, 64], [-64, 127]], np.int8))
    assert constants["w_quantized"].dtype == np.int8
    assert "w" not in constants
    assert not constants["w_zero_point"].any()


@pytest.mark.parametrize("told", [{}, {"kernel_shape": [2, 3]}], ids=["left out", "told"])
def test_a_convolution_tells_the_kernel_that_its_dequantized_weight_no_longer_does(told):
    made, _ = quantized(product("Conv", noise(4, 3, 2, 3), 4, **told), {"x": 1.0}, INT8)
    (conv,) = (found for found in made.graph.node if found.op_type == "Conv")
    assert [list(part.ints) for part in conv.attribute if part.name == "kernel_shape"] == [[2, 3]]


def test_an_activation_that_two_products_read_has_one_pair():
    nodes = [node("MatMul", ["x", "w"], ["y"], "one"), node("MatMul", ["x", "w"], ["z"], "two")]
    model = model_of(nodes, [value("x", 2)], [value("y", 2), value("z", 2)], {"w": noise(3, 4)})
    made, done = quantized(model, {"x": 1.0}, INT8)
    assert (done.node_count, done.tensor_count) == (2, 2)
    assert op_types(made.graph) == ["QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "MatMul", "MatMul"]


def test_weights_that_are_read_along_two_axes_are_stored_for_each():
    nodes = [node("Gemm", ["x", "w"], ["y"], "plain"), node("Gemm", ["x", "w"], ["z"], "transposed", transB=1)]
    model = model_of(nodes, [value("x", 2)], [value("y", 2), value("z", 2)], {"w": noise(3, 3)})
    _, done = quantized(model, {"x": 1.0}, INT8)
    assert done.tensor_count == 3


def test_a_product_of_two_activations_quantizes_both():
    model = model_of([node("MatMul", ["x", "z"], ["y"], "mm")], [value("x", 2), value("z", 2)], [value("y", 2)])
    assert activations_to_quantize(model, frozenset()) == ("x", "z")


def test_kept_products_read_float32_beside_quantized_ones():
    nodes = [node("MatMul", ["x", "w"], ["y"], "quantized"), node("MatMul", ["x", "w"], ["z"], "kept")]
    model = model_of(nodes, [value("x", 2)], [value("y", 2), value("z", 2)], {"w": noise(3, 4)})
    made, done = quantized(model, {"x": 0.5}, INT8, {"kept"})
    feed = {"x": noise(2, 3)}
    np.testing.assert_array_equal(run(made, feed)["z"], run(model, feed)["z"])
    assert (done.node_count, done.notes) == (1, ())


def test_activations_are_named_in_the_order_of_the_graph_without_constants_and_kept_ones():
    nodes = [
        node("MatMul", ["x", "w"], ["t"], "first"),
        node("Relu", ["t"], ["r"], "relu"),
        node("MatMul", ["r", "w"], ["u"], "second"),
        node("MatMul", ["u", "w"], ["y"], "kept"),
    ]
    model = model_of(nodes, [value("x", 2)], [value("y", 2)], {"w": noise(3, 3)})
    assert activations_to_quantize(model, {"kept"}) == ("x", "r")


def test_products_inside_of_branches_are_told():
    branch = graph_of([node("MatMul", ["x", "w"], ["b"], "inside")], [], [value("b", 1)])
    model = branches(branch, branch, {"w": noise(3, 3)}, [node("MatMul", ["x", "w"], ["t"], "outside")])
    assert quantized(model, {"x": 1.0}, INT8)[1].notes == (
        "2 products inside of subgraphs, or not in float32, are not quantized",
    )


def test_an_activation_that_is_always_zero_is_told_and_stays_zero():
    made, done = quantized(product("MatMul", noise(3, 4), 2), {"x": 0.0}, INT8)
    assert done.notes == ("x: is all zero on the calibration inputs; its scale is arbitrary",)
    assert not run(made, {"x": np.zeros((2, 3), np.float32)})["y"].any()


def test_weights_of_zeros_stay_zero():
    weight = noise(3, 4)
    weight[:, 1] = 0
    found = run(quantized(product("MatMul", weight, 2), {"x": 1.0}, INT8)[0], {"x": noise(2, 3)})["y"]
    assert np.isfinite(found).all()
    assert not found[:, 1].any()


@pytest.mark.parametrize("elem_type", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_a_model_without_float32_products_is_an_error(elem_type):
    op = "Relu" if elem_type == TensorProto.FLOAT else "MatMul"
    inputs = ["x"] if op == "Relu" else ["x", "x"]
    model = model_of([node(op, inputs, ["y"], "n")], [value("x", 2, elem_type)], [value("y", 2, elem_type)])
    with pytest.raises(PrecisionError, match="no node would be quantized"):
        quantize(model, {}, INT8, frozenset())


@BOTH
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_hold_no_numbers_have_no_scale_and_are_named(form, value) -> None:
    weights = noise(4, 3)
    weights[1, 2] = value
    model = model_of([node("MatMul", ["x", "w"], ["y"], "product")], ["x"], ["y"], {"w": weights})
    with pytest.raises(PrecisionError, match=r"weights 'w': 1 of 12 are NaN or infinite"):
        quantized(model, {"x": 1.0}, form)
