"""Raising a model's opset."""

from __future__ import annotations

import onnx
import pytest

from parity.errors import PrecisionError
from parity.precision.opset import raise_opset
from tests.tiny_graphs import array, model_of, node, pointwise, run, value


def test_a_model_that_is_new_enough_is_given_back_itself():
    model = pointwise("Exp")
    assert raise_opset(model, 13) is model


@pytest.mark.parametrize(("opset", "ir_version"), [(13, 7), (19, 9), (22, 10)])
def test_an_old_model_is_raised_with_its_ir_version_and_computes_the_same(opset, ir_version):
    nodes = [node("Unsqueeze", ["x"], ["t"], "grow", axes=[0]), node("Softmax", ["t"], ["y"], "softmax", axis=1)]
    model = model_of(nodes, ["x"], [value("y", 2)], opset=11, ir_version=6)
    before = model.SerializeToString()
    raised = raise_opset(model, opset)
    onnx.checker.check_model(raised, full_check=True)
    assert (raised.opset_import[0].version, raised.ir_version) == (opset, ir_version)
    assert model.SerializeToString() == before
    feed = {"x": array(0.1, 0.7)}
    assert run(raised, feed)["y"].tolist() == run(model, feed)["y"].tolist()


def test_an_operator_that_does_not_convert_is_named_with_the_opset_to_export():
    model = model_of([node("Upsample", ["x", "s"], ["y"], "up")], [value("x", 1)], ["y"], {"s": [2.0]}, opset=9)
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(PrecisionError, match=r"has opset 9 and the precision needs 13.*export it with opset 13"):
        raise_opset(model, 13)
