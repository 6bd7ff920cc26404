"""Faults of few nodes, each with its sound twin: zeros, angles, indices, constants that do nothing, reshaped grids."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper

from parity.diagnose.engine import diagnose
from parity.diagnose.rules import int8_scale, io_dtype_or_order
from parity.layer_table import lost_db
from parity.options import PrecisionOptions
from parity.precision import forecast
from parity.tolerance import Precision
from tests.diagnosing import engine_evidence, evidence_of, is_failing
from tests.planted.net import Net
from tests.rule_evidence import observed

if TYPE_CHECKING:
    from parity.diagnose.evidence import Answers

FP16, BF16, INT8 = (PrecisionOptions(one) for one in (Precision.FP16, Precision.BF16, Precision.INT8))
_CHANNELS = 8


def _small_epsilon(net: Net, x: str, *, sick: bool) -> str:
    """Zeros over zeros in half: what is divided by was an epsilon alone."""
    positive = net.op("Relu", x)
    return net.op("Div", positive, net.op("Add", positive, net.constant(1e-9 if sick else 1e-2)))


def _logarithm_of_softmax(net: Net, x: str, *, sick: bool) -> str:
    size = 60.0 if sick else 1.0
    shares = net.op("Softmax", net.scale(net.op("Tanh", x), _CHANNELS, size, rank=2), axis=-1)
    return net.op("Mul", net.op("Log", shares), net.constant(1 / size))


def _root_of_nothing(net: Net, x: str, *, sick: bool) -> str:
    """The epsilon is gone before its root, which half would hold, is divided by."""
    alike = net.op("Mul", x, net.constant(0.0))
    spread = net.op("Sqrt", net.op("Add", net.op("Mul", alike, alike), net.constant(1e-12 if sick else 1e-2)))
    return net.op("Add", x, net.op("Div", alike, spread))


def _angle(net: Net, x: str, *, sick: bool) -> str:
    return net.op("Add", x, net.op("Sin", net.scale(x, _CHANNELS, 1000.0 if sick else 0.5, rank=2)))


def _index(net: Net, x: str, *, sick: bool) -> str:
    """Places in a table, counted in half: behind 2048 it holds every second number only."""
    first = 4001.0 if sick else 9.0
    place = net.op("Add", net.op("Round", net.op("Mul", x, net.constant(2.0))), net.constant(first))
    place = net.scale(place, _CHANNELS, 1.0, rank=2)
    table = net.constant(net.draw.standard_normal(5000))
    return net.op("Add", x, net.op("Gather", table, net.op("Cast", place, to=TensorProto.INT64), axis=0))


def _overflowing(net: Net, x: str, *, sick: bool) -> str:
    """A sum of squares past 65504, of what ``x`` is."""
    large = net.op("Mul", x, net.constant(400.0 if sick else 1.0))
    total = net.op("ReduceSum", net.op("Mul", large, large), net.constant([-1], np.int64), keepdims=1)
    return net.op("Div", large, net.op("Sqrt", net.op("Add", total, net.constant(1.0))))


def _beside_a_bound(net: Net, x: str, *, sick: bool) -> str:
    return _overflowing(net, net.op("Clip", x, net.constant(-3.4e38), net.constant(3.4e38)), sick=sick)


def _beside_a_mask_that_hides_nothing(net: Net, x: str, *, sick: bool) -> str:
    hidden = net.op("Less", x, net.constant(-50.0))
    return _overflowing(net, net.op("Where", hidden, net.constant(-1e9), x), sick=sick)


def _inside_of_an_if(net: Net, x: str, *, sick: bool) -> str:
    """Past 65504 in a branch, whose condition compares with a number that half does not hold."""
    condition = net.op("Less", net.op("ReduceMax", x, keepdims=0), net.constant(1e9))
    factor, make = net.constant(400.0 if sick else 1.0), helper.make_node
    value = helper.make_tensor_value_info
    squared = [
        make("Mul", [x, factor], ["large"], "large"),
        make("Mul", ["large", "large"], ["square"], "square"),
        make("ReduceSum", ["square"], ["total"], "total", keepdims=1),
        make("Div", ["square", "total"], ["share"], "share"),
    ]
    shape = [6, _CHANNELS]
    then = helper.make_graph(squared, "then", [], [value("share", TensorProto.FLOAT, shape)])
    negated = [make("Neg", [x], ["negated"], "negate")]
    other = helper.make_graph(negated, "other", [], [value("negated", TensorProto.FLOAT, shape)])
    chosen = net.op("If", condition, then_branch=then, else_branch=other)
    return net.op("Reshape", chosen, net.constant(shape, np.int64))


def _factor(net: Net, x: str, *, sick: bool) -> str:
    """A number that half clamps, multiplied with: no mask."""
    size = 1e6 if sick else 1.0
    small = net.scale(x, _CHANNELS, 1 / size, rank=2)
    return net.op("Mul", small, net.constant(size))


PLANTS = {
    "underflow": (_small_epsilon, _logarithm_of_softmax, _root_of_nothing),
    "fp16-accumulation": (_angle, _index),
    "fp16-overflow": (_beside_a_bound, _beside_a_mask_that_hides_nothing, _inside_of_an_if),
}
NAMED = [(cause, plant) for cause, plants in PLANTS.items() for plant in plants]


def _evidence(plant, seed: int = 0, options: PrecisionOptions = FP16, *, sick: bool = True):
    net = Net(seed)
    x = net.op("Tanh", net.gemm(net.input(6, 10), 10, _CHANNELS))
    with net.planting():
        x = plant(net, x, sick=sick)
    model = net.model(net.gemm(x, _CHANNELS, 4))
    return evidence_of(model, net.feed, options), net.planted


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("cause", "plant"), NAMED)
def test_the_planted_cause_is_the_first_and_the_only_one_confirmed(cause, plant, seed):
    evidence, nodes = _evidence(plant, seed)
    first, *others = diagnose(evidence)
    assert (first.cause, first.is_confirmed) == (cause, True)
    assert set(first.nodes) & nodes
    assert not any(one.is_confirmed for one in others)


@pytest.mark.parametrize(("cause", "plant"), NAMED)
def test_a_sound_twin_passes_and_has_no_cause(cause, plant):
    evidence, _ = _evidence(plant, sick=False)
    assert not is_failing(evidence), cause
    assert diagnose(evidence) == ()


def test_an_angle_needs_digits_in_bf16_as_well():
    evidence, _ = _evidence(_angle, options=BF16)
    assert [(one.cause, one.is_confirmed) for one in diagnose(evidence)] == [("fp16-accumulation", True)]


def test_a_constant_that_is_multiplied_with_is_called_no_mask():
    evidence, _ = _evidence(_factor)
    [found] = [one for one in diagnose(evidence) if one.cause == "infinite-constants"]
    assert "mask" not in found.remedy
    assert "factor" in found.remedy


def _outlier_model(kind: str, seed: int, *, sick: bool = True):
    """One channel takes the grid from all others; what quantizes it stands behind a transposition, or has rank 2."""
    net = Net(seed)
    x = net.linear(net.input(2, 6, 8, name="x"), 8, 16)
    if kind == "rows":
        x = net.op("Reshape", x, net.constant([12, 16], np.int64))
    factors = np.where(np.arange(16) == 0, 2000.0 if sick else 1.0, 1.0)
    x = net.op("MatMul", x, net.constant(np.diag(factors)))
    if kind == "reshaped":
        x = net.op("Reshape", x, net.constant([1, 12, 16], np.int64))
    return net, net.model(net.op("MatMul", x, net.constant(np.diag(1 / factors) @ net.weights(16, 16).T)))


def _int8(kind: str, seed: int, *, sick: bool = True):
    net, model = _outlier_model(kind, seed, sick=sick)
    draws = [{"x": np.random.default_rng(place).standard_normal((2, 6, 8), np.float32)} for place in range(4)]
    return observed(model, INT8, draws[:2], [net.feed, *draws])


@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize("kind", ["rows", "reshaped"])
def test_an_outlier_channel_is_found_in_rows_and_behind_a_reshape(kind, seed):
    evidence = _int8(kind, seed)
    last = evidence.model.graph.node[-1].name
    [found] = int8_scale.find(evidence)
    assert found.is_confirmed
    assert last in found.keep
    assert not any(node.op_type == "Reshape" and node.name in found.keep for node in evidence.model.graph.node)
    assert int8_scale.find(_int8(kind, seed, sick=False)) == ()


def test_behind_noise_nothing_is_left_to_be_lost():
    evidence, _ = _evidence(_angle)
    assert evidence.layers is not None
    before, behind = evidence.layers.rows[:2]
    noise = replace(before, inherited=replace(before.inherited, sqnr_db=0.5))
    worse = replace(behind, inputs=(noise.tensor,), inherited=replace(behind.inherited, sqnr_db=-51.0))
    assert lost_db(worse, {noise.tensor: noise}) == 0.5
    assert lost_db(worse, {noise.tensor: replace(noise, inherited=replace(noise.inherited, sqnr_db=-3.0))}) == 0.0


def _vanishing_input() -> Net:
    """What reaches the bias underflows, so that fp16 answers as float32 does to a feed that is divided by 255."""
    net = Net(0)
    x = net.input(4, 8)
    for factor in (1e-5, 1e-5, 1e5, 1e5):
        x = net.scale(x, 8, factor, rank=2)
    net.op("Add", x, net.constant(np.linspace(1.0, 2.0, 8)))
    return net


def test_what_a_precision_loses_is_called_no_wrong_binding_neither_of_a_forecast_nor_of_its_engine():
    net = _vanishing_input()
    model = net.model("t4")
    engine = engine_evidence(model, forecast(model, FP16).rounded, net.feed, FP16)
    for evidence in (evidence_of(model, net.feed, FP16), engine):
        assert is_failing(evidence)
        assert io_dtype_or_order.find(evidence) == ()
    [answers] = engine.probes.answers()
    as_wrongly_fed = replace(answers, rounded=answers.reference)
    engine = replace(engine, probes=_Answering(as_wrongly_fed))
    [found] = io_dtype_or_order.find(engine)
    assert "divided by 255 once more" in found.title


@dataclass(frozen=True)
class _Answering:
    """Probes of one answer."""

    given: Answers

    def answers(self):
        return iter([self.given])
