"""Gates stand on figures that exist, and nothing measured is never a pass."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest

from parity.agreement import Figure
from parity.decoded import Task
from parity.detect.figures import FIGURES, figures_of
from parity.detect.gates import Gate, default_gates, judge_figures
from parity.tolerance import Precision
from parity.verdict import Verdict

UNITS = {"share", "px", "iou", "score", "count", "ap", "correlation", "oks"}


def judge(value, *gates):
    return [(one.figure.name, one.verdict) for one in judge_figures([Figure("f", value, "share")], gates)]


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (0.1, Verdict.PASS),
        (0.2, Verdict.PASS),
        (0.09, Verdict.FAIL),
        (0.21, Verdict.FAIL),
        (math.inf, Verdict.FAIL),
        (math.nan, Verdict.INCONCLUSIVE),
        (None, Verdict.INCONCLUSIVE),
    ],
)
def test_both_ends_of_a_gate_are_allowed_and_nothing_measured_is_no_pass(value, verdict):
    assert judge(value, Gate("f", 0.1, 0.2, "because")) == [("f", verdict)]


def test_an_open_gate_passes_numbers_alone():
    assert judge(1e9, Gate("f", None, None, "")) == [("f", Verdict.PASS)]
    assert judge(math.nan, Gate("f", None, None, "")) == [("f", Verdict.INCONCLUSIVE)]


def test_a_figure_without_a_gate_has_no_verdict():
    assert judge(0.5) == [("f", None)]


def test_of_several_gates_the_last_one_stands_with_its_reason():
    (judged,) = judge_figures(
        [Figure("f", 0.5, "share")], [Gate("f", None, 0.1, "default"), Gate("f", 0.2, 0.6, "the case's")]
    )
    assert (judged.verdict, judged.minimum, judged.maximum, judged.reason) == (Verdict.PASS, 0.2, 0.6, "the case's")


def test_a_gate_on_a_figure_that_is_not_there_is_inconclusive_unless_it_stands_only_where_measured():
    assert judge(0.5, Gate("g", None, 1.0, "")) == [("f", None), ("g", Verdict.INCONCLUSIVE)]
    assert judge(0.5, Gate("g", None, 1.0, "", only_if_measured=True)) == [("f", None)]
    assert judge(None, Gate("f", None, 1.0, "", only_if_measured=True)) == [("f", None)]
    assert judge(2.0, Gate("f", None, 1.0, "", only_if_measured=True)) == [("f", Verdict.FAIL)]


@pytest.mark.parametrize(
    ("lost", "count", "verdict"), [(1, 7, Verdict.PASS), (2, 7, Verdict.FAIL), (2, 100, Verdict.PASS)]
)
def test_a_single_borderline_detection_never_fails_a_small_set(lost, count, verdict):
    [gate] = [gate for gate in default_gates(Task.DETECTION, Precision.FP16) if gate.figure == "borderline_share"]
    figures = [
        Figure("reference_count", count, "count"),
        Figure("candidate_count", count - lost, "count"),
        Figure("borderline_share", lost / count, "share"),
    ]
    *_, judged = judge_figures(figures, [gate])
    assert (judged.verdict, judged.maximum) == (verdict, max(0.02, 1 / count))
    *_, own = judge_figures(figures, [gate, Gate("borderline_share", None, 0.01, "the case's own")])
    assert own.verdict is Verdict.FAIL


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("precision", Precision)
def test_every_default_gate_stands_on_a_figure_of_its_task_and_has_a_reason(task, precision):
    gates = default_gates(task, precision)
    names = [gate.figure for gate in gates]
    assert len(names) == len(set(names))
    assert set(names) <= {spec.name for spec in FIGURES[task]}
    assert all(gate.reason and (gate.minimum, gate.maximum) != (None, None) for gate in gates)
    assert any(not gate.only_if_measured for gate in gates)


@pytest.mark.parametrize("task", Task)
def test_nothing_measured_at_all_passes_no_default_gate(task):
    judged = judge_figures(figures_of(task, {}), default_gates(task, Precision.FP16))
    assert Verdict.INCONCLUSIVE in {one.verdict for one in judged}
    assert Verdict.PASS not in {one.verdict for one in judged}


def test_accuracy_is_gated_both_ways():
    for task, figure in ((Task.DETECTION, "true_ap_drop"), (Task.CLASSIFICATION, "accuracy_drop")):
        (gate,) = [gate for gate in default_gates(task, Precision.INT8) if gate.figure == figure]
        assert gate.minimum == -gate.maximum < 0


def test_a_coarser_precision_is_never_held_to_more_than_a_finer_one():
    order = (Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8, Precision.FP8)
    for task in Task:
        for finer, coarser in pairwise(order):
            for one, other in zip(default_gates(task, finer), default_gates(task, coarser), strict=True):
                assert (other.maximum is None) or other.maximum >= one.maximum
                assert (other.minimum is None) or other.minimum <= one.minimum


def test_names_are_unique_units_are_known_and_a_name_that_is_none_is_refused():
    for specs in FIGURES.values():
        assert len({spec.name for spec in specs}) == len(specs)
        assert {spec.unit for spec in specs} <= UNITS
        assert all(spec.meaning for spec in specs)
    with pytest.raises(KeyError, match="mised_share"):
        figures_of(Task.DETECTION, {"mised_share": 0.0})


@pytest.mark.parametrize("task", FIGURES)
def test_figures_are_numbers_that_json_takes(task):
    values = {spec.name: (np.int64(3), np.float32(0.5), None)[place % 3] for place, spec in enumerate(FIGURES[task])}
    found = [figure.value for figure in figures_of(task, values)]
    assert json.loads(json.dumps(found)) == list(values.values())
