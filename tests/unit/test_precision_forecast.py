"""From a model and options to its two products: what holds for every precision."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from parity.errors import PrecisionError
from parity.graph import hash_model, model_interface
from parity.options import PrecisionOptions, Rounding
from parity.precision import forecast
from parity.tolerance import Precision
from tests.forecast_examples import EVERY, ROUNDING_ONES, convnet, feeds
from tests.plant import rename_everything
from tests.tiny_graphs import array, as_half, half_options, model_of, node, op_types, run, value
from tests.tiny_models import conv_relu


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
