"""From a model and options to its two products: what holds for every precision."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from google.protobuf.message import EncodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper

from parity.errors import PrecisionError
from parity.graph import hash_model, load_model, model_interface
from parity.options import PrecisionOptions, Rounding
from parity.precision import forecast
from parity.tolerance import Precision
from tests.plant import rename_everything
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
from tests.tiny_models import conv_relu

EVERY = [*Precision]
ROUNDING_ONES = [precision for precision in Precision if precision is not Precision.FP32]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def convnet(**options) -> ModelProto:
    """Return images (1, 3, 6, 6) -> scores (1, 4): convolution, norm, gate, pooling, Gemm."""
    nodes = [
        node("Conv", ["x", "w", "b"], ["t"], "conv", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["t", "g", "o", "m", "v"], ["n"], "norm"),
        node("Sigmoid", ["n"], ["s"], "sigmoid"),
        node("Mul", ["n", "s"], ["a"], "gate"),
        node("GlobalAveragePool", ["a"], ["p"], "pool"),
        node("Flatten", ["p"], ["f"], "flatten"),
        node("Gemm", ["f", "u", "c"], ["y"], "gemm"),
    ]
    constants = {"w": noise(8, 3, 3, 3), "b": noise(8), "g": noise(8), "o": noise(8), "m": noise(8)}
    constants |= {"v": np.abs(noise(8)) + 0.5, "u": noise(8, 4), "c": noise(4)}
    return model_of(nodes, [value("x", 4)], [value("y", 2)], constants, **options)


def feeds():
    return [{"x": noise(1, 3, 6, 6, seed=seed)} for seed in range(3)]


def in_branches() -> ModelProto:
    branch = graph_of([node("MatMul", ["x", "w"], ["b"], "inside")], [], [value("b", 1)])
    return branches(branch, branch, {"w": noise(3, 2)})


@pytest.mark.parametrize("precision", EVERY)
def test_a_forecast_keeps_names_leaves_the_model_alone_and_is_close_to_it(precision):
    model = convnet()
    before = model.SerializeToString(deterministic=True)
    made = forecast(model, PrecisionOptions(precision), feeds)
    assert model.SerializeToString(deterministic=True) == before
    for product in (made.typed, made.rounded):
        interface = model_interface(product)
        assert [info.name for info in (*interface.inputs, *interface.outputs)] == ["x", "y"]
    onnx.checker.check_model(made.typed)
    onnx.checker.check_model(made.rounded)
    feed = feeds()[0]
    tolerance = {Precision.INT8: 0.1, Precision.FP8: 0.2, Precision.BF16: 0.05}.get(precision, 1e-2)
    np.testing.assert_allclose(run(made.rounded, feed)["y"], run(model, feed)["y"], atol=tolerance, rtol=tolerance)
    assert made.nodes_changed > 0
    assert (hash_model(made.typed), hash_model(made.rounded)) == (made.typed_sha256, made.rounded_sha256)


@pytest.mark.parametrize("precision", ROUNDING_ONES)
def test_every_other_precision_changes_what_is_computed(precision):
    model = convnet()
    found = run(forecast(model, PrecisionOptions(precision), feeds).rounded, feeds()[0])["y"]
    assert np.any(found != run(model, feeds()[0])["y"])


def test_the_forecast_of_fp32_is_the_model():
    model = convnet()
    made = forecast(model, PrecisionOptions(Precision.FP32))
    assert made.rounded is model
    assert made.typed is model
    assert (made.rounding, made.rounded_tensor_count, made.graph_optimizations) == ("none", 0, True)


def test_the_typed_half_model_computes_what_the_model_computes():
    model = convnet()
    typed = forecast(model, half_options()).typed
    np.testing.assert_allclose(run(typed, feeds()[0])["y"], run(model, feeds()[0])["y"], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("precision", ROUNDING_ONES)
def test_names_do_not_matter(precision):
    model = convnet()
    plain, renamed = (forecast(one, PrecisionOptions(precision), feeds) for one in (model, rename_everything(model)))
    np.testing.assert_array_equal(*(run(made.rounded, feeds()[0])["y"] for made in (plain, renamed)))
    assert op_types(plain.typed.graph) == op_types(renamed.typed.graph)
    assert plain.rounded_tensor_count == renamed.rounded_tensor_count


def test_a_fused_forecast_folds_and_one_of_every_node_does_not():
    model = convnet()
    fused, every = (forecast(model, half_options(rounding=rounding)) for rounding in Rounding)
    assert (fused.rounding, fused.folded_node_count) == ("fused", 1)
    assert (every.rounding, every.folded_node_count) == ("every-node", 0)
    assert op_types(every.rounded.graph).count("BatchNormalization") == 1
    assert fused.typed_sha256 == every.typed_sha256


def test_a_product_overflows_before_its_bias_brings_it_back():
    model = model_of(
        [node("Gemm", ["x", "w", "b"], ["y"], "gemm")], [value("x", 2)], [value("y", 2)], {"w": [[1e3]], "b": [-9e4]}
    )
    feed = {"x": array(100.0).reshape(1, 1)}
    assert run(forecast(model, half_options()).rounded, feed)["y"][0, 0] == np.inf
    every = half_options(rounding=Rounding.EVERY_NODE)
    assert run(forecast(model, every).rounded, feed)["y"][0, 0] == np.float32(1e5 - 65504)


def test_kept_nodes_are_counted_and_named_in_a_note():
    made = forecast(convnet(), half_options(keep=("conv", "op:Gemm")))
    assert made.notes == ("2 nodes are kept at fp32",)
    quantized = forecast(
        convnet(), PrecisionOptions(Precision.INT8, keep=("conv",), keep_precision=Precision.FP16), feeds
    )
    assert quantized.notes == ("1 nodes are kept at fp32",)


def test_nodes_kept_at_bfloat16_make_a_valid_model():
    made = forecast(convnet(), half_options(keep=("conv",), keep_precision=Precision.BF16))
    types = {tensor.data_type for tensor in made.typed.graph.initializer}
    assert {TensorProto.BFLOAT16, TensorProto.FLOAT16} <= types
    assert np.isfinite(run(made.rounded, feeds()[0])["y"]).all()


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


def test_an_engines_tf32_cannot_spare_nodes():
    with pytest.raises(PrecisionError, match="tf32: cannot keep conv; expected no keep-list"):
        forecast(convnet(), PrecisionOptions(Precision.TF32, keep=("conv",)))


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16, Precision.INT8, Precision.FP8])
def test_a_pattern_that_matches_nothing_is_an_error(precision):
    with pytest.raises(PrecisionError, match="keep: '/typo/\\*' matches no node"):
        forecast(convnet(), PrecisionOptions(precision, keep=("/typo/*",)), feeds)


@pytest.mark.parametrize("precision", ROUNDING_ONES)
def test_a_model_with_nothing_to_change_is_an_error(precision):
    model = model_of([node("Shape", ["x"], ["y"])], ["x"], [value("y", 1, TensorProto.INT64)])
    with pytest.raises(PrecisionError, match=r"no node would|has no float32 Conv"):
        forecast(model, PrecisionOptions(precision), lambda: [{"x": array(1.0)}])


def test_a_quantized_precision_without_calibration_inputs_is_an_error():
    with pytest.raises(PrecisionError, match="int8: has no calibration inputs"):
        forecast(convnet(), PrecisionOptions(Precision.INT8))


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
def test_half_inputs_and_outputs(precision):
    model = convnet()
    made = forecast(model, half_options(precision, io_precision=precision, keep=("conv", "gemm")))
    wanted = {Precision.FP16: "float16", Precision.BF16: "bfloat16"}[precision]
    assert [model_interface(made.typed).inputs[0].dtype, model_interface(made.typed).outputs[0].dtype] == [wanted] * 2
    assert model_interface(made.rounded).inputs[0].dtype == "float32"
    found = run(made.rounded, feeds()[0])["y"]
    rounded_feed = {"x": feeds()[0]["x"].astype(wanted).astype(np.float32)} if precision is Precision.FP16 else None
    if rounded_feed is not None:
        np.testing.assert_array_equal(found, as_half(found))
        np.testing.assert_array_equal(found, run(made.rounded, rounded_feed)["y"])


def test_an_input_handed_through_is_half_with_half_outputs():
    model = model_of([node("Exp", ["x"], ["y"], "exp")], ["x"], ["y", "x"])
    made = forecast(model, half_options(io_precision=Precision.FP16))
    assert run(made.rounded, {"x": array(0.1)})["y"][0] == as_half(np.exp(as_half(array(0.1))))[0]


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


# The user's own typed models


def test_a_half_model_of_the_user_is_forecast_as_one_that_would_be_made():
    model = convnet()
    own = forecast(model, half_options()).typed
    made = forecast(model, half_options(), typed_model=own)
    assert made.typed is own
    assert made.notes == ("the typed model is the user's own",)
    assert made.nodes_changed == 7
    ours = run(forecast(model, half_options()).rounded, feeds()[0])["y"]
    np.testing.assert_allclose(run(made.rounded, feeds()[0])["y"], ours, rtol=5e-3, atol=5e-3)


def test_unnamed_nodes_of_a_users_half_model_are_all_counted():
    own = forecast(convnet(), half_options()).typed
    for made in own.graph.node:
        made.name = ""
    assert forecast(convnet(), half_options(), typed_model=own).nodes_changed == 7


def test_a_quantized_model_of_the_user_runs_as_it_stands():
    own = forecast(convnet(), PrecisionOptions(Precision.INT8), feeds).typed
    made = forecast(convnet(), PrecisionOptions(Precision.INT8), typed_model=own)
    assert made.rounded is own
    assert (made.rounding, made.nodes_changed) == ("qdq", 4)


def test_the_float32_model_again_is_no_typed_model():
    with pytest.raises(PrecisionError, match="no half tensor and no Q/DQ pair"):
        forecast(convnet(), half_options(), typed_model=convnet())


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.TF32])
def test_a_float_model_of_the_users_own_runs_as_it_stands(precision):
    own = convnet()
    made = forecast(convnet(), PrecisionOptions(precision), typed_model=own)
    assert made.typed is own
    assert not made.graph_optimizations
    assert made.notes == ("the typed model is the user's own",)


def test_a_float_model_of_the_users_own_is_no_half_model():
    with pytest.raises(PrecisionError, match="no half tensor and no Q/DQ pair"):
        forecast(convnet(), half_options(), typed_model=convnet())


def test_a_half_model_of_the_users_own_is_no_float_model():
    own = forecast(convnet(), half_options()).typed
    with pytest.raises(PrecisionError, match="nodes of a lower precision"):
        forecast(convnet(), PrecisionOptions(Precision.FP32), typed_model=own)


def test_a_typed_model_with_other_outputs_is_refused():
    own = forecast(conv_relu(), half_options()).typed
    with pytest.raises(PrecisionError, match=r"fp16: the typed model has inputs \['images'\]; expected \['x'\]"):
        forecast(convnet(), half_options(), typed_model=own)


# Laws


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
