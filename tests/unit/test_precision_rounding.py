"""Rounded graphs: NumPy's own rounding says what they must give, to the last bit."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from parity.precision.assignment import assign
from parity.precision.rounding import insert_rounding
from parity.tolerance import Precision
from tests.tiny_graphs import (
    affine,
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
    run_exposed,
    value,
)

FLOAT, FP16, BF16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16
UNARY = {"Abs": np.abs, "Neg": np.negative, "Sqrt": np.sqrt, "Floor": np.floor, "Relu": lambda x: np.maximum(x, 0)}
BINARY = {"Add": np.add, "Mul": np.multiply, "Sub": np.subtract, "Max": np.maximum}


def rounded(model, io_type=FLOAT, fused=(), **options):
    """Return a rounded copy that the checker takes, and how many tensors it rounds."""
    graph = copy_of(model)
    count = insert_rounding(graph, assign(graph, half_options(**options)), frozenset(fused), io_type)
    onnx.checker.check_model(graph, full_check=True)
    return graph, count


def ran(model, feed, **options):
    return run(rounded(model, **options)[0], feed)


def as_bfloat16(values):
    return values.astype(ml_dtypes.bfloat16).astype(np.float32)


def test_inputs_constants_and_results_are_rounded():
    model = model_of([node("Mul", ["x", "k"], ["y"], "mul")], ["x"], ["y"], {"k": [0.1]})
    graph, count = rounded(model)
    assert count == 3
    expected = as_half(as_half(array(0.3)) * as_half(array(0.1)))
    np.testing.assert_array_equal(run(graph, {"x": array(0.3)})["y"], expected)


def test_bfloat16_rounds_as_ml_dtypes_rounds():
    found = ran(pointwise("Exp", "Neg"), {"x": array(0.3, 80.0)}, precision=Precision.BF16)["y"]
    np.testing.assert_array_equal(found, -as_bfloat16(np.exp(as_bfloat16(array(0.3, 80.0)))))


def test_overflow_between_two_nodes_shows_although_float32_would_undo_it():
    nodes = [node("Mul", ["x", "up"], ["t"], "up"), node("Mul", ["t", "down"], ["y"], "down")]
    model = model_of(nodes, ["x"], ["y"], {"up": [2.0**10], "down": [2.0**-10]})
    np.testing.assert_array_equal(ran(model, {"x": array(1.0, 100.0)})["y"], array(1.0, np.inf))


def test_a_value_past_65504_survives_inside_a_kept_island_and_overflows_at_its_border():
    nodes = [
        node("Mul", ["x", "up"], ["high"], "up"),
        node("Mul", ["high", "down"], ["low"], "down"),
        node("Identity", ["high"], ["border"], "outside"),
    ]
    model = model_of(nodes, ["x"], ["low", "border"], {"up": [2.0**10], "down": [2.0**-10]})
    found = ran(model, {"x": array(100.0)}, keep=("up", "down"))
    assert (found["low"][0], found["border"][0]) == (100.0, np.inf)


def test_nodes_kept_at_bfloat16_have_its_range_and_its_digits():
    nodes = [node("Mul", ["x", "k"], ["t"], "wide"), node("Mul", ["t", "back"], ["y"], "narrow")]
    model = model_of(nodes, ["x"], ["t", "y"], {"k": [3000.0], "back": [1.0]})
    found = ran(model, {"x": array(100.3)}, keep=("wide",), keep_precision=Precision.BF16)
    assert found["t"][0] == as_bfloat16(as_bfloat16(array(100.3)) * as_bfloat16(array(3000.0)))[0]
    assert found["y"][0] == np.inf


def test_masks_of_minus_infinity_stay_infinite_and_huge_finite_ones_are_clamped():
    model = model_of([node("Add", ["x", "mask"], ["y"], "add")], ["x"], ["y"], {"mask": [-np.inf, -3e38]})
    np.testing.assert_array_equal(ran(model, {"x": array(0.0, 0.0)})["y"], array(-np.inf, -65504.0))


def test_what_moves_data_is_not_rounded_again():
    graph, count = rounded(pointwise("Exp", "Relu", "Identity"))
    assert count == 2
    assert op_types(graph.graph) == ["Cast", "Cast", "Exp", "Cast", "Cast", "Relu", "Identity"]


def test_what_moves_data_out_of_a_fused_kernel_is_rounded():
    model = pointwise("Exp", "Relu")
    assert ran(model, {"x": array(0.3)}, fused=["n0"])["y"][0] == as_half(np.exp(as_half(array(0.3))))[0]


def test_a_tensor_inside_a_fused_kernel_keeps_its_digits_and_its_range():
    nodes = [node("Mul", ["x", "up"], ["t"], "up"), node("Mul", ["t", "down"], ["y"], "down")]
    model = model_of(nodes, ["x"], ["y"], {"up": [2.0**10], "down": [2.0**-10]})
    assert ran(model, {"x": array(100.0)}, fused=["up"])["y"] == [100.0]


def test_branches_that_call_their_tensors_alike_are_fused_each_for_itself():
    def branch(prefix):
        nodes = [node("Mul", ["x", "up"], ["t"], f"{prefix}_up"), node("Mul", ["t", "down"], ["b"], f"{prefix}_down")]
        return graph_of(nodes, [], ["b"])

    model = branches(branch("then"), branch("other"), {"up": [2.0**10], "down": [2.0**-10]})
    graph, _ = rounded(model, fused=["then_up"])
    found = [run(graph, {"c": np.array(choice), "x": array(100.0)})["y"][0] for choice in (True, False)]
    assert found == [100.0, np.inf]


def test_nodes_inside_of_loops_are_rounded():
    graph, _ = rounded(looped([node("Add", ["before", "k"], ["after"], "add")], 3, {"k": [0.1]}))
    total = array(0.3)
    for _ in range(3):
        total = as_half(as_half(total) + as_half(array(0.1)))
    np.testing.assert_array_equal(run(graph, {"x": array(0.3)})["y"], total)


def test_a_branch_rounds_the_outer_tensors_that_it_captures_and_constants_once():
    branch = graph_of([node("Mul", ["x", "k"], ["b"], "inside")], [], ["b"])
    other = graph_of([node("Div", ["x", "k"], ["b"], "other")], [], ["b"])
    graph, _ = rounded(branches(branch, other, {"k": [0.1]}))
    assert [tensor.name for tensor in graph.graph.initializer] == ["k_rounded"]
    for choice, function in ((True, np.multiply), (False, np.divide)):
        found = run(graph, {"c": np.array(choice), "x": array(0.3)})["y"]
        np.testing.assert_array_equal(found, as_half(function(as_half(array(0.3)), as_half(array(0.1)))))


def test_half_inputs_are_rounded_for_kept_nodes_too():
    found = ran(pointwise("Neg", "Abs"), {"x": array(0.1, 7e4)}, io_type=FP16, keep=("n0",))["y"]
    np.testing.assert_array_equal(found, as_half(array(0.1, 7e4)))


def test_half_inputs_are_rounded_for_branches_that_are_kept():
    branch = graph_of([node("Neg", ["x"], ["b"], "kept")], [], ["b"])
    model = branches(branch, branch)
    model.graph.node.append(node("Exp", ["x"], ["z"], "exp"))
    model.graph.output.append(value("z", 1))
    found = ran(model, {"c": np.array(True), "x": array(0.1)}, io_type=FP16, keep=("kept",))
    np.testing.assert_array_equal(found["y"], -as_half(array(0.1)))


def test_half_outputs_are_rounded_although_a_kept_node_gives_them_and_readers_inside_get_every_digit():
    branch = graph_of([node("Identity", ["y"], ["b"], "kept_inside")], [], ["b"])
    nodes = [
        node("Exp", ["x"], ["half"], "exp"),
        node("Mul", ["x", "k"], ["y"], "kept_product"),
        node("Identity", ["y"], ["direct"], "kept_copy"),
        node("If", ["c"], ["captured"], "choose", then_branch=branch, else_branch=branch),
        node("Sub", ["y", "captured"], ["apart"], "kept_difference"),
    ]
    inputs = [value("c", 0, TensorProto.BOOL), "x"]
    model = model_of(nodes, inputs, ["half", "y", "apart"], {"k": [1000.7]})
    found = ran(model, {"c": np.array(True), "x": array(100.0)}, io_type=FP16, keep=("kept*",))
    assert found["y"][0] == np.inf
    assert found["apart"][0] == 0.0


def test_integer_inputs_are_left_alone_when_inputs_are_half():
    gather = node("Gather", ["x", "i"], ["y"], "gather")
    model = model_of([gather], ["x", value("i", 1, TensorProto.INT64)], ["y"])
    found = ran(model, {"x": array(0.1, 0.2), "i": np.array([1])}, io_type=FP16)["y"]
    np.testing.assert_array_equal(found, as_half(array(0.2)))


def test_a_node_that_reads_a_tensor_twice_reads_one_copy_twice():
    model = model_of([node("Mul", ["x", "x"], ["y"], "square")], ["x"], ["y"])
    graph, count = rounded(model)
    assert count == 2
    assert run(graph, {"x": array(0.3)})["y"][0] == as_half(as_half(array(0.3)) ** 2)[0]


def test_scales_of_a_resize_keep_their_digits():
    resize = node("Resize", ["x", "", "scales"], ["y"], "resize", mode="nearest")
    model = model_of([resize], [value("x", 4)], [value("y", 4)], {"scales": [1, 1, 1.7001, 1]})
    graph, _ = rounded(model)
    kept = next(tensor for tensor in graph.graph.initializer if tensor.name == "scales")
    assert onnx.numpy_helper.to_array(kept)[2] == np.float32(1.7001)


@pytest.mark.parametrize("attributes", [{}, {"transA": 1}, {"transB": 1}, {"alpha": 0.5, "beta": 0.25}], ids=str)
def test_a_gemm_rounds_its_operands_and_its_result_once(attributes):
    weight, bias, feed = np.float32([[0.1, 0.7], [1.3, -0.9]]), array(0.01, 5.0), np.float32([[0.3, 1.7], [2.1, -0.3]])
    left = as_half(feed).T if "transA" in attributes else as_half(feed)
    right = as_half(weight).T if "transB" in attributes else as_half(weight)
    product = attributes.get("alpha", 1) * (left.astype(np.float64) @ right)
    expected = product + attributes.get("beta", 1) * as_half(bias)
    found = ran(affine(weight, bias, **attributes), {"x": feed})["y"]
    np.testing.assert_array_equal(found, as_half(expected.astype(np.float32)))


@st.composite
def dags(draw):
    """Draw pointwise graphs: each node reads any tensors before it."""
    tensors, nodes = ["x"], []
    for number in range(draw(st.integers(1, 8))):
        op = draw(st.sampled_from([*UNARY, *BINARY]))
        inputs = [draw(st.sampled_from(tensors)) for _ in range(1 if op in UNARY else 2)]
        nodes.append(node(op, inputs, [f"t{number}"], f"n{number}"))
        tensors.append(f"t{number}")
    outputs = draw(st.lists(st.sampled_from(tensors[1:]), min_size=1, unique=True))
    fused = [made.name for made in nodes if made.output[0] not in outputs and draw(st.booleans())]
    kept = [made.name for made in nodes[:-1] if draw(st.integers(0, 3)) == 0]
    return model_of(nodes, ["x"], outputs), fused, kept


def emulate(model, values, fused, kept):
    """Compute a graph as the module promises: half in and out of assigned nodes, but for what a kernel keeps."""
    tensors, inside = {"x": values}, set()
    with np.errstate(all="ignore"):
        for made in model.graph.node:
            half = made.name not in kept
            read = [as_half(tensors[name]) if half and name not in inside else tensors[name] for name in made.input]
            result = (UNARY | BINARY)[made.op_type](*read).astype(np.float32)
            if half and made.name in fused:
                inside.add(made.output[0])
            elif half:
                result = as_half(result)
            tensors[made.output[0]] = result
    return tensors


@given(dags(), st.lists(st.floats(-300, 300, width=32), min_size=3, max_size=3))
@settings(max_examples=60, deadline=None)
def test_any_pointwise_graph_gives_what_numpy_gives_when_it_rounds_at_the_same_places(drawn, values):
    model, fused, kept = drawn
    feed = np.array(values, np.float32)
    expected = emulate(model, feed, fused, kept)
    for name, found in ran(model, {"x": feed}, fused=fused, keep=kept).items():
        np.testing.assert_array_equal(found, expected[name], err_msg=str(model.graph.node))


def test_every_tensor_that_keeps_its_name_holds_half_values():
    model = pointwise("Exp", "Sigmoid", "Sqrt", "Neg")
    found = run_exposed(rounded(model)[0], {"x": array(0.1, 0.7, 1.3)}, ["t0", "t1", "t2", "y"])
    for values in found.values():
        np.testing.assert_array_equal(values, as_half(values))
