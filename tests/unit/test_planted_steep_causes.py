"""Where an operator is steep, leaves its domain, or jumps: told as that over small structures, and nowhere else."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from parity.diagnose import rerun
from parity.diagnose.engine import diagnose
from parity.diagnose.registry import GENERAL
from parity.diagnose.rerun import run_again
from parity.diagnose.rules import crossed_step, steep_operator
from parity.diagnose.steep_words import STEEP, nearest, words_of
from parity.diagnose.steps import is_step
from parity.errors import BackendError
from parity.options import PrecisionOptions
from parity.tolerance import Precision, Tolerance
from tests.diagnosing import evidence_of, is_failing
from tests.plant import rename_everything
from tests.planted.faults import cancellation, overflow, underflow
from tests.planted.net import Net
from tests.planted.steep import JUMPING_PLANTS, STEEP_PLANTS, STRUCTURES, WIDE, arc_cosine, rounding_at_halves
from tests.tiny_graphs import model_of, node

FP16, BF16 = PrecisionOptions(Precision.FP16), PrecisionOptions(Precision.BF16)
NAMED = [
    *((steep_operator.CAUSE, plant) for plant in STEEP_PLANTS),
    *((crossed_step.CAUSE, plant) for plant in JUMPING_PLANTS),
]
CASES = [(cause, plant, STRUCTURES[place % len(STRUCTURES)]) for place, (cause, plant) in enumerate(NAMED)]


def planted(structure, plant, *, sick: bool = True, seed: int = 0):
    """Return a structure with a plant in it, and the net that it was made in."""
    net = Net(seed)

    def spot(net: Net, x: str) -> str:
        with net.planting():
            return plant(net, x, sick)

    return net.model(structure(net, spot)), net


@pytest.mark.parametrize(("cause", "plant", "structure"), CASES)
def test_the_cause_is_named_at_a_planted_node_and_confirmed(cause, plant, structure):
    model, net = planted(structure, plant)
    evidence = evidence_of(model, net.feed, FP16)
    assert is_failing(evidence)
    first, *others = diagnose(evidence)
    assert (first.cause, first.is_confirmed) == (cause, True)
    assert first.nodes[0] in net.planted
    assert "alone in float32" in " ".join(first.evidence) or "inside of it" in first.title
    assert not any(one.is_confirmed for one in others)
    assert evidence.probes.outputs(keep=first.keep)["y"] > evidence.probes.outputs()["y"] + 6.0


@pytest.mark.parametrize(("cause", "plant", "structure"), CASES)
def test_a_sound_twin_passes_and_has_no_cause(cause, plant, structure):
    model, net = planted(structure, plant, sick=False)
    evidence = evidence_of(model, net.feed, FP16)
    assert not is_failing(evidence), cause
    assert diagnose(evidence) == ()


@pytest.mark.parametrize("plant", [arc_cosine, rounding_at_halves])
def test_other_names_change_nothing_and_bf16_is_no_better(plant):
    model, net = planted(STRUCTURES[0], plant)
    found = diagnose(evidence_of(model, net.feed, FP16))
    renamed = diagnose(evidence_of(rename_everything(model), net.feed, FP16))
    assert [(one.cause, len(one.keep)) for one in renamed] == [(one.cause, len(one.keep)) for one in found]
    [in_bf16] = diagnose(evidence_of(model, net.feed, BF16))
    assert (in_bf16.cause, in_bf16.is_confirmed) == (found[0].cause, True)


@pytest.mark.parametrize("fault", [overflow, underflow, cancellation])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_what_a_specific_cause_explains_is_told_by_that_alone(structure, fault):
    def plant(net: Net, x: str, sick: bool) -> str:
        return fault(net, x, WIDE, 2, sick)

    model, net = planted(structure, plant)
    causes = {one.cause for one in diagnose(evidence_of(model, net.feed, FP16))}
    assert causes
    assert not causes & {steep_operator.CAUSE, crossed_step.CAUSE}


def test_what_a_layer_loses_by_itself_is_no_steepness():
    def plant(net: Net, x: str, sick: bool) -> str:
        return underflow(net, x, WIDE, 2, sick)

    model, net = planted(STRUCTURES[0], plant)
    evidence = evidence_of(model, net.feed, FP16)
    assert evidence.layers is not None
    assert evidence.layers.sources
    assert steep_operator.find(evidence) == ()


def test_two_places_that_need_digits_and_hide_each_other_are_one_cause():
    def plant(net: Net, x: str, sick: bool) -> str:
        turned = net.op("Sin", net.scale(x, WIDE, 1000.0, rank=2))
        return net.op("Add", turned, cancellation(net, x, WIDE, 2, sick))

    model, net = planted(STRUCTURES[2], plant)
    [found] = diagnose(evidence_of(model, net.feed, FP16))
    assert (found.cause, found.is_confirmed) == ("fp16-accumulation", True)


@pytest.mark.parametrize("fault", [overflow, underflow])
def test_a_steep_place_behind_another_fault_is_told_beside_it(fault):
    def plant(net: Net, x: str, sick: bool) -> str:
        spoilt = net.op("Tanh", fault(net, x, WIDE, 2, sick))
        return net.op("Add", spoilt, arc_cosine(net, net.op("Tanh", net.linear(x, WIDE, WIDE)), sick))

    model, net = planted(STRUCTURES[1], plant)
    found = diagnose(evidence_of(model, net.feed, FP16))
    cause = "fp16-overflow" if fault is overflow else "underflow"
    assert {one.cause for one in found if one.is_confirmed} == {cause, steep_operator.CAUSE}
    assert found[0].cause == cause


def test_three_steep_places_that_hide_each_other_are_one_cause():
    net = Net(0)
    x = net.op("Tanh", net.linear(net.input(WIDE, 6), 6, WIDE))
    with net.planting():
        angles = [arc_cosine(net, net.op("Tanh", net.linear(x, WIDE, WIDE)), True) for _ in range(3)]
    model = net.model(net.linear(net.op("Concat", *angles, axis=1), 3 * WIDE, 4))
    [found] = diagnose(evidence_of(model, net.feed, FP16))
    assert (found.cause, found.is_confirmed, len(found.nodes)) == (steep_operator.CAUSE, True, 3)


def test_the_error_of_a_whole_network_that_a_last_steep_node_makes_larger_is_told():
    net = Net(0)
    x = net.input(6, WIDE)
    for _ in range(10):
        x = net.op("Tanh", net.linear(x, WIDE, WIDE))
    angle = net.op("Acos", net.op("Cos", net.op("Mul", x, net.constant(0.03))))
    [found] = diagnose(evidence_of(net.model(angle), net.feed, FP16))
    assert found.nodes == (net.nodes[-1].name,)
    assert "atan2" in found.remedy
    assert "within" in found.evidence[0]


def test_what_reads_an_input_of_the_model_is_kept_alone():
    net = Net(0)
    net.input(6, WIDE)
    net.feed["x"] = np.cos(0.03 * net.feed["x"])
    angle = net.op("Acos", "x")
    model = net.model(net.linear(angle, WIDE, 3))
    [found] = diagnose(evidence_of(model, net.feed, FP16))
    assert (found.cause, found.is_confirmed) == (steep_operator.CAUSE, True)
    assert found.keep == (model.graph.node[0].name,)


def test_an_output_of_whole_numbers_has_no_row_and_its_step_is_told():
    net = Net(0)
    x = net.op("Tanh", net.linear(net.input(32, 6), 6, WIDE))
    near = net.scale(net.op("Add", net.op("Mul", x, net.constant(1e-3)), net.constant(7.0)), WIDE, 1.0, rank=2)
    net.op("Cast", near, to=TensorProto.INT64)
    net.nodes[-1].output[0] = "y"
    graph = helper.make_graph(
        net.nodes, "whole", net.inputs, [helper.make_tensor_value_info("y", TensorProto.INT64, None)], net.constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    exact = Tolerance(rtol=0.0, atol=0.5, reason="whole numbers")
    evidence = evidence_of(model, net.feed, FP16, tolerance=exact)
    assert is_failing(evidence)
    [found] = diagnose(evidence)
    assert (found.cause, found.nodes) == (crossed_step.CAUSE, (net.nodes[-1].name,))


_CONDITION = {
    "Acos": lambda x: x / (np.sqrt(1 - x * x) * np.arccos(x)),
    "Log": lambda x: 1 / np.log(x),
    "Atanh": lambda x: x / ((1 - x * x) * np.arctanh(x)),
    "Sqrt": lambda _: 0.5,
    "Reciprocal": lambda _: 1.0,
}
"""The condition number |x f'(x) / f(x)| of an operator, by calculus."""


@settings(max_examples=15, deadline=None)
@given(operator=st.sampled_from(sorted(_CONDITION)), x=st.floats(0.3, 0.97))
def test_an_amplification_is_the_condition_number_of_calculus(operator, x):
    # A tenth of half's step beyond a half: the rounding is never zero.
    exact = float(np.float32(np.float16(x)) * np.float32(1.0001))
    model = model_of([node(operator, ["x"], ["t"], "steep"), node("Neg", ["t"], ["y"], "last")], ["x"], ["y"])
    found = run_again(evidence_of(model, {"x": np.full(4, exact, np.float32)}, FP16), model.graph.node[0])
    assert found is not None
    assert found.rounded.amplification == pytest.approx(abs(_CONDITION[operator](exact)), rel=0.05)


def test_what_jumps_is_not_called_steep_and_only_what_reads_numbers_is_run_again():
    assert all(not is_step(helper.make_node(name, ["x"], ["y"])) for name in STEEP)
    assert is_step(helper.make_node("Cast", ["x"], ["y"], to=TensorProto.INT64))
    assert not is_step(helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT16))
    nodes = [
        node("Shape", ["x"], ["s"], "s"),
        node("Cast", ["s"], ["t"], "c", to=1),
        node("Div", ["x", "t"], ["y"], "d"),
    ]
    model = model_of(nodes, ["x"], ["y"])
    evidence = evidence_of(model, {"x": np.ones(4, np.float32)}, FP16)
    assert run_again(evidence, model.graph.node[1]) is None


def test_a_node_that_cannot_be_run_alone_costs_itself_only(monkeypatch):
    def refusing(evidence, node):
        if node.op_type == "Neg":
            raise BackendError("no kernel")
        return run_again(evidence, node)

    monkeypatch.setattr(rerun, "run_again", refusing)
    model = model_of([node("Neg", ["x"], ["t"], "first"), node("Abs", ["t"], ["y"], "last")], ["x"], ["y"])
    evidence = evidence_of(model, {"x": np.ones(4, np.float32)}, FP16)
    assert set(rerun.run_each(evidence, model.graph.node)) == {"last"}
    with pytest.raises(BackendError, match="no kernel"):
        rerun.run_each(evidence, model.graph.node[:1])


def test_the_nearest_place_is_told_where_there_is_one():
    acos, log = words_of("Acos"), words_of("Log")
    assert nearest(acos.edges, [np.array([0.5, 0.999]), np.array([np.nan, -0.9])]) == "within 0.001 of 1"
    assert nearest(log.edges, [np.array([0.25, 0.999])]) == "within 0.25 of 0"
    assert nearest((*log.edges, *log.zeros), [np.array([0.25, 0.999])]) == "within 0.001 of 1"
    assert nearest(words_of("Exp").edges, [np.array([0.5])]) == nearest(log.edges, [np.empty(0)]) == ""
    assert words_of("NoOperator").why


def test_general_rules_are_not_asked_where_specific_causes_explain_all(monkeypatch):
    def plant(net: Net, x: str, sick: bool) -> str:
        return cancellation(net, x, WIDE, 2, sick)

    model, net = planted(STRUCTURES[0], plant)
    monkeypatch.setattr("parity.diagnose.rules.steep_operator.run_each", partial(pytest.fail, "was asked"))
    assert len(GENERAL) == 2
    assert [one.cause for one in diagnose(evidence_of(model, net.feed, FP16))] == ["fp16-accumulation"]
