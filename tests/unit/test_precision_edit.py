"""Edits that every rewriting needs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from parity.precision.edit import (
    drop_unused_initializers,
    hoist_constants,
    inline_functions,
    make_cast,
    reads,
    rename_reads,
    replace_nodes,
)
from tests.tiny_graphs import array, branches, constants_of, graph_of, model_of, node, op_types, pointwise, run, value


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ({"value": numpy_helper.from_array(np.array([1, 2], np.int32))}, np.array([1, 2], np.int32)),
        ({"value_float": 0.5}, np.array(0.5, np.float32)),
        ({"value_floats": [0.5, 2.0]}, np.array([0.5, 2.0], np.float32)),
        ({"value_int": 3}, np.array(3)),
        ({"value_ints": [3, 4]}, np.array([3, 4])),
    ],
    ids=["tensor", "float", "floats", "int", "ints"],
)
def test_a_constant_node_becomes_an_initializer_of_its_value_and_dtype(attribute, expected):
    model = model_of([node("Constant", [], ["k"], **attribute), node("Identity", ["k"], ["y"])], [], ["y"])
    hoist_constants(model.graph)
    assert op_types(model.graph) == ["Identity"]
    found = constants_of(model.graph)["k"]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_constants_of_strings_and_sparse_ones_stay_nodes():
    values = helper.make_tensor("v", TensorProto.FLOAT, [1], [2.0])
    sparse = helper.make_sparse_tensor(values, helper.make_tensor("i", TensorProto.INT64, [1], [1]), [3])
    nodes = [
        node("Constant", [], ["s"], value_strings=[b"a"]),
        node("Constant", [], ["y"], sparse_value=sparse),
        node("Constant", [], ["t"], value_string=b"b"),
    ]
    model = model_of(nodes, [], ["y"])
    hoist_constants(model.graph)
    assert len(model.graph.node) == 3


def test_constants_of_a_branch_stay_in_the_branch():
    branch = graph_of([node("Constant", [], ["k"], value_floats=[3.0]), node("Add", ["x", "k"], ["b"])], [], ["b"])
    model = branches(branch, branch)
    hoist_constants(model.graph)
    then = model.graph.node[0].attribute[0].g
    assert (op_types(then), list(constants_of(then)), len(model.graph.initializer)) == (["Add"], ["k"], 0)
    np.testing.assert_array_equal(run(model, {"c": np.array(True), "x": array(1.0)})["y"], [4.0])


def test_an_initializer_that_only_a_nested_branch_reads_is_kept_and_others_go():
    innermost = graph_of([node("Mul", ["x", "deep"], ["i"])], [], ["i"])
    outer = graph_of([node("If", ["c"], ["o"], then_branch=innermost, else_branch=innermost)], [], ["o"])
    model = branches(outer, outer, {"deep": [2.0], "unused": [1.0]})
    drop_unused_initializers(model.graph)
    assert list(constants_of(model.graph)) == ["deep"]


def test_an_initializer_that_is_an_output_itself_is_kept():
    model = model_of([node("Relu", ["x"], ["y"])], ["x"], ["y", "k"], {"k": [1.0]})
    drop_unused_initializers(model.graph)
    assert list(constants_of(model.graph)) == ["k"]


def test_an_initializer_that_goes_is_no_input_any_more():
    model = model_of([node("Relu", ["x"], ["y"])], ["x", "k"], ["y"], {"k": [1.0]})
    drop_unused_initializers(model.graph)
    assert [one.name for one in model.graph.input] == ["x"]


def test_a_node_reads_what_its_subgraphs_capture_and_hand_through():
    branch = graph_of([node("Add", ["x", "k"], ["inside"])], [], ["inside"], {"k": [1.0]})
    assert {"c", "x", "k"} <= reads(branches(branch, branch).graph.node[0])


def test_renamed_reads_reach_into_subgraphs_and_leave_outputs_alone():
    branch = graph_of([node("Add", ["x", "x"], ["inside"])], [], ["inside"])
    model = branches(branch, branch)
    rename_reads(model.graph.node, "x", "z")
    assert reads(model.graph.node[0]) >= {"c", "z"}
    assert "x" not in reads(model.graph.node[0])
    rename_reads(model.graph.node, "y", "z")
    assert list(model.graph.node[0].output) == ["y"]


def test_a_graph_can_be_given_its_own_nodes_again():
    model = pointwise("Relu", "Abs", "Neg")
    replace_nodes(model.graph, (made for made in model.graph.node if made.op_type != "Abs"))
    assert op_types(model.graph) == ["Relu", "Neg"]


def test_local_functions_are_inlined_and_models_without_are_not_copied():
    function = helper.make_function(
        "own", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    model = model_of([node("Twice", ["x"], ["y"], domain="own")], ["x"], ["y"], domains=["own"], functions=[function])
    inlined = inline_functions(model)
    onnx.checker.check_model(inlined)
    assert op_types(inlined.graph) == ["Add"]
    assert len(model.functions) == 1
    plain = pointwise("Relu")
    assert inline_functions(plain) is plain


def test_a_cast_is_named_after_what_it_makes():
    cast = make_cast("a", "b", TensorProto.FLOAT16)
    assert (cast.name, list(cast.input), list(cast.output)) == ("b/cast", ["a"], ["b"])
    assert (
        run(model_of([cast], ["a"], [value("b", 1, TensorProto.FLOAT16)]), {"a": array(0.1)})["b"].dtype == np.float16
    )
