"""Half models as the float32 graphs that they round."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from parity.precision.scope import open_scope
from parity.precision.widen import computes_in, count_half_nodes, holds_half, widen, without_half
from tests.tiny_graphs import array, as_half, branches, constants_of, copy_of, graph_of, model_of, node, run, value

FLOAT, FP16, BF16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16


def widened(model):
    made = copy_of(model)
    assignment = widen(made)
    onnx.checker.check_model(made, full_check=True)
    assert not {FP16, BF16} & {tensor.data_type for tensor in made.graph.initializer}
    return made, assignment


def half_scale(outputs=FP16):
    constant = np.array([0.1], np.float16)
    return model_of(
        [node("Mul", ["x", "k"], ["y"], "mul")], [value("x", 1, FP16)], [value("y", 1, outputs)], {"k": constant}
    )


def test_inputs_outputs_and_constants_become_float32_with_the_values_that_they_had():
    made, assignment = widened(half_scale())
    assert assignment == {"mul": FP16}
    scope = open_scope(made)
    assert all(scope.is_float(name) for name in ("x", "k", "y"))
    assert constants_of(made.graph)["k"] == np.float32(np.float16(0.1))


@pytest.mark.parametrize("half", [FP16, BF16])
def test_a_cast_to_half_rounds_and_a_cast_back_changes_nothing(half):
    nodes = [
        node("Cast", ["x"], ["h"], "h/cast", to=half),
        node("Neg", ["h"], ["n"], "neg"),
        node("Cast", ["n"], ["y"], "back", to=FLOAT),
    ]
    made, assignment = widened(model_of(nodes, ["x"], ["y"]))
    assert assignment == {"neg": half}
    assert len({one.name for one in made.graph.node}) == len(made.graph.node)
    dtype = helper.tensor_dtype_to_np_dtype(half)
    expected = -array(0.1, 3e5).astype(np.float64)
    with np.errstate(over="ignore"):
        expected = expected.astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(run(made, {"x": array(0.1, 3e5)})["y"], expected)


def test_attributes_that_hold_half_become_float32():
    nodes = [
        node("ConstantOfShape", ["n"], ["k"], "fill", value=numpy_helper.from_array(np.array([0.1], np.float16))),
        node("RandomNormal", [], ["r"], "random", shape=[2], dtype=FP16),
        node("Sum", ["x", "k", "r"], ["y"], "sum"),
    ]
    made, assignment = widened(
        model_of(nodes, [value("x", 1, FP16)], [value("y", 1, FP16)], {"n": np.array([2])}, opset=17)
    )
    assert assignment == {"fill": FP16, "random": FP16, "sum": FP16}
    assert run(made, {"x": array(0.0, 0.0)})["y"].dtype == np.float32


def test_half_inside_of_branches_is_found_and_widened():
    nodes = [
        node("Cast", ["x"], ["h"], "down", to=FP16),
        node("Mul", ["h", "k"], ["m"], "inside"),
        node("Cast", ["m"], ["b"], "up", to=FLOAT),
    ]
    branch = graph_of(nodes, [], ["b"], {"k": np.array([0.1], np.float16)})
    model = branches(branch, branch)
    assert count_half_nodes(model) == 1
    made, assignment = widened(model)
    assert assignment == {"inside": FP16}
    found = run(made, {"c": np.array(True), "x": array(0.3)})["y"]
    np.testing.assert_array_equal(found, as_half(array(0.3)) * as_half(array(0.1)))


def test_a_float32_model_has_no_half_nodes_and_casts_do_not_count():
    model = model_of([node("Cast", ["x"], ["y"], "cast", to=FP16)], ["x"], [value("y", 1, FP16)])
    assert count_half_nodes(model) == 0
    assert count_half_nodes(half_scale()) == 1


def half_branches():
    nodes = [
        node("Cast", ["x"], ["h"], "down", to=FP16),
        node("Mul", ["h", "k"], ["m"], "inside"),
        node("Cast", ["m"], ["b"], "up", to=FLOAT),
    ]
    branch = graph_of(nodes, [], ["b"], {"k": np.array([0.1], np.float16)})
    return branches(branch, branch)


def half_function():
    body = [node("Add", ["p", "p"], ["q"], "double")]
    opset = helper.make_opsetid("", 17)
    function = helper.make_function("local", "Double", ["p"], ["q"], body, [opset])
    call = helper.make_node("Double", ["x"], ["y"], "call", domain="local")
    graph = helper.make_graph([call], "g", [value("x", 1, FP16)], [value("y", 1, FP16)])
    return helper.make_model(
        graph, functions=[function], opset_imports=[opset, helper.make_opsetid("local", 1)], ir_version=8
    )


@pytest.mark.parametrize(
    "model", [half_scale(), half_branches(), half_function()], ids=["flat", "branches", "function"]
)
def test_without_half_nothing_is_half_wherever_it_was_and_the_model_itself_is_left_alone(model):
    before = model.SerializeToString()
    assert holds_half(model)
    assert computes_in(model, FP16)
    assert not computes_in(model, BF16)
    made = without_half(model)
    onnx.checker.check_model(made, full_check=True)
    assert not holds_half(made)
    assert model.SerializeToString() == before


def test_without_half_casts_do_not_round_and_weights_keep_their_values():
    found = run(without_half(half_branches()), {"c": np.array(True), "x": array(1e6 / 3)})["y"]
    np.testing.assert_array_equal(found, array(1e6 / 3) * as_half(array(0.1)))


def test_weights_or_casts_alone_are_half_tensors_that_nothing_computes_in():
    cast = model_of([node("Cast", ["x"], ["y"], "cast", to=FP16)], ["x"], [value("y", 1, FP16)])
    assert (holds_half(cast), computes_in(cast, FP16)) == (True, False)
    assert not holds_half(model_of([node("Neg", ["x"], ["y"], "neg")], ["x"], ["y"]))


def test_a_type_that_another_attribute_than_dtype_names_is_widened_as_well():
    nodes = [node("HannWindow", ["n"], ["k"], "window", output_datatype=FP16), node("Mul", ["x", "k"], ["y"], "mul")]
    made = without_half(
        model_of(nodes, [value("x", 1, FP16)], [value("y", 1, FP16)], {"n": np.array(4, np.int64)}, opset=17)
    )
    assert run(made, {"x": array(1, 1, 1, 1)})["y"].dtype == np.float32
