"""Element types, found through schemas, attributes and subgraphs."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from parity.precision.scope import UNKNOWN, enter, formal_of, open_scope, subgraphs
from tests.tiny_graphs import branches, graph_of, looped, model_of, node, value


def type_in(nodes, name, inputs=("x",), constants=None, **options):
    model = model_of(nodes, inputs, [value(name, 1)], constants, **options)
    model.graph.output[0].type.tensor_type.elem_type = UNKNOWN
    return open_scope(model).type_of(name)


@pytest.mark.parametrize(
    ("made", "elem_type"),
    [
        (node("Relu", ["x"], ["y"]), TensorProto.FLOAT),
        (node("Shape", ["x"], ["y"]), TensorProto.INT64),
        (node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16), TensorProto.BFLOAT16),
        (node("ConstantOfShape", ["shape"], ["y"]), TensorProto.FLOAT),
        (
            node("ConstantOfShape", ["shape"], ["y"], value=helper.make_tensor("v", TensorProto.INT32, [1], [3])),
            TensorProto.INT32,
        ),
        (node("RandomNormal", [], ["y"], shape=[2]), TensorProto.FLOAT),
        (node("RandomNormal", [], ["y"], shape=[2], dtype=TensorProto.DOUBLE), TensorProto.DOUBLE),
        (node("RandomNormalLike", ["x"], ["y"]), TensorProto.FLOAT),
        (node("EyeLike", ["shape"], ["y"]), TensorProto.INT64),
        (node("Constant", [], ["y"], value_float=1.0), TensorProto.FLOAT),
        (node("Constant", [], ["y"], value_ints=[1, 2]), TensorProto.INT64),
        (node("Constant", [], ["y"], value_strings=[b"a"]), TensorProto.STRING),
        (node("Gather", ["x", "shape"], ["y"]), TensorProto.FLOAT),
        (node("Equal", ["x", "x"], ["y"]), TensorProto.BOOL),
    ],
    ids=lambda made: made.op_type if hasattr(made, "op_type") else TensorProto.DataType.Name(made),
)
def test_an_output_has_the_type_that_its_operator_gives_it(made, elem_type):
    assert type_in([made], "y", constants={"shape": np.array([2], np.int64)}) == elem_type


def test_a_sparse_constant_has_the_type_of_its_values():
    values = helper.make_tensor("v", TensorProto.DOUBLE, [1], [2.0])
    sparse = helper.make_sparse_tensor(values, helper.make_tensor("i", TensorProto.INT64, [1], [1]), [3])
    assert type_in([node("Constant", [], ["y"], sparse_value=sparse)], "y") == TensorProto.DOUBLE


def test_operators_of_other_domains_have_no_type_unless_the_model_says_it():
    nodes = [node("Gelu", ["x"], ["h"], domain="com.microsoft"), node("Relu", ["h"], ["y"])]
    model = model_of(nodes, ["x"], ["y"], domains=["com.microsoft"])
    assert open_scope(model).type_of("h") == UNKNOWN
    model.graph.value_info.append(value("h", 1))
    assert open_scope(model).is_float("h")


def test_what_an_operator_gives_counts_more_than_what_the_model_says():
    model = model_of(
        [node("Shape", ["x"], ["h"]), node("Identity", ["h"], ["y"])], ["x"], [value("y", 1, TensorProto.INT64)]
    )
    model.graph.value_info.append(value("h", 1, TensorProto.FLOAT))
    assert open_scope(model).type_of("h") == TensorProto.INT64


def test_outputs_of_branches_and_loops_have_the_types_of_their_graphs():
    branch = graph_of([node("Relu", ["x"], ["inside"])], [], ["inside"])
    assert open_scope(branches(branch, branch)).is_float("y")
    assert open_scope(looped([node("Add", ["before", "x"], ["after"])], 2)).is_float("y")


def test_a_subgraph_sees_the_tensors_around_it_and_not_the_other_way_round():
    inner = graph_of([node("Relu", ["x"], ["inside"])], [], ["inside"])
    outer = open_scope(branches(inner, inner))
    scope = enter(next(subgraphs(outer.graph.node[0])), outer.opsets, outer)
    assert scope.is_float("x")
    assert scope.is_float("inside")
    assert not outer.is_float("inside")
    assert not scope.is_float("")


def test_variadic_operators_repeat_their_last_formal_type():
    made = node("Concat", ["a", "b", "c"], ["y"], axis=0)
    assert formal_of(made, {"": 17}).of(made) == (["T"] * 3, ["T"])


def test_the_long_name_of_the_default_domain_means_the_default_domain():
    made = node("Relu", ["x"], ["y"], domain="ai.onnx")
    assert formal_of(made, {"": 17}).outputs == ("T",)
    assert formal_of(made, {"": 17}) == formal_of(node("Relu", ["x"], ["y"]), {"": 17})
    assert formal_of(node("Relu", ["x"], ["y"], domain="elsewhere"), {"": 17}) is None
