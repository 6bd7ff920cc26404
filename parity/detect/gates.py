"""What figures are allowed to be, by default and as a case says, and whether they are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from parity.agreement import Figure, JudgedFigure
from parity.decoded import Task
from parity.detect.detection_observe import ToldLimits
from parity.tolerance import Precision
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Gate:
    """What a figure may be.

    Attributes
    ----------
    minimum, maximum
        What is allowed, both included; None where that side is open.
    reason
        Why these numbers; shown beside the verdict.
    only_if_measured
        Whether the gate stands only where there is something to measure, as for annotations, masks and keypoints,
        which most cases do not have. Else nothing measured is no pass.
    single_of
        Counts of which the figure, a share of the largest of them, may be a single one whatever share that is.
    """

    figure: str
    minimum: float | None
    maximum: float | None
    reason: str
    only_if_measured: bool = False
    single_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Allowance:
    """What a precision may change in decoded results; shares are of detections, lanes' points or images.

    Attributes
    ----------
    lost
        Share that may be missed, extra, double, or of another class.
    iou_mean, iou_p5
        The least overlap of pairs.
    score_bias, score_p99
        The most that scores may shift on average, either way, and that 99 % of them may differ.
    accuracy
        The most that accuracy may change, either way.
    point_shift
        Pixels that 99 % of the lanes' points may move.
    pixels
        Share of pixels that may change class although the reference was sure.
    """

    lost: float
    iou_mean: float
    iou_p5: float
    score_bias: float
    score_p99: float
    accuracy: float
    point_shift: float
    pixels: float
    why: str


# Measured on the detector of cases/shapes_yolo, forecast on 64 images with 213 detections, none lost at any precision:
# mean and fifth percentile of the IoU, 99th percentile of score differences, mean score shift. Each allowance leaves
# room for larger models; a planted fault of the tests is outside of the widest of them.
#   tf32 0.999 0.999 0.001 0.000    fp16 0.996 0.990 0.001 0.000    bf16 0.976 0.944 0.003 0.000
#   int8 0.982 0.966 0.018 0.002    fp8  0.948 0.916 0.022 0.000
_ALLOWANCES = {
    Precision.FP32: _Allowance(0.0, 0.99, 0.99, 0.001, 0.005, 0.001, 0.5, 0.0, "another order of the same sums"),
    Precision.TF32: _Allowance(0.005, 0.98, 0.95, 0.005, 0.03, 0.005, 1.0, 0.001, "10-bit mantissas in products"),
    Precision.FP16: _Allowance(0.005, 0.98, 0.95, 0.005, 0.03, 0.005, 1.0, 0.001, "10-bit mantissas"),
    Precision.BF16: _Allowance(0.02, 0.95, 0.85, 0.02, 0.1, 0.01, 3.0, 0.01, "7-bit mantissas"),
    Precision.INT8: _Allowance(0.05, 0.9, 0.75, 0.05, 0.25, 0.02, 6.0, 0.03, "255 levels a tensor"),
    Precision.FP8: _Allowance(0.05, 0.9, 0.7, 0.05, 0.3, 0.02, 8.0, 0.04, "3-bit mantissas"),
}

_BORDERLINE = 0.02
_RARE_CLASS = "a rare class may be lost whole and be a small share of all"
_LOST_IMAGE = "an image may be lost whole and be a small share of all"
_OVERLAPS = ("iou_mean", "iou_p5", "iou_min")
_SCORE_STEPS = ("score_difference_mean", "score_difference_p99", "score_difference_max", "score_bias")
_SHIFTS = ("corner_shift_p50", "corner_shift_p99", "corner_shift_max")
_POINT_SHIFTS = ("point_shift_p50", "point_shift_p99", "point_shift_max")


def default_gates(task: Task, precision: Precision) -> tuple[Gate, ...]:
    """Return the gates that stand where a case has none on the same figure; each says why it is as it is."""
    return _MAKERS[task](_ALLOWANCES[precision], f"default for {precision}: {_ALLOWANCES[precision].why}")


def judge_figures(figures: Sequence[Figure], gates: Sequence[Gate]) -> tuple[JudgedFigure, ...]:
    """Judge figures by gates; of several gates on one figure the last one stands.

    A figure outside of its gate fails. Where nothing was measured, or what was measured is not a number, the gate is
    inconclusive; so it is on a figure that is not there at all, which comes last.
    """
    values = {figure.name: figure.value for figure in figures}
    standing = {gate.figure: _allow_single(gate, values) for gate in gates}
    judged = [_judge(figure, standing.pop(figure.name, None)) for figure in figures]
    unmet = [_judge(Figure(gate.figure, None, ""), gate) for gate in standing.values() if not gate.only_if_measured]
    return (*judged, *unmet)


def _allow_single(gate: Gate, values: Mapping[str, float | None]) -> Gate:
    count = max((values.get(name) or 0.0 for name in gate.single_of), default=0.0)
    if gate.maximum is None or not count:
        return gate
    return replace(gate, maximum=max(gate.maximum, 1.0 / count))


def _judge(figure: Figure, gate: Gate | None) -> JudgedFigure:
    if gate is None or (gate.only_if_measured and figure.value is None):
        return JudgedFigure(figure)
    return JudgedFigure(figure, gate.minimum, gate.maximum, _verdict(figure.value, gate), gate.reason)


def _verdict(value: float | None, gate: Gate) -> Verdict:
    if value is None or math.isnan(value):
        return Verdict.INCONCLUSIVE
    low = -math.inf if gate.minimum is None else gate.minimum
    high = math.inf if gate.maximum is None else gate.maximum
    return Verdict.PASS if low <= value <= high else Verdict.FAIL


def told_limits(gates: Sequence[Gate]) -> ToldLimits:
    """Return from where on differences of pairs are told, so that whatever a gate does not allow has a finding."""
    usual, standing = ToldLimits(), {gate.figure: gate for gate in gates}
    overlaps = [gate.minimum for name in _OVERLAPS if (gate := standing.get(name)) and gate.minimum is not None]
    return ToldLimits(
        iou=max([usual.iou, *overlaps]),
        score_step=min([usual.score_step, *_limits(standing, _SCORE_STEPS)]),
        shift=min([usual.shift, *_limits(standing, _SHIFTS)]),
    )


def told_point_shift(gates: Sequence[Gate], usual: float = 1.0) -> float:
    """Return from how many pixels on a lane is told as moved, so that what a gate does not allow has a finding."""
    return min([usual, *_limits({gate.figure: gate for gate in gates}, _POINT_SHIFTS)])


def _limits(gates: Mapping[str, Gate], names: Sequence[str]) -> Iterator[float]:
    """Yield how far from 0 gates on these figures allow them to be."""
    for gate in (gates[name] for name in names if name in gates):
        yield from (abs(limit) for limit in (gate.minimum, gate.maximum) if limit is not None)


def _detection_gates(allowed: _Allowance, why: str) -> tuple[Gate, ...]:
    lost = ("missed_share", "extra_share", "class_flip_share", "duplicate_share")
    return (
        *(Gate(name, None, allowed.lost, why) for name in lost),
        Gate("absent_class_count", None, 0.0, "a class that the reference never shows is made up"),
        Gate("lost_class_count", None, 0.0, _RARE_CLASS),
        Gate("one_sided_image_count", None, 0.0, _LOST_IMAGE),
        Gate(
            "borderline_share",
            None,
            _BORDERLINE,
            "drift over a threshold excuses single detections, not many",
            single_of=("reference_count", "candidate_count"),
        ),
        Gate("iou_mean", allowed.iou_mean, None, why),
        Gate("iou_p5", allowed.iou_p5, None, why),
        *_score_gates(allowed, why),
        *_accuracy_gates("true_ap_drop", allowed),
        *_accuracy_gates("true_ap50_drop", allowed),
        Gate("mask_iou_mean", allowed.iou_mean, None, why, only_if_measured=True),
        Gate("oks_mean", allowed.iou_mean, None, why, only_if_measured=True),
    )


def _classification_gates(allowed: _Allowance, why: str) -> tuple[Gate, ...]:
    # Scores may be logits, whose unit is not known here; the outputs check bounds them in units of their own size.
    return (
        Gate("flip_share", None, allowed.lost, why),
        Gate(
            "small_margin_flip_share",
            None,
            _BORDERLINE,
            "a near tie may turn over in single images, not in many",
            single_of=("image_count",),
        ),
        *_accuracy_gates("accuracy_drop", allowed),
    )


def _lane_gates(allowed: _Allowance, why: str) -> tuple[Gate, ...]:
    return (
        Gate("missed_point_share", None, allowed.lost, why),
        Gate("extra_point_share", None, allowed.lost, why),
        Gate("point_shift_p99", None, allowed.point_shift, why),
        Gate("lane_agreement", 1.0 - allowed.lost, None, why),
        Gate("one_sided_image_count", None, 0.0, _LOST_IMAGE),
        Gate("attribute_agreement", 1.0 - allowed.lost, None, why, only_if_measured=True),
    )


def _segmentation_gates(allowed: _Allowance, why: str) -> tuple[Gate, ...]:
    return (
        Gate("flip_share", None, allowed.pixels, why),
        Gate(
            "boundary_flip_share",
            None,
            _BORDERLINE,
            "pixels between two classes may turn over, a few of them",
            only_if_measured=True,
        ),
        Gate("class_iou_mean", allowed.iou_mean, None, why),
        Gate("lost_class_count", None, 0.0, _RARE_CLASS),
    )


def _score_gates(allowed: _Allowance, why: str) -> tuple[Gate, ...]:
    return (
        Gate("score_bias", -allowed.score_bias, allowed.score_bias, why),
        Gate("score_difference_p99", None, allowed.score_p99, why),
        Gate("score_value_count", 2.0, None, "one score for everything ranks nothing", only_if_measured=True),
    )


def _accuracy_gates(figure: str, allowed: _Allowance) -> tuple[Gate, ...]:
    reason = f"{allowed.why}; more accurate by more than that is as suspicious as less"
    return (Gate(figure, -allowed.accuracy, allowed.accuracy, reason, only_if_measured=True),)


_MAKERS = {
    Task.DETECTION: _detection_gates,
    Task.CLASSIFICATION: _classification_gates,
    Task.LANES: _lane_gates,
    Task.SEGMENTATION: _segmentation_gates,
}
