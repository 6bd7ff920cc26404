"""What the rules are made of: steps of formats, tiny values, islands of nodes, patterns, probes that cannot tell."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.diagnose.certainty import CONFIRMED, FITS, POSSIBLE, REFUTED, SHOWN, SPECIFIC, certainty_of
from parity.diagnose.model_facts import ModelFacts
from parity.diagnose.registry import RULES
from parity.diagnose.resampling import modes_of, other_modes
from parity.diagnose.row_facts import RowFacts, magnitude
from parity.diagnose.rules import fp16_overflow, layernorm_pattern
from parity.diagnose.rules.fp16_accumulation import ulp
from parity.diagnose.rules.underflow import smallness
from parity.diagnose.trial import decibels, try_keeping, worst_db
from parity.errors import PrecisionError
from parity.options import PrecisionOptions
from parity.tolerance import Precision
from tests.diagnosing import evidence_of
from tests.planted.architectures import cnn, transformer
from tests.planted.faults import FAULTS
from tests.planted.models import broken, plant
from tests.tiny_graphs import looped, model_of, node

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from parity.diagnose.evidence import Evidence, Rule
    from tests.planted.models import Planted


@given(st.floats(min_value=2.0**-13, max_value=6e4, width=16))
def test_a_step_of_half_is_numpys_spacing(number: float) -> None:
    assert ulp(number, 11) == float(np.spacing(np.float16(number)))


@given(st.floats(min_value=2.0**-10, max_value=1e6, width=32))
def test_a_step_of_bfloat16_is_what_is_between_neighbours(number: float) -> None:
    rounded = np.array(number, ml_dtypes.bfloat16)
    above = (rounded.view(np.uint16) + np.uint16(1)).view(ml_dtypes.bfloat16)
    assert ulp(float(rounded), 8) == float(above) - float(rounded)


def test_tiny_and_clamped_values_are_counted_as_shares_of_those_that_are_not_zero() -> None:
    found = smallness([np.array([0.0, 1.0, 1e-9]), np.array([[1e-5, 1e6, np.inf]])])
    assert (found.count, found.flushed, found.subnormal, found.clamped) == (4, 0.25, 0.25, 0.25)
    assert found.sqnr_db < 1.0
    assert "25 % become 0, 25 % subnormal, 25 % beyond 65504" in str(found)


def test_values_that_half_holds_lose_nothing() -> None:
    assert smallness([np.array([0.5, 2.0])]).sqnr_db == math.inf
    assert smallness([np.zeros(3)]).count == 0


def test_certainties_stand_in_the_order_of_what_they_rest_on() -> None:
    scale = [REFUTED, POSSIBLE, FITS, SHOWN, CONFIRMED, CONFIRMED + SPECIFIC]
    assert scale == sorted(set(scale))
    assert scale[-1] < 1.0
    assert certainty_of(FITS, None) == FITS
    assert certainty_of(FITS, True) == CONFIRMED
    assert certainty_of(SHOWN, False) == REFUTED
    assert certainty_of(SHOWN, None, is_specific=True) > SHOWN


@dataclass
class _ScriptedProbes:
    before: float
    after: float
    asked: list[Mapping[str, object]] = field(default_factory=list)

    def outputs(self, keep: tuple[str, ...] = (), **options: object) -> Mapping[str, float]:
        self.asked.append({"keep": keep, **options})
        if keep == ("missing",):
            raise PrecisionError("keep: 'missing' matches no node of the model")
        return {"y": self.after if keep else self.before, "zero": math.nan}

    def ranges(self, tensors: Iterable[str]) -> Mapping[str, tuple[float, float]]:
        raise NotImplementedError

    def values(self, tensor: str) -> Iterable[np.ndarray]:
        raise NotImplementedError


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    past = broken("cnn_overflow")
    return evidence_of(past.model, past.feed, past.options)


@pytest.mark.parametrize(
    ("before", "after", "is_confirmed"),
    [
        (-math.inf, 60.0, True),
        (-math.inf, -math.inf, False),
        (10.0, 60.0, True),
        (10.0, 14.0, False),
        (10.0, 3.0, False),
        (60.0, 70.0, None),
        (math.nan, 60.0, None),
    ],
)
def test_a_probe_confirms_what_mends_and_tells_nothing_of_a_sound_forecast(
    evidence: Evidence, before: float, after: float, is_confirmed: bool | None
) -> None:
    trial = try_keeping(replace(evidence, probes=_ScriptedProbes(before, after)), ("n1",))
    assert trial.is_confirmed is is_confirmed
    assert trial.result is not None
    assert "1 node kept at fp32" in trial.result


def test_a_probe_that_cannot_be_made_says_why_and_confirms_nothing(evidence: Evidence) -> None:
    scripted = replace(evidence, probes=_ScriptedProbes(0.0, 0.0))
    trial = try_keeping(scripted, ("missing",))
    assert trial.is_confirmed is None
    assert trial.result is not None
    assert "matches no node" in trial.result
    assert try_keeping(scripted, ()).result is None


def test_levels_are_told_in_words_where_they_are_no_numbers() -> None:
    assert [decibels(one) for one in (3.14, math.inf, -math.inf, math.nan)] == [
        "3.1 dB", "no error", "non-finite values", "an undefined SQNR",
    ]  # fmt: skip
    assert worst_db({"a": math.nan, "b": 3.0}) == 3.0
    assert math.isnan(worst_db({}))


def test_an_island_holds_who_gives_and_who_reads_large_tensors(evidence: Evidence) -> None:
    rows = RowFacts(evidence.layers)
    past = [row for row in rows.rows if magnitude(row) > 65504]
    island = rows.island(past[:1], lambda row: magnitude(row) > 65504)
    wanted = {name for row in past for one in (row, *rows.readers(row)) for name in one.nodes}
    assert set(island) == wanted


def test_overflow_is_found_without_layers_by_the_references_ranges(evidence: Evidence) -> None:
    [found] = fp16_overflow.find(replace(evidence, layers=None))
    assert found.is_confirmed
    assert set(found.nodes) <= broken("cnn_overflow").nodes


def test_a_variant_of_another_precision_is_no_half_overflow(evidence: Evidence) -> None:
    assert fp16_overflow.find(replace(evidence, options=PrecisionOptions(Precision.INT8))) == ()


def test_a_normalisation_in_parts_is_found_from_its_mean_to_its_division() -> None:
    made = plant(FAULTS["layer_norm"], transformer, 0)
    assert made is not None
    facts = ModelFacts(made.model)
    norms = list(layernorm_pattern.find_norms(facts))
    assert len(norms) == 3
    kinds = [facts.nodes[name].op_type for name in norms[0].nodes]
    assert kinds == ["ReduceMean", "Sub", "Pow", "ReduceMean", "Add", "Sqrt", "Div"]


@pytest.mark.parametrize("fault", ["l2_norm", "moments"])
def test_a_sum_of_squares_is_no_normalisation_in_parts(fault: str) -> None:
    made = plant(FAULTS[fault], cnn, 0)
    assert made is not None
    assert list(layernorm_pattern.find_norms(ModelFacts(made.model))) == []


def test_keeping_a_loop_keeps_the_nodes_inside_of_it() -> None:
    model = looped([node("Exp", ["before"], ["after"], "inner")], 2)
    assert ModelFacts(model).with_inner(["loop", "gone"]) == ("loop", "inner", "still")


def test_constants_are_never_kept_because_a_precision_makes_initializers_of_them() -> None:
    nodes = [
        node("Constant", [], ["held"], "constant", value_floats=[1.0, 2.0]),
        node("Add", ["x", "held"], ["y"], "add"),
    ]
    assert ModelFacts(model_of(nodes, ["x"], ["y"])).with_inner(["constant", "add"]) == ("add",)


def test_constants_are_read_from_initializers_and_from_constant_nodes() -> None:
    nodes = [
        node("Constant", [], ["held"], "constant", value_floats=[1.0, 2.0]),
        node("Add", ["x", "held"], ["y"], "add"),
    ]
    facts = ModelFacts(model_of(nodes, ["x"], ["y"], {"unused": [3.0]}))
    assert list(facts.constant_inputs(["add"])) == ["held"]
    assert facts.floats("x") is None
    assert facts.integers("held") == ()


def test_modes_that_a_node_does_not_read_are_not_tried() -> None:
    resize = node("Resize", ["x", "", "s"], ["y"], "up", mode="linear", coordinate_transformation_mode="asymmetric")
    assert modes_of(resize) == {"coordinate_transformation_mode": "asymmetric"}
    assert list(other_modes(resize)) == [
        {"coordinate_transformation_mode": "half_pixel"}, {"coordinate_transformation_mode": "align_corners"},
    ]  # fmt: skip
    nearest = node("Resize", ["x", "", "s"], ["y"], "up")
    assert len(list(other_modes(nearest))) == 11


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__module__.rpartition(".")[2])
@pytest.mark.parametrize("name", ["cnn_overflow", "residual_cancelling_product", "recurrent_cancellation"])
def test_a_rule_ends_without_layers_and_names_nodes_of_the_model_only(name: str, rule: Rule) -> None:
    planted, evidence = _seen(name)
    names = {node.name for node in planted.model.graph.node}
    for found in rule(replace(evidence, layers=None)):
        assert {*found.nodes, *found.keep} <= names


@cache
def _seen(name: str) -> tuple[Planted, Evidence]:
    planted = broken(name)
    return planted, evidence_of(planted.model, planted.feed, planted.options)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__module__.rpartition(".")[2])
def test_a_reference_of_nan_has_no_cause_and_ends(rule: Rule) -> None:
    model = model_of([node("Log", ["x"], ["t"], "log"), node("Exp", ["t"], ["y"], "exp")], ["x"], ["y"])
    evidence = evidence_of(model, {"x": np.full(4, -1.0, np.float32)}, PrecisionOptions(Precision.FP16))
    assert rule(evidence) == ()
