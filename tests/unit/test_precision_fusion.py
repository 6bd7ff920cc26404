"""Which nodes' outputs stay inside a fused kernel."""

from __future__ import annotations

import pytest
from onnx import TensorProto

from parity.precision.fusion import fused_nodes
from parity.precision.names import all_nodes
from tests.tiny_graphs import branches, graph_of, model_of, node, pointwise, value

FP16, BF16 = TensorProto.FLOAT16, TensorProto.BFLOAT16


def fused(model, kept=(), **others):
    assignment = {made.name: FP16 for made in all_nodes(model.graph) if made.name not in kept} | others
    return set(fused_nodes(model, assignment))


def test_a_chain_of_pointwise_operators_writes_its_end_only():
    assert fused(pointwise("Exp", "Neg", "Relu")) == {"n0", "n1"}


def test_a_chain_ends_where_another_kind_of_operator_reads():
    assert fused(pointwise("Exp", "Neg", "Identity", "Relu", "Abs")) == {"n0", "n3"}


def test_a_chain_ends_at_nodes_of_another_precision():
    chain = pointwise("Exp", "Neg", "Relu", "Abs")
    assert fused(chain, kept=("n2",)) == {"n0"}
    assert fused(chain, n2=BF16) == {"n0"}


def test_a_node_that_reads_a_tensor_twice_is_one_reader():
    nodes = [node("Exp", ["x"], ["t"], "exp"), node("Mul", ["t", "t"], ["y"], "square")]
    assert fused(model_of(nodes, ["x"], ["y"])) == {"exp"}


def test_a_gate_whose_both_readers_meet_again_is_one_kernel():
    nodes = [
        node("Exp", ["x"], ["t"], "exp"),
        node("Sigmoid", ["t"], ["g"], "gate"),
        node("Mul", ["t", "g"], ["y"], "mul"),
    ]
    assert fused(model_of(nodes, ["x"], ["y"])) == {"exp", "gate"}


def test_a_tensor_that_two_kernels_read_is_written():
    nodes = [node("Exp", ["x"], ["t"], "exp"), node("Neg", ["t"], ["y"], "neg"), node("Abs", ["t"], ["z"], "abs")]
    assert fused(model_of(nodes, ["x"], ["y", "z"])) == set()


def test_an_output_that_is_read_inside_is_written():
    nodes = [node("Exp", ["x"], ["y"], "exp"), node("Neg", ["y"], ["z"], "neg")]
    assert fused(model_of(nodes, ["x"], ["y", "z"])) == set()


def test_a_tensor_that_a_branch_captures_is_written():
    branch = graph_of([node("Neg", ["t"], ["b"], "inside")], [], ["b"])
    model = branches(branch, branch, before=[node("Exp", ["x"], ["t"], "exp")])
    model.graph.node.append(node("Abs", ["t"], ["z"], "abs"))
    model.graph.output.append(value("z", 1))
    assert fused(model) == set()


def test_chains_inside_of_a_branch_are_its_own():
    then = graph_of([node("Exp", ["x"], ["t"], "exp"), node("Neg", ["t"], ["b"], "neg")], [], ["b"])
    other = graph_of([node("Exp", ["x"], ["t"], "exp2"), node("Identity", ["t"], ["b"], "copy")], [], ["b"])
    assert fused(branches(then, other)) == {"exp"}


def test_products_and_the_biases_behind_them_are_written():
    nodes = [
        node("MatMul", ["x", "w"], ["t"], "product"),
        node("Add", ["t", "b"], ["u"], "bias"),
        node("Relu", ["u"], ["y"], "relu"),
    ]
    model = model_of(nodes, [value("x", 2)], [value("y", 2)], {"w": [[1.0]], "b": [1.0]})
    assignment = {made.name: FP16 for made in model.graph.node}
    assert fused_nodes(model, assignment) == {"bias"}
    assert fused_nodes(model, assignment, frozenset({"bias"})) == frozenset()


def test_nodes_with_several_outputs_and_unread_ones_end_chains():
    nodes = [
        node("Exp", ["x"], ["t"], "exp"),
        node("Split", ["t"], ["a", "b"], "split", axis=0, num_outputs=2),
        node("Neg", ["a"], ["y"], "neg"),
        node("Abs", ["b"], ["nobody"], "abs"),
    ]
    assert fused(model_of(nodes, ["x"], ["y"], opset=18)) == set()


def attention(scale_op="Mul", mask=False, keys="k", softmax="Softmax", then="MatMul"):
    nodes = [node("MatMul", ["q", keys], ["s"], "scores"), node(scale_op, ["s", "root"], ["t"], "scale")]
    if mask:
        nodes.append(node("Add", ["t", "m"], ["u"], "mask"))
    nodes.append(node(softmax, ["u" if mask else "t"], ["p"], "softmax"))
    nodes.append(node(then, ["p", "v"], ["y"], "values"))
    inputs = [value(name, 2) for name in ("q", "k", "m", "v")]
    return model_of(nodes, inputs, [value("y", 2)], {"root": [0.125], "w": [[1.0]]})


@pytest.mark.parametrize("mask", [False, True])
def test_attention_scores_belong_to_their_scale(mask):
    assert "scores" in fused(attention(mask=mask))


@pytest.mark.parametrize(
    "model",
    [attention("Div"), attention(keys="w"), attention(softmax="Relu"), attention(then="Add")],
    ids=["divided", "weights", "no softmax", "no values"],
)
def test_other_products_are_written(model):
    assert "scores" not in fused(model)


def test_kept_scores_are_not_fused():
    assert "scores" not in fused(attention(), kept=("scores",))


def test_a_product_of_activations_may_be_an_output_or_captured_alone():
    product = node("MatMul", ["q", "k"], ["s"], "scores")
    inputs = [value("q", 2), value("k", 2)]
    assert fused(model_of([product], inputs, [value("s", 2)])) == set()
    branch = graph_of([node("Identity", ["s"], ["b"], "inside")], [], [value("b", 2)])
    choose = node("If", ["c"], ["y"], "choose", then_branch=branch, else_branch=branch)
    inputs.append(value("c", 0, TensorProto.BOOL))
    assert fused(model_of([product, choose], inputs, [value("y", 2)])) == set()
