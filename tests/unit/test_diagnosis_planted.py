"""Broken models: the source and the cause that are found are those that were planted; healthy twins have none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import pytest
from onnx import ModelProto, helper

from parity.diagnose import engine
from parity.diagnose.registry import RULES
from parity.diagnose.rules import reference_unstable, underflow
from parity.graph import iterate_initializers
from parity.tolerance import Precision, Tolerance
from tests.diagnosing import evidence_of, is_failing
from tests.plant import rename_everything
from tests.planted.architectures import KNOWN, UNSEEN, cnn, mixer, mlp
from tests.planted.faults import FAULTS, Fault
from tests.planted.models import PLANTED, Planted, broken, healthy, plant

if TYPE_CHECKING:
    from parity.diagnose.evidence import Evidence
    from parity.diagnosis import Diagnosis
    from tests.planted.architectures import Architecture
    from tests.planted.net import Net

_SEEDS = range(5)
_CAUSES = sorted({fault.cause for fault in FAULTS.values()})


@dataclass(frozen=True, slots=True)
class Found:
    evidence: Evidence
    diagnoses: tuple[Diagnosis, ...]

    @property
    def first_source(self) -> frozenset[str]:
        assert self.evidence.layers is not None
        place = self.evidence.layers.sources[0]
        return frozenset(next(row.nodes for row in self.evidence.layers.rows if row.position == place))


def look(planted: Planted) -> Found:
    evidence = evidence_of(planted.model, planted.feed, planted.options)
    return Found(evidence, diagnose(evidence))


def diagnose(evidence: Evidence) -> tuple[Diagnosis, ...]:
    found = [diagnosis for rule in RULES for diagnosis in rule(evidence)]
    return tuple(sorted(found, key=lambda diagnosis: -diagnosis.certainty))


@cache
def _look_at(name: str) -> tuple[Planted, Found]:
    planted = broken(name)
    return planted, look(planted)


@pytest.mark.parametrize("name", PLANTED)
def test_a_broken_model_fails_and_its_first_source_is_a_planted_node(name: str) -> None:
    planted, found = _look_at(name)
    assert is_failing(found.evidence)
    assert found.first_source & planted.nodes


@pytest.mark.parametrize("name", PLANTED)
def test_the_first_cause_of_a_broken_model_is_the_planted_one_and_its_probe_confirms_it(name: str) -> None:
    planted, found = _look_at(name)
    first = found.diagnoses[0]
    assert (first.cause, first.is_confirmed) == (planted.cause, True)
    assert set(first.nodes) & planted.nodes


@pytest.mark.parametrize("name", PLANTED)
def test_no_rule_says_anything_of_a_healthy_twin(name: str) -> None:
    found = look(healthy(name))
    assert not is_failing(found.evidence)
    assert found.diagnoses == ()


@pytest.mark.parametrize("architecture", KNOWN, ids=lambda architecture: architecture.__name__)
def test_no_rule_says_anything_of_a_sound_network_that_fails_by_its_tolerance_alone(architecture: object) -> None:
    made = plant(FAULTS["overflow"], architecture, 3, sick=False)
    assert made is not None
    strict = Tolerance(rtol=0.0, atol=1e-9, reason="nothing reaches it")
    evidence = evidence_of(made.model, made.feed, made.options, tolerance=strict)
    assert is_failing(evidence)
    assert diagnose(evidence) == ()


@pytest.mark.parametrize("name", PLANTED)
def test_renaming_every_node_and_tensor_changes_no_diagnosis(name: str) -> None:
    planted, found = _look_at(name)
    renamed = rename_everything(planted.model)
    assert not {node.name for node in renamed.graph.node} & {node.name for node in planted.model.graph.node}
    assert not {one.name for one in iterate_initializers(renamed.graph)} & {
        one.name for one in iterate_initializers(planted.model.graph)
    }
    again = diagnose(evidence_of(renamed, planted.feed, planted.options))
    assert [_nameless(one) for one in again] == [_nameless(one) for one in found.diagnoses]


def _nameless(diagnosis: Diagnosis) -> tuple[object, ...]:
    return diagnosis.cause, diagnosis.certainty, diagnosis.is_confirmed, len(diagnosis.nodes), len(diagnosis.keep)


@pytest.mark.parametrize("seed", _SEEDS)
@pytest.mark.parametrize("cause", _CAUSES)
def test_a_cause_is_found_in_architectures_that_its_rule_was_not_written_on(cause: str, seed: int) -> None:
    planted, found = _look_at_unseen(cause, seed)
    first = found.diagnoses[0]
    assert (first.cause, first.is_confirmed) == (cause, True)
    assert len(set(first.keep) - planted.nodes) <= 2


@pytest.mark.parametrize("cause", _CAUSES)
def test_a_twin_in_an_unseen_architecture_has_no_cause_and_other_names_change_none(cause: str) -> None:
    (planted, found), twin = _look_at_unseen(cause, 0), _plant_unseen(cause, 0, sick=False)
    assert look(twin).diagnoses == ()
    renamed = evidence_of(rename_everything(planted.model), planted.feed, planted.options)
    assert [_nameless(one) for one in diagnose(renamed)] == [_nameless(one) for one in found.diagnoses]


@cache
def _look_at_unseen(cause: str, seed: int) -> tuple[Planted, Found]:
    planted = _plant_unseen(cause, seed)
    return planted, look(planted)


def _plant_unseen(cause: str, seed: int, *, sick: bool = True) -> Planted:
    """Return the seed's fault of a cause in the seed's architecture; those without a place for it are passed over."""
    faults = [fault for fault in FAULTS.values() if fault.cause == cause]
    pairs = [(fault, architecture) for architecture in UNSEEN for fault in faults]
    made = [plant(*pairs[(seed + shift) % len(pairs)], 100 + seed, sick=sick) for shift in range(len(pairs))]
    return next(one for one in made if one is not None)


def _two(first: str, second: str, architecture: Architecture) -> Evidence:
    """Return the evidence of a network with a fault right behind another one."""
    faults = FAULTS[first], FAULTS[second]

    def both(net: Net, x: str, channels: int, rank: int, sick: bool) -> str:
        for fault in faults:
            x = fault.plant(net, x, channels, rank, sick)
        return x

    ranks = tuple(set(faults[0].ranks).intersection(faults[1].ranks))
    planted = plant(Fault(faults[1].cause, both, ranks=ranks), architecture, 3)
    assert planted is not None
    return evidence_of(planted.model, planted.feed, planted.options)


@pytest.mark.parametrize("architecture", [cnn, mixer, mlp], ids=lambda architecture: architecture.__name__)
def test_of_two_causes_that_hide_each_other_both_are_confirmed(architecture: Architecture) -> None:
    evidence = _two("underflow", "cancellation", architecture)
    found = engine.diagnose(evidence)
    assert {(one.cause, one.is_confirmed) for one in found} == {("underflow", True), ("fp16-accumulation", True)}
    assert any("that other causes want kept" in str(one.probe_result) for one in found)
    keep = tuple(dict.fromkeys(name for one in found for name in one.keep))
    assert evidence.probes.outputs(keep=keep)["y"] > 55.0


def test_what_is_not_needed_beside_the_true_cause_stays_refuted() -> None:
    found = engine.diagnose(_two("unstable", "overflow", cnn))
    assert [(one.cause, one.is_confirmed) for one in found[:1]] == [("fp16-overflow", True)]
    assert {one.is_confirmed for one in found[1:]} == {False}


def test_a_reference_that_is_unsure_in_its_last_digits_is_not_blamed_for_infinities() -> None:
    evidence = _two("unstable", "overflow", cnn)
    assert reference_unstable.find(evidence) == ()
    [outputs] = evidence.outcomes.values()
    [tensor] = outputs.tensors
    assert tensor.difference is not None
    # The very same failure without its infinities is as far as the reference is from itself.
    finite = replace(tensor, difference=replace(tensor.difference, nonfinite_mismatch_count=0, sqnr_db=48.0))
    alike = replace(evidence, outcomes={"outputs": replace(outputs, tensors=(finite,))})
    assert [one.cause for one in reference_unstable.find(alike)] == ["reference-unstable"]
    drawing = ModelProto()
    drawing.CopyFrom(evidence.model)
    drawing.graph.node.append(helper.make_node("RandomUniformLike", [drawing.graph.input[0].name], ["noise"], "draw"))
    [found] = reference_unstable.find(replace(alike, model=drawing))
    assert (found.cause, found.nodes) == ("reference-unstable", ("draw",))
    assert found.evidence[-1] == "draw (RandomUniformLike) draws anew in each run"
    assert "random" in found.title
    assert "small differences" not in found.remedy


def test_zeros_beside_the_place_where_error_is_born_lost_nothing_to_underflow() -> None:
    evidence = _look_at("residual_cancellation")[1].evidence
    assert evidence.layers is not None
    source = next(row for row in evidence.layers.rows if row.position == evidence.layers.sources[0])

    def with_inputs_up_to(largest: float) -> Evidence:
        ends = (0.0, largest)
        assert evidence.layers is not None
        rows = (
            replace(row, reference_range=ends) if row.tensor in source.inputs else row for row in evidence.layers.rows
        )
        return replace(evidence, layers=replace(evidence.layers, rows=tuple(rows)))

    assert underflow.find(with_inputs_up_to(0.0)) == ()
    assert [one.cause for one in underflow.find(with_inputs_up_to(1e-7))] == ["underflow"]


def test_the_broken_models_are_at_least_twelve_over_different_architectures_and_causes() -> None:
    assert len(PLANTED) >= 12
    assert len({architecture for _, architecture in PLANTED.values()}) >= 6
    assert len({FAULTS[fault].cause for fault, _ in PLANTED.values()}) >= 6


def test_bf16_has_the_range_that_fp16_lacks_and_fewer_digits() -> None:
    large = broken("residual_cancellation")
    beside = evidence_of(large.model, large.feed, large.options)
    in_bf16 = beside.probes.outputs(precision=Precision.BF16)["y"]
    assert in_bf16 < beside.probes.outputs()["y"]
    past = broken("cnn_overflow")
    assert evidence_of(past.model, past.feed, past.options).probes.outputs(precision=Precision.BF16)["y"] > 20.0
