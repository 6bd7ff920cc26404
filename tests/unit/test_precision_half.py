"""Typed half models."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from parity.errors import PrecisionError
from parity.precision.assignment import assign
from parity.precision.half import convert_to_half
from parity.precision.scope import open_scope
from parity.tolerance import Precision
from tests.tiny_graphs import (
    affine,
    array,
    branches,
    constants_of,
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

FLOAT, FP16, BF16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16


def typed(model, io_type=FLOAT, **options):
    """Return a typed copy that the checker takes, and what the conversion says about constants."""
    converted = copy_of(model)
    notes = convert_to_half(converted, assign(converted, half_options(**options)), io_type)
    onnx.checker.check_model(converted, full_check=True)
    return converted, notes


def agrees(found, expected):
    # Its CPU provider keeps float32 between half nodes: ONNX Runtime cannot say where a half model rounds.
    np.testing.assert_allclose(found.astype(np.float32), expected, rtol=2e-3)


def types_of(model):
    scope = open_scope(model)
    return {name: TensorProto.DataType.Name(elem_type) for name, elem_type in scope.types.items()}


def test_casts_stand_only_where_half_meets_float32():
    converted, _ = typed(pointwise("Exp", "Neg", "Abs"))
    assert op_types(converted.graph) == ["Cast", "Exp", "Neg", "Abs", "Cast"]


def test_half_tensors_keep_their_names():
    types = types_of(typed(pointwise("Exp", "Neg", "Abs"))[0])
    assert (types["t0"], types["t1"], types["x"], types["y"]) == ("FLOAT16", "FLOAT16", "FLOAT", "FLOAT")


def test_a_kept_node_reads_and_gives_float32_between_half_neighbours():
    converted, _ = typed(pointwise("Exp", "Neg", "Abs"), keep=("n1",))
    assert op_types(converted.graph) == ["Cast", "Exp", "Cast", "Neg", "Cast", "Abs", "Cast"]
    types = types_of(converted)
    assert (types["t0"], types["t0_fp32"], types["t1"], types["t1_fp16"]) == ("FLOAT16", "FLOAT", "FLOAT", "FLOAT16")


def test_a_tensor_that_a_half_and_a_kept_node_read_is_cast_once_for_all_half_readers():
    nodes = [
        node("Exp", ["x"], ["a"], "half"),
        node("Neg", ["x"], ["b"], "kept"),
        node("Abs", ["x"], ["d"], "half_too"),
        node("Sum", ["a", "b", "d"], ["y"], "sum"),
    ]
    converted, _ = typed(model_of(nodes, ["x"], ["y"]), keep=("kept",))
    reads = {made.name: list(made.input) for made in converted.graph.node}
    assert (reads["half"], reads["kept"], reads["half_too"]) == (["x_fp16"], ["x"], ["x_fp16"])
    assert reads["sum"] == ["a", "b_fp16", "d"]


def test_an_output_that_is_read_inside_is_float32_outside_and_half_inside():
    nodes = [node("Exp", ["x"], ["y"], "exp"), node("Neg", ["y"], ["z"], "neg")]
    converted, _ = typed(model_of(nodes, ["x"], ["y", "z"]))
    assert {made.name: list(made.input) for made in converted.graph.node}["neg"] == ["y_fp16"]
    assert types_of(converted)["y"] == "FLOAT"
    agrees(run(converted, {"x": array(0.5)})["z"], -np.exp(array(0.5)))


def test_half_inputs_and_outputs_need_no_cast():
    converted, _ = typed(pointwise("Exp", "Neg"), io_type=FP16)
    assert op_types(converted.graph) == ["Exp", "Neg"]
    assert run(converted, {"x": np.array([0.5], np.float16)})["y"].dtype == np.float16


def test_with_half_outputs_a_kept_last_node_is_cast_behind():
    converted, _ = typed(pointwise("Exp", "Neg"), io_type=FP16, keep=("n1",))
    assert op_types(converted.graph) == ["Exp", "Cast", "Neg", "Cast"]
    assert types_of(converted)["y"] == "FLOAT16"


def test_integer_inputs_stay_integers_when_inputs_are_half():
    gather = node("Gather", ["x", "i"], ["y"], "gather")
    converted, _ = typed(model_of([gather], ["x", value("i", 1, TensorProto.INT64)], ["y"]), io_type=FP16)
    assert types_of(converted) == {"x": "FLOAT16", "i": "INT64", "y": "FLOAT16"}


@pytest.mark.parametrize("side", ["constant", "old constant"])
def test_a_constant_handed_through_cannot_become_half(side):
    inputs = ["x", "k"] if side == "old constant" else ["x"]
    model = model_of([node("Exp", ["x"], ["y"], "exp")], inputs, ["y", "k"], {"k": [1.0]})
    with pytest.raises(PrecisionError, match=r"output 'k' is an input or a constant handed through"):
        typed(model, io_type=FP16)
    assert run(typed(model)[0], {"x": array(0.0)})["k"] == [1.0]


def test_weights_are_rounded_and_their_float32_originals_go():
    converted, notes = typed(affine(weight=((0.1, 1e6), (1e-9, 2.0))))
    constants = constants_of(converted.graph)
    assert set(constants) == {"w_fp16", "b_fp16"}
    np.testing.assert_array_equal(constants["w_fp16"], np.array([[0.1, 65504], [0, 2]], np.float16))
    assert [note.split(";")[1] for note in notes] == [" worst: w, 1 of 4", " worst: w, 1 of 4"]


def test_a_constant_that_kept_and_half_nodes_share_exists_in_both_types():
    nodes = [node("Add", ["x", "k"], ["t"], "kept"), node("Mul", ["t", "k"], ["y"], "half")]
    converted, _ = typed(model_of(nodes, ["x"], ["y"], {"k": [0.1]}), keep=("kept",))
    constants = constants_of(converted.graph)
    assert {name: found.dtype for name, found in constants.items()} == {"k": np.float32, "k_fp16": np.float16}


def test_constants_that_old_models_list_as_inputs_do_not_stay_behind_as_inputs():
    nodes = [node("Add", ["x", "k"], ["y"], "add")]
    converted, _ = typed(model_of(nodes, ["x", "k"], ["y"], {"k": [0.1]}))
    assert [one.name for one in converted.graph.input] == ["x"]


def test_a_branch_reads_outer_tensors_as_half_and_gives_float32():
    then = graph_of([node("Mul", ["x", "k"], ["b"], "then")], [], ["b"])
    other = graph_of([node("Neg", ["x"], ["b"], "other")], [], ["b"])
    converted, _ = typed(branches(then, other, {"k": [0.1]}))
    assert constants_of(converted.graph)["k_fp16"].dtype == np.float16
    for condition in (True, False):
        found = run(converted, {"c": np.array(condition), "x": array(0.3)})["y"]
        agrees(found, array(0.3 * 0.1 if condition else -0.3))


def test_a_branch_reads_an_outer_tensor_that_is_half_by_then():
    branch = graph_of([node("Add", ["h", "h"], ["b"], "inside")], [], ["b"])
    nodes = [
        node("Exp", ["x"], ["h"], "exp"),
        node("If", ["c"], ["y"], "choose", then_branch=branch, else_branch=branch),
    ]
    inputs = [value("c", 0, TensorProto.BOOL), "x"]
    converted, _ = typed(model_of(nodes, inputs, ["y"]), keep=())
    assert "Cast" not in op_types(converted.graph.node[2].attribute[0].g)[:1]
    agrees(run(converted, {"c": np.array(True), "x": array(0.0)})["y"], array(2.0))


def test_loops_carry_float32_and_compute_half_inside():
    converted, _ = typed(looped([node("Add", ["before", "k"], ["after"], "add")], 3, {"k": [0.1]}))
    agrees(run(converted, {"x": array(0.3)})["y"], array(0.6))


def test_bfloat16_models_pass_the_checker_and_name_their_copies():
    converted, _ = typed(pointwise("Exp", "Neg"), precision=Precision.BF16, keep=("n1",))
    assert types_of(converted)["t0"] == "BFLOAT16"
    assert "x_bf16" in types_of(converted)


def test_bfloat16_weights_are_rounded_as_ml_dtypes_rounds():
    import ml_dtypes

    converted, _ = typed(affine(weight=((0.1, 1e6), (1e-9, 2.0))), precision=Precision.BF16)
    stored = next(tensor for tensor in converted.graph.initializer if tensor.name == "w_bf16")
    expected = np.array([[0.1, 1e6], [1e-9, 2.0]], np.float32).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(numpy_helper.to_array(stored).astype(np.float32), expected.astype(np.float32))
