"""Folding: what a folded graph computes, against the unfolded one in float64."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from parity.precision.fold import count_readers, fold_constants, fold_scales, split_biases
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

FP16 = TensorProto.FLOAT16
RNG = np.random.default_rng(0)


def noise(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def in_float64(model, feed):
    """Execute a float32 model in float64 with ONNX's reference implementation."""
    double = copy_of(model)
    for tensor in double.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for one in (*double.graph.input, *double.graph.output):
        one.type.tensor_type.elem_type = TensorProto.DOUBLE
    outputs = ReferenceEvaluator(double).run(None, {name: given.astype(np.float64) for name, given in feed.items()})
    return dict(zip([one.name for one in double.graph.output], outputs, strict=True))


def agrees_in_float64(model, changed, feed):
    onnx.checker.check_model(changed, full_check=True)
    expected = in_float64(model, feed)
    for name, found in run(changed, feed).items():
        assert found.shape == expected[name].shape
        np.testing.assert_allclose(found, expected[name], rtol=2e-5, atol=2e-5)


def all_assigned(model):
    return {made.name: FP16 for made in model.graph.node}


# Constant expressions


def test_nodes_that_read_constants_only_become_initializers():
    nodes = [node("Mul", ["a", "b"], ["t"], "mul"), node("Neg", ["t"], ["u"], "neg"), node("Add", ["x", "u"], ["y"])]
    model = model_of(nodes, ["x"], ["y"], {"a": [2.0], "b": [3.0]})
    assert fold_constants(model) == 2
    assert (op_types(model.graph), list(constants_of(model.graph))) == (["Add"], ["u"])
    assert constants_of(model.graph)["u"] == [-6.0]


def test_a_foldable_node_that_gives_an_output_stays():
    nodes = [node("Neg", ["a"], ["t"], "neg"), node("Abs", ["t"], ["y"], "abs")]
    model = model_of(nodes, [], ["y"], {"a": [2.0]})
    assert fold_constants(model) == 1
    assert (op_types(model.graph), run(model, {})["y"][0]) == (["Abs"], 2.0)


def test_an_output_that_further_constants_are_made_of_folds_for_its_readers():
    nodes = [node("Neg", ["a"], ["k"], "neg"), node("Abs", ["k"], ["t"], "abs"), node("Add", ["x", "t"], ["y"], "add")]
    model = model_of(nodes, ["x"], ["k", "y"], {"a": [2.0]})
    assert fold_constants(model) == 1
    found = run(model, {"x": array(1.0)})
    assert (found["k"][0], found["y"][0]) == (-2.0, 3.0)


def test_a_folded_value_that_only_a_branch_captures_is_kept_for_it():
    branch = graph_of([node("Add", ["x", "t"], ["b"], "inside")], [], ["b"])
    model = branches(branch, branch, {"a": [2.0]}, [node("Neg", ["a"], ["t"], "neg")])
    assert fold_constants(model) == 1
    assert run(model, {"c": np.array(True), "x": array(1.0)})["y"] == [-1.0]


def test_integers_and_shapes_of_constants_fold_too():
    nodes = [
        node("Shape", ["w"], ["s"], "shape"),
        node("Equal", ["s", "minus"], ["e"], "equal"),
        node("Where", ["e", "minus", "s"], ["target"], "where"),
        node("Reshape", ["x", "target"], ["y"], "reshape"),
    ]
    constants = {"w": noise(2, 3), "minus": np.array([-1, -1])}
    model = model_of(nodes, ["x"], [value("y", 2)], constants)
    assert fold_constants(model) == 3
    assert (op_types(model.graph), list(constants_of(model.graph))) == (["Reshape"], ["target"])


def test_random_numbers_and_quantized_weights_are_not_constants():
    nodes = [
        node("RandomNormal", [], ["r"], "random", shape=[2]),
        node("DequantizeLinear", ["q", "s"], ["d"], "dq"),
        node("Sum", ["x", "r", "d"], ["y"], "sum"),
    ]
    model = model_of(nodes, ["x"], ["y"], {"q": np.array([1, 2], np.int8), "s": np.array(0.5, np.float32)})
    assert fold_constants(model) == 0
    assert len(model.graph.node) == 3


def test_constants_of_strings_do_no_harm():
    nodes = [
        node("Constant", [], ["s"], "words", value_strings=[b"a", b"b"]),
        node("Identity", ["k"], ["t"], "copy"),
        node("Gather", ["s", "i"], ["word"], "gather"),
        node("Equal", ["word", "t"], ["e"], "equal"),
    ]
    inputs, outputs = [value("i", 1, TensorProto.INT64)], [value("e", 1, TensorProto.BOOL)]
    model = model_of(nodes, inputs, outputs, {"k": np.array(["b"], object)}, opset=19)
    assert fold_constants(model) == 1
    np.testing.assert_array_equal(run(model, {"i": np.array([0, 1])})["e"], [False, True])


def test_sparse_constants_do_no_harm():
    values = helper.make_tensor("v", TensorProto.FLOAT, [1], [2.0])
    sparse = helper.make_sparse_tensor(values, helper.make_tensor("i", TensorProto.INT64, [1], [1]), [3])
    nodes = [node("Constant", [], ["s"], "sparse", sparse_value=sparse), node("Add", ["x", "s"], ["y"], "add")]
    model = model_of(nodes, ["x"], ["y"])
    assert fold_constants(model) == 0
    np.testing.assert_array_equal(run(model, {"x": array(1.0, 1.0, 1.0)})["y"], array(1.0, 3.0, 1.0))


# Scales and shifts behind products


def conv_model(*followers, constants, weight, bias=None, op_type="Conv", outputs=("y",), **attributes):
    """Return x -> product -> t0 -> followers -> y; a follower is an op type and its constants."""
    rank = weight.ndim
    names = ["w"] if bias is None else ["w", "b"]
    nodes = [node(op_type, ["x", *names], ["t0"], "conv", **attributes)]
    for number, (follower, *reads) in enumerate(followers):
        target = "y" if number == len(followers) - 1 else f"t{number + 1}"
        nodes.append(node(follower, [f"t{number}", *reads], [target], f"follower{number}"))
    tensors = {"w": weight, **({} if bias is None else {"b": bias}), **constants}
    return model_of(nodes, [value("x", rank)], [value(name, rank) for name in outputs], tensors)


NORM = {"g": noise(4), "o": noise(4), "m": noise(4), "v": np.abs(noise(4)) + 0.1}
BN = ("BatchNormalization", "g", "o", "m", "v")


@pytest.mark.parametrize("bias", [None, noise(4)], ids=["no bias", "bias"])
@pytest.mark.parametrize(
    ("op_type", "weight", "attributes"),
    [
        ("Conv", noise(4, 3, 2, 2), {}),
        ("Conv", noise(4, 1, 2, 2), {"group": 2}),
        ("Conv", noise(4, 3, 2), {}),
        ("Conv", noise(4, 3, 2, 1, 2), {}),
        ("ConvTranspose", noise(3, 4, 2, 2), {}),
        ("ConvTranspose", noise(4, 2, 2, 2), {"group": 2}),
        ("Gemm", noise(3, 4), {}),
        ("Gemm", noise(4, 3), {"transB": 1}),
    ],
    ids=["conv", "grouped", "conv1d", "conv3d", "deconv", "grouped deconv", "gemm", "gemm transB"],
)
def test_batch_norm_scale_and_shift_go_into_the_weights(op_type, weight, attributes, bias):
    channel = [4] if op_type == "Gemm" else [1, 4, *[1] * (weight.ndim - 2)]
    constants = NORM | {"k": noise(*channel), "h": noise(*channel)}
    followers = (BN, ("Mul", "k"), ("Add", "h"))
    model = conv_model(*followers, constants=constants, weight=weight, bias=bias, op_type=op_type, **attributes)
    in_channels = {"ConvTranspose": weight.shape[0], "Conv": weight.shape[1] * attributes.get("group", 1)}.get(
        op_type, 3
    )
    feed = {"x": noise(2, in_channels, *[5] * (weight.ndim - 2))}
    folded = copy_of(model)
    assert fold_scales(folded, all_assigned(model)) == 3
    assert op_types(folded.graph) == [op_type]
    if op_type == "ConvTranspose" and attributes:
        # ONNX's reference implementation knows no groups here.
        np.testing.assert_allclose(run(folded, feed)["y"], run(model, feed)["y"], rtol=1e-4, atol=1e-5)
    else:
        agrees_in_float64(model, folded, feed)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (1, 4), (2, 1), (2, 4)], ids=str)
def test_every_shape_of_a_gemms_bias_takes_a_scale(shape):
    model = model_of(
        [node("Gemm", ["x", "w", "b"], ["t"], "gemm"), node("Mul", ["t", "k"], ["y"], "mul")],
        [value("x", 2)],
        [value("y", 2)],
        {"w": noise(3, 4), "b": np.asarray(noise(*shape)), "k": noise(4)},
    )
    folded = copy_of(model)
    assert fold_scales(folded, all_assigned(model)) == 1
    agrees_in_float64(model, folded, {"x": noise(2, 3)})


@pytest.mark.parametrize(
    ("weight", "shape"),
    [
        (noise(4, 3, 2), (4, 1, 1)),
        (noise(4, 3, 2, 1, 2), (1, 4, 1, 1)),
        (noise(4, 3, 1, 1), (4, 1)),
        (noise(4, 3, 1, 1), (4,)),
        (noise(4, 3, 1, 1), (1, 4, 4, 1)),
        (noise(4, 3, 1, 1), (1, 1, 1, 1, 1)),
        (noise(1, 3, 1, 1), (1, 4, 1, 1)),
    ],
    ids=["over the batch", "over depth", "over rows", "over columns", "by place", "of higher rank", "widening"],
)
def test_a_constant_that_differs_along_another_axis_is_no_scale_of_channels(weight, shape):
    model = conv_model(("Mul", "k"), constants={"k": noise(*shape)}, weight=weight)
    assert fold_scales(model, all_assigned(model)) == 0


@pytest.mark.parametrize("follower", ["Div", "Sub", "Max"])
def test_other_operators_stay(follower):
    model = conv_model((follower, "k"), constants={"k": noise(1)}, weight=noise(4, 3, 1, 1))
    assert fold_scales(model, all_assigned(model)) == 0


def test_nothing_folds_where_the_tensor_between_is_an_output_or_read_again():
    weight, constants = noise(4, 3, 1, 1), {"k": noise(1)}
    seen = conv_model(("Mul", "k"), constants=constants, weight=weight, outputs=("y", "t0"))
    assert fold_scales(seen, all_assigned(seen)) == 0
    square = conv_model(("Mul", "t0"), constants={}, weight=weight)
    assert fold_scales(square, all_assigned(square)) == 0


def test_nothing_folds_where_a_branch_captures_the_tensor_between():
    branch = graph_of([node("Mul", ["t", "k"], ["b"], "inside")], [], [value("b", 4)])
    nodes = [
        node("Conv", ["x", "w"], ["t"], "conv"),
        node("Mul", ["t", "k"], ["z"], "mul"),
        node("If", ["c"], ["y"], "choose", then_branch=branch, else_branch=branch),
    ]
    inputs = [value("c", 0, TensorProto.BOOL), value("x", 4)]
    constants = {"w": noise(4, 3, 1, 1), "k": noise(1)}
    both = model_of(nodes, inputs, [value("y", 4), value("z", 4)], constants)
    assert fold_scales(both, all_assigned(both)) == 0
    captured_only = model_of([nodes[0], nodes[2]], inputs, [value("y", 4)], constants)
    assert fold_scales(captured_only, all_assigned(captured_only)) == 0


def test_products_inside_of_branches_fold():
    nodes = [node("Gemm", ["x", "w"], ["t"], "gemm"), node("Mul", ["t", "k"], ["b"], "mul")]
    branch = graph_of(nodes, [], [value("b", 2)], {"w": noise(3, 4), "k": noise(4)})
    model = branches(branch, branch)
    assert fold_scales(model, {"gemm": FP16, "mul": FP16}) == 2
    assert op_types(model.graph.node[0].attribute[0].g) == ["Gemm"]


def test_nodes_of_different_precisions_do_not_fold_and_kept_ones_do():
    model = conv_model(("Mul", "k"), constants={"k": noise(1)}, weight=noise(4, 3, 1, 1))
    assert fold_scales(copy_of(model), {"conv": FP16}) == 0
    assert fold_scales(copy_of(model), {}) == 1


def test_weights_that_two_products_share_are_scaled_for_one_of_them_only():
    nodes = [
        node("Gemm", ["x", "w"], ["t"], "first"),
        node("Mul", ["t", "k"], ["y"], "mul"),
        node("Gemm", ["x", "w"], ["z"], "second"),
    ]
    model = model_of(nodes, [value("x", 2)], [value("y", 2), value("z", 2)], {"w": noise(3, 4), "k": noise(4)})
    folded = copy_of(model)
    assert fold_scales(folded, all_assigned(model)) == 1
    agrees_in_float64(model, folded, {"x": noise(2, 3)})


def test_float64_products_are_not_folded_into_float32():
    constants = {"w": noise(3, 4).astype(np.float64), "k": noise(4).astype(np.float64)}
    nodes = [node("Gemm", ["x", "w"], ["t"], "gemm"), node("Mul", ["t", "k"], ["y"], "mul")]
    model = model_of(nodes, [value("x", 2, TensorProto.DOUBLE)], [value("y", 2, TensorProto.DOUBLE)], constants)
    assert fold_scales(model, {}) == 0


def test_a_scaled_gemm_keeps_its_follower():
    model = model_of(
        [node("Gemm", ["x", "w"], ["t"], "gemm", alpha=0.5), node("Mul", ["t", "k"], ["y"], "mul")],
        [value("x", 2)],
        [value("y", 2)],
        {"w": noise(3, 4), "k": noise(4)},
    )
    assert fold_scales(model, all_assigned(model)) == 0


def test_readers_are_counted_by_use_by_capture_and_as_outputs():
    branch = graph_of([node("Relu", ["x"], ["b"], "inside")], [], ["b"])
    model = branches(branch, branch)
    model.graph.node.append(node("Mul", ["x", "x"], ["z"], "square"))
    model.graph.output.append(value("z", 1))
    counts = count_readers(model.graph)
    assert (counts["x"], counts["c"], counts["y"], counts["z"]) == (3, 1, 1, 1)


def test_a_batch_norm_folds_with_its_own_epsilon():
    model = conv_model(BN, constants=NORM, weight=noise(4, 3, 1, 1))
    model.graph.node[1].attribute.append(helper.make_attribute("epsilon", 0.5))
    folded = copy_of(model)
    assert fold_scales(folded, all_assigned(model)) == 1
    agrees_in_float64(model, folded, {"x": noise(1, 3, 2, 2)})


# Biases


@pytest.mark.parametrize(
    ("op_type", "weight", "bias", "attributes"),
    [
        ("Conv", noise(4, 3, 2, 2), noise(4), {}),
        ("Conv", noise(4, 3, 2), noise(4), {}),
        ("ConvTranspose", noise(3, 4, 2, 2), noise(4), {}),
        ("Gemm", noise(3, 4), noise(4), {"alpha": 0.5, "beta": 0.25}),
        ("Gemm", noise(3, 4), noise(2, 1), {"beta": 2.0}),
        ("Gemm", noise(3, 4), np.asarray(noise()), {}),
    ],
    ids=["conv", "conv1d", "deconv", "gemm beta", "gemm column", "gemm scalar"],
)
def test_a_bias_moves_behind_its_product(op_type, weight, bias, attributes):
    model = conv_model(("Relu",), constants={}, weight=weight, bias=bias, op_type=op_type, **attributes)
    split, assignment = copy_of(model), all_assigned(model)
    assert split_biases(split, assignment) == {"conv/bias"}
    assert op_types(split.graph) == [op_type, "Add", "Relu"]
    assert assignment["conv/bias"] == FP16
    agrees_in_float64(model, split, {"x": noise(2, 3, *[5] * (weight.ndim - 2))})


@pytest.mark.parametrize("attributes", [{}, {"kernel_shape": [2]}], ids=["unknown kernel", "known kernel"])
def test_the_bias_of_a_convolution_over_time_whose_weights_are_computed_keeps_its_axis(attributes):
    model = model_of(
        [node("Conv", ["x", "w", "b"], ["y"], "conv", **attributes)],
        [value("x", 3), value("w", 3)],
        [value("y", 3)],
        {"b": noise(4)},
    )
    split = copy_of(model)
    assert len(split_biases(split, all_assigned(model))) == len(attributes)
    agrees_in_float64(model, split, {"x": noise(4, 3, 5), "w": noise(4, 3, 2)})


def test_kept_products_keep_their_bias():
    model = affine()
    assert split_biases(model, {}) == frozenset()
    assert op_types(model.graph) == ["Gemm"]


def test_a_bias_takes_no_name_that_a_node_has_already():
    model = affine()
    model.graph.node.append(node("Relu", ["y"], ["z"], "gemm/bias"))
    assignment = {"gemm": FP16}
    assert split_biases(model, assignment) == {"gemm/bias_2"}
    assert assignment == {"gemm": FP16, "gemm/bias_2": FP16}
