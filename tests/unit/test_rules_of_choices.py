"""Rules on choices: ties, thresholds, caps."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper

from parity.agreement import BoxRecord, Figure, Finding, ImageAgreement
from parity.decode.yolov8 import YoloV8
from parity.diagnose.evidence import Answers
from parity.diagnose.rules import nms_caps, threshold_flips, topk_ties
from parity.layer_table import LayerError, LayerReport
from parity.tolerance import Precision
from parity.verdict import Verdict
from tests.layer_examples import row
from tests.plant import rename_everything
from tests.rule_evidence import ScriptedProbes, decoded, judged, noisy, run, scripted, told
from tests.rule_nets import SEEDS, Net, chooser

RULES = (nms_caps, threshold_flips, topk_ties)


def choose(seed: int, *, ties: bool, renamed: bool = False):
    """Return the evidence of a model that chooses: the variant rounds what it chooses among, and ties turn around."""
    model = chooser(seed, ties=ties)
    model = rename_everything(model) if renamed else model
    topk = next(node for node in model.graph.node if node.op_type == "TopK")
    # A signal of one sign keeps scores apart by far more than half precision rounds.
    feed = {"x": np.random.default_rng(seed).standard_normal((4, 16)).astype(np.float32)}
    exposed = onnx_with(model, topk.input[0])
    [expected] = run(exposed, [feed])
    scores = expected.pop(topk.input[0])
    values, indices = (value.name for value in model.graph.output)
    actual = noisy({"scores": scores}, Precision.FP16, np.random.default_rng(seed))["scores"]
    order = np.argsort(-actual, axis=-1, kind="stable")[:, :6]
    candidate = {values: np.take_along_axis(actual, order, -1), indices: order.astype(np.int64)}
    answers = [Answers(feed, expected, candidate)]
    probes = ScriptedProbes(answers, {topk.input[0]: [scores]})
    return scripted(model, outcomes=[judged(answers)], probes=probes), answers


def onnx_with(model, tensor):
    copy = type(model)()
    copy.CopyFrom(model)
    copy.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    return copy


@pytest.mark.parametrize("seed", SEEDS)
def test_indices_that_differ_at_ties_alone_are_ties(seed):
    evidence, _ = choose(seed, ties=True)
    [found] = topk_ties.find(evidence)
    assert (found.cause, found.is_confirmed) == ("topk-ties", True)
    assert [node.op_type for node in evidence.model.graph.node if node.name in found.nodes] == ["TopK"]


@pytest.mark.parametrize("seed", SEEDS)
def test_indices_that_point_to_other_values_are_no_ties(seed):
    evidence, [answers] = choose(seed, ties=False)
    indices = evidence.model.graph.output[1].name
    wrong = replace(answers, candidate={**answers.candidate, indices: (answers.reference[indices] + 5) % 24})
    probes = ScriptedProbes([wrong], evidence.probes.tensors)
    outcomes = {"outputs": judged([wrong])}
    assert topk_ties.find(replace(evidence, probes=probes, outcomes=outcomes)) == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_in_another_order_are_found_behind_a_choice_alone(seed):
    rng = np.random.default_rng(seed)
    net = Net(seed, ["batch", 20, 5])
    best = net.add("TopK", net.add("Relu", "x"), net.constant(np.array([8], np.int64)), outputs=2, axis=1)
    rows = {best: rng.standard_normal((2, 8, 5)).astype(np.float32)}
    shuffled = {best: noisy(rows, Precision.FP16, rng)[best][:, rng.permutation(8)]}
    answers = [Answers({}, rows, shuffled)]
    evidence = scripted(
        net.done((best, TensorProto.FLOAT, ["batch", 8, 5])),
        outcomes=[judged(answers)],
        probes=ScriptedProbes(answers),
    )
    assert [found.cause for found in topk_ties.find(evidence)] == ["topk-ties"]
    unchosen = Net(seed, ["batch", 8, 5])
    relu = unchosen.done((unchosen.add("Relu", "x"), TensorProto.FLOAT, ["batch", 8, 5]))
    renamed = [Answers({}, {"n0_0": rows[best]}, {"n0_0": shuffled[best]})]
    assert topk_ties.find(scripted(relu, outcomes=[judged(renamed)], probes=ScriptedProbes(renamed))) == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_argmax_of_equal_values_is_a_tie_in_every_form_of_the_operator(seed):
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((3, 6)).astype(np.float32)
    scores[:, 3:] = scores[:, :3]
    net = Net(seed, ["batch", 6])
    best = net.add("ArgMax", net.add("Identity", "x"), axis=1, keepdims=seed % 2)
    model = net.done((best, TensorProto.INT64, ["batch", 1][: 1 + seed % 2]))
    [expected] = run(model, [{"x": scores}])
    answers = [Answers({}, expected, {best: (expected[best] + 3) % 6})]
    probes = ScriptedProbes(answers, {"n0_0": [scores]})
    evidence = scripted(model, outcomes=[judged(answers)], probes=probes)
    [found] = topk_ties.find(evidence)
    assert "indices differ" in found.evidence[0]

    def find(sqnr_db):
        chosen_from = row(0, tensor="n0_0", inherited=LayerError(sqnr_db, 1.0, 1.0, 1.0))
        return topk_ties.find(replace(evidence, layers=LayerReport((chosen_from,), (), 1.0)))

    assert len(find(65.0)) == 1
    # Where the values themselves are damaged, their order is no matter of ties.
    assert find(12.0) == ()


def lonely(kind: str, score: float) -> Finding:
    box = BoxRecord((0, 0, 1, 1), score, "circle")
    return Finding(kind, "a.png", "scripted", 1.0, *((box, None) if kind == "missed" else (None, box)))


SMALL = {"score_difference_p99": 0.004, "iou_mean": 0.99, "class_flip_share": 0.0, "borderline_share": 0.05}


@pytest.mark.parametrize("seed", SEEDS)
def test_lonely_detections_beside_the_threshold_are_threshold_flips(seed):
    rng = np.random.default_rng(seed)
    findings = [lonely(kind, 0.25 + rng.uniform(-0.02, 0.02)) for kind in ("missed", "extra", "missed")]
    [found] = threshold_flips.find(scripted(outcomes=[decoded(figures=SMALL, findings=tuple(findings))]))
    assert (found.cause, "3 of 3" in found.evidence[0]) == ("threshold-flips", True)
    far = tuple(lonely("missed", 0.25 + rng.uniform(0.2, 0.5)) for _ in range(3))
    assert threshold_flips.find(scripted(outcomes=[decoded(figures=SMALL, findings=far)])) == ()


@pytest.mark.parametrize(
    "damage", [{"score_difference_p99": 0.2}, {"iou_mean": 0.7}, {"class_flip_share": 0.2}, {"borderline_share": 0.0}]
)
def test_what_is_damaged_is_no_threshold_flip(damage):
    outcome = decoded(figures={**SMALL, **damage})
    assert threshold_flips.find(scripted(outcomes=[outcome])) == ()


def test_a_gate_that_no_flip_moves_fails_for_another_reason():
    found = decoded(figures=SMALL, findings=(lonely("extra", 0.26),))
    moved = replace(found.decoded.figures[0], figure=Figure("iou_p5", 0.7, "iou"), minimum=0.9, verdict=Verdict.FAIL)
    damaged = replace(found, decoded=replace(found.decoded, figures=(*found.decoded.figures, moved)))
    assert len(threshold_flips.find(scripted(outcomes=[found]))) == 1
    assert threshold_flips.find(scripted(outcomes=[damaged])) == ()


def test_a_threshold_of_the_case_is_the_one_that_counts():
    case = SimpleNamespace(decoding=SimpleNamespace(score_threshold=0.6))
    outcome = decoded(figures=SMALL, findings=(lonely("extra", 0.61),))
    assert len(threshold_flips.find(scripted(outcomes=[outcome], case=case))) == 1
    assert threshold_flips.find(scripted(outcomes=[outcome])) == ()


@pytest.mark.parametrize(
    ("task", "unsure"), [("classification", "small_margin_flip_share"), ("segmentation", "boundary_flip_share")]
)
def test_classes_that_change_at_small_margins_alone_are_flips(task, unsure):
    def find(**figures: float):
        figures = {"score_difference_p99": 0.01, **figures}
        return threshold_flips.find(scripted(outcomes=[decoded(task=task, figures=figures)]))

    assert len(find(**{unsure: 0.04, "flip_share": 0.0})) == 1
    assert find(**{unsure: 0.04, "flip_share": 0.2}) == ()
    assert find(**{unsure: 0.0, "flip_share": 0.0}) == ()


def test_a_pass_has_no_flips_to_explain():
    assert threshold_flips.find(scripted(outcomes=[decoded(Verdict.PASS, figures=SMALL)])) == ()


def crowd(reference: int, candidate: int, missed: int) -> ImageAgreement:
    return ImageAgreement("a.png", 0, 0, 0.9, {"reference": reference, "candidate": candidate, "missed": missed})


@pytest.mark.parametrize("seed", SEEDS)
def test_counts_that_stand_at_a_cap_of_the_decoder_are_told(seed):
    cap = 20 + seed
    settings = YoloV8(max_detections=cap)
    case = SimpleNamespace(decoding=SimpleNamespace(settings=settings))
    outcome = decoded(images=(crowd(cap, cap, 3), crowd(4, 4, 0)))
    [found] = nms_caps.find(scripted(outcomes=[outcome], case=case))
    assert (found.cause, "1 images of the reference" in found.evidence[0]) == ("nms-caps", True)
    below = decoded(images=(crowd(cap - 1, cap - 1, 3),))
    whole = decoded(images=(crowd(cap, cap, 0),))
    assert [nms_caps.find(scripted(outcomes=[one], case=case)) for one in (below, whole)] == [(), ()]


def suppressor(cap: int, seed: int):
    net = Net(seed, [1, 40, 4])
    boxes = net.add("Relu", "x")
    scores = net.constant(net.rng.uniform(0.1, 1, (1, 2, 40)).astype(np.float32))
    limit = net.constant(np.array([cap], np.int64))
    chosen = net.add("NonMaxSuppression", boxes, scores, limit, net.constant(np.array([0.9], np.float32)))
    return net.done((chosen, TensorProto.INT64, ["n", 3]))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("renamed", [False, True])
def test_lists_of_a_suppression_that_are_full_are_told_with_the_node(seed, renamed):
    corner = np.random.default_rng(seed).uniform(0, 90, (1, 40, 2)).astype(np.float32)
    feed = {"x": np.concatenate([corner, corner + 5], axis=-1)}

    def find(cap: int):
        model = suppressor(cap, seed)
        model = rename_everything(model) if renamed else model
        [expected] = run(model, [feed])
        name = model.graph.output[0].name
        answers = [Answers(feed, expected, {name: expected[name][::-1]})]
        probes = ScriptedProbes(answers, {name: [expected[name]]})
        return nms_caps.find(scripted(model, outcomes=[judged(answers)], probes=probes)), model

    [found], model = find(4)
    kinds = {node.name: node.op_type for node in model.graph.node}
    assert [kinds[name] for name in found.nodes] == ["NonMaxSuppression"]
    assert "2 lists" in found.evidence[0]
    assert find(100)[0] == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_other_names_change_nothing_that_rules_of_choices_say(seed):
    plain, other = (choose(seed, ties=True, renamed=renamed)[0] for renamed in (False, True))
    assert [told(rule.find(plain)) for rule in RULES] == [told(rule.find(other)) for rule in RULES]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rule", RULES)
def test_rules_of_choices_say_nothing_of_a_sound_variant(rule, seed):
    evidence, [answers] = choose(seed, ties=False)
    sound = replace(answers, candidate=answers.reference)
    probes = ScriptedProbes([sound], evidence.probes.tensors)
    outcomes = {"outputs": judged([sound]), "decoded": decoded(Verdict.PASS, figures=SMALL)}
    assert rule.find(replace(evidence, probes=probes, outcomes=outcomes)) == ()
