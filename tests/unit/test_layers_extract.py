"""Parts of models: what is exposed, what a layer alone computes, and what is between two observation points."""

from __future__ import annotations

import numpy as np
import pytest

from parity.layers.extract import cut, expose, expose_shapes
from parity.layers.points import find_points
from parity.layers.walk import Walk
from parity.precision import forecast
from parity.tolerance import Precision
from tests.tiny_graphs import affine, array, half_options, looped, model_of, node, op_types, pointwise, run, value

CHAIN = pointwise("Abs", "Exp", "Neg")
X = {"x": array(-1.0, 0.5, 2.0)}


def test_only_what_gives_the_tensors_is_left() -> None:
    part = expose(CHAIN, ["t1"])
    assert op_types(part.graph) == ["Abs", "Exp"]
    assert np.allclose(run(part, X)["t1"], np.exp(np.abs(X["x"])))


def test_shapes_are_told_without_the_tensors() -> None:
    part, names = expose_shapes(affine(), ["y"])
    assert run(part, {"x": np.zeros((5, 2), np.float32)})[names["y"]].tolist() == [5, 2]


def test_layers_that_are_cut_apart_are_fed_from_outside_not_by_each_other() -> None:
    part, names = cut(CHAIN, ["t0", "t1", "y"], {"t0", "t1", "y"})
    given = {"x": array(-3.0), "t0": array(0.0), "t1": array(7.0)}
    answer = run(part, given)
    assert {tensor: float(answer[name][0]) for tensor, name in names.items()} == {"t0": 3.0, "t1": 1.0, "y": -7.0}


def test_an_output_beside_the_one_asked_for_keeps_its_name_free_for_the_input() -> None:
    split = model_of(
        [
            node("Split", ["x"], ["a", "b"], "split", axis=0, num_outputs=2),
            node("Add", ["a", "b"], ["y"], "add"),
        ],
        ["x"],
        ["y"],
        opset=18,
    )
    part, names = cut(split, ["a", "y"], {"a", "b", "y"})
    answer = run(part, {"x": array(1.0, 2.0), "a": array(10.0), "b": array(20.0)})
    assert (float(answer[names["a"]][0]), float(answer[names["y"]][0])) == (1.0, 30.0)


def test_a_constant_is_no_boundary_and_no_point() -> None:
    model = model_of(
        [node("Abs", ["c"], ["k"], "fold"), node("Mul", ["x", "k"], ["y"], "scale")], ["x"], ["y"], {"c": [-2.0]}
    )
    walk = Walk(model.graph)
    assert not walk.is_computed("k")
    assert [n.name for n in walk.between(["y"], ()).nodes] == ["fold", "scale"]
    assert walk.between(["y"], ()).reads == ("x",)
    assert [point.tensor for point in find_points(model, model).points] == ["y"]


def test_points_have_the_nodes_between_them_and_the_points_that_they_read() -> None:
    model = model_of(
        [
            node("Abs", ["x"], ["a"], "abs"),
            node("Identity", ["a"], ["same"], "identity"),
            node("Add", ["same", "x"], ["y"], "add"),
        ],
        ["x"],
        ["y"],
    )
    first, second = find_points(model, model).points
    assert (first.tensor, first.nodes, first.inputs) == ("a", ("abs",), ())
    assert (second.tensor, second.nodes, second.inputs) == ("y", ("identity", "add"), ("a",))


def test_every_float_tensor_of_a_half_model_is_covered() -> None:
    made = forecast(CHAIN, half_options())
    found = find_points(CHAIN, made.rounded)
    assert [point.tensor for point in found.points] == ["t0", "t1", "y"]
    assert (found.coverage, found.unobserved) == (1.0, ())


def test_what_is_inside_a_loop_is_told_as_unobserved() -> None:
    model = looped([node("Add", ["before", "one"], ["after"], "inner")], 3, {"one": [1.0]})
    found = find_points(model, model)
    assert found.coverage < 1.0
    assert any("inside it" in told for told in found.unobserved)


def test_a_tensor_that_the_other_side_lacks_is_told_by_its_operator() -> None:
    found = find_points(CHAIN, pointwise("Abs"))
    assert [point.tensor for point in found.points] == ["y"]
    assert found.unobserved[0] == "t0 (Abs): is folded or fused, the other side does not have it"
    assert found.coverage == pytest.approx(1 / 3)


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
def test_a_cut_layer_computes_what_it_computes_in_the_whole_graph(precision: Precision) -> None:
    made = forecast(CHAIN, half_options(precision)).rounded
    whole = run(expose(made, ["t0", "t1", "y"]), X)
    part, names = cut(made, ["t0", "t1", "y"], {"t0", "t1", "y"})
    alone = run(part, {**X, "t0": whole["t0"], "t1": whole["t1"]})
    assert all(np.array_equal(alone[names[tensor]], whole[tensor]) for tensor in names)


def test_a_matrix_has_its_rank_left_open() -> None:
    part = expose(model_of([node("MatMul", ["x", "x"], ["y"], "square")], [value("x", 2)], [value("y", 2)]), ["y"])
    assert run(part, {"x": np.eye(2, dtype=np.float32)})["y"].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_the_shapes_of_a_deep_chain_are_asked_for_without_holding_its_tensors() -> None:
    # What is asked for last is made first: the order that frees each tensor as soon as its shape is known.
    model = pointwise(*["Relu"] * 3)
    tensors = [node.output[0] for node in model.graph.node]
    part, names = expose_shapes(model, tensors)
    asked = [node.input[0] for node in part.graph.node if node.op_type == "Shape"]
    assert asked == tensors[::-1]
    assert [value.name for value in part.graph.output] == [names[tensor] for tensor in asked]
