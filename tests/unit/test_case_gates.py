"""Gates: figures held against the task, limits against each other, variants against the file."""

from __future__ import annotations

import pytest

from parity.case.gates import build_gates
from parity.case.mistakes import Mistakes
from parity.case.model import GateRule
from parity.case.schema_decode import GateTable
from parity.decoded import Task
from parity.detect.figures import FIGURES


def built(
    *tables: GateTable | None, task: Task | None = Task.DETECTION, truth: bool = False
) -> tuple[object, list[str]]:
    mistakes = Mistakes()
    rules = build_gates(tables, task, ("fp16", "int8"), mistakes, has_annotations=truth)
    return rules, [str(mistake) for mistake in mistakes.found]


def gate(figure: str = "f1", **keys: object) -> GateTable:
    return GateTable.model_validate({"figure": figure, "min": 0.9, "reason": "r", **keys})


@pytest.mark.parametrize("task", Task)
def test_every_figure_of_a_task_can_be_gated(task: Task) -> None:
    gates = [gate(spec.name) for spec in FIGURES[task]]
    rules, mistakes = built(*gates, task=task, truth=True)
    assert mistakes == []
    assert rules == tuple(GateRule("*", spec.name, 0.9, None, "r") for spec in FIGURES[task])


def test_figures_against_the_truth_need_annotations_and_no_others_do() -> None:
    told = {
        spec.name
        for task in Task
        for spec in FIGURES[task]
        if any("add [annotations]" in mistake for mistake in built(gate(spec.name), task=task)[1])
    }
    assert told == {
        *("true_ap_reference", "true_ap_candidate", "true_ap_drop", "true_ap_drop_low", "true_ap_drop_high"),
        *("true_ap50_reference", "true_ap50_candidate", "true_ap50_drop"),
        *("accuracy_reference", "accuracy_candidate"),
        *("accuracy_drop", "accuracy_drop_low", "accuracy_drop_high"),
    }


def test_a_figure_is_not_looked_up_where_the_task_is_not_known() -> None:
    assert built(gate("anything"), task=None)[1] == []


def test_equal_limits_ask_for_one_value_and_negative_ones_are_allowed() -> None:
    assert built(gate("score_bias", min=-0.1, max=-0.1))[1] == []


def test_a_variant_may_be_a_wildcard_that_matches_one() -> None:
    assert built(gate(variant="int*"))[1] == []
    assert built(gate(variant="bf*"))[1] == ["gates[0].variant: expected one of fp16, int8; got 'bf*'"]


def test_a_gate_that_is_no_table_keeps_its_place_in_the_count() -> None:
    assert built(None, gate(min=1, max=0))[1] == ["gates[1].min: expected at most max, 0; got 1"]
