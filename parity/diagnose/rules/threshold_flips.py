"""Results that cross a threshold because their scores lie beside it, while scores and boxes hardly move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.decoded import Task
from parity.diagnose.certainty import SHOWN
from parity.diagnose.facts import figure_values
from parity.diagnosis import Diagnosis
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parity.agreement import DecodedRecord, Finding
    from parity.diagnose.evidence import Evidence

CAUSE = "threshold-flips"
_SMALL_DRIFT = 0.03
"""99 % of the scores moved by less, on a scale of 0 to 1: more is a damage, not a flip."""
_SOUND_IOU = 0.95
_FEW_FLIPS = 0.02
_NEAR_SHARE = 0.6
_BORDERLINE_SHARE = 0.02
_BAND = 0.02
"""How far beside a threshold a score may lie even where scores do not drift."""
_OF_FLIPS = frozenset({
    "ap", "ap50", "ap75", "borderline_share", "boundary_flip_share", "extra_share", "f1", "flip_share", "matched_share",
    "missed_share", "pixel_agreement", "small_margin_flip_share", "top1_agreement",
})  # fmt: skip
"""Figures that a flip moves; a gate on another one fails for another reason."""
_THRESHOLD = 0.25
"""Where the case names none."""


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Name the threshold, or small margins, where what differs lies beside it and scores hardly moved."""
    outcome = evidence.outcomes.get("decoded")
    if outcome is None or outcome.decoded is None or outcome.verdict is Verdict.PASS:
        return ()
    failed = {one.figure.name for one in outcome.decoded.figures if one.verdict is Verdict.FAIL}
    if failed and not failed & _OF_FLIPS:
        return ()
    figures = figure_values(evidence)
    if figures.get("score_difference_p99", 1.0) > _SMALL_DRIFT and outcome.decoded.task != Task.SEGMENTATION:
        return ()
    tell = _detections if outcome.decoded.task == Task.DETECTION else _margins
    sentences = tell(evidence, outcome.decoded, figures)
    return (_diagnosis(sentences),) if sentences else ()


def _detections(evidence: Evidence, record: DecodedRecord, figures: Mapping[str, float]) -> tuple[str, ...]:
    if figures.get("iou_mean", 0.0) < _SOUND_IOU or figures.get("class_flip_share", 0.0) > _FEW_FLIPS:
        return ()
    threshold = _threshold(evidence)
    lonely = [one for one in record.findings if one.kind in {"missed", "extra"}]
    band = _BAND + figures["score_difference_p99"]
    near = [one for one in lonely if abs(_score(one) - threshold) <= band]
    borderline = figures.get("borderline_share", 0.0)
    if borderline < _BORDERLINE_SHARE and not near:
        return ()
    if len(near) < _NEAR_SHARE * len(lonely):
        return ()
    drift, iou = figures["score_difference_p99"], figures["iou_mean"]
    return (
        f"{len(near)} of {len(lonely)} detections without a partner score within {band:.2g} of {threshold:g}.",
        f"A share of {borderline:.3g} of all detections is borderline.",
        f"99 % of the scores moved by at most {drift:.2g}, and the mean IoU is {iou:.3f}.",
    )


def _score(finding: Finding) -> float:
    box = finding.reference or finding.candidate
    return box.score if box else float("inf")


def _threshold(evidence: Evidence) -> float:
    decoding = evidence.case.decoding if evidence.case else None
    return decoding.score_threshold if decoding else _THRESHOLD


def _margins(_evidence: Evidence, record: DecodedRecord, figures: Mapping[str, float]) -> tuple[str, ...]:
    """Return sentences where classes changed only where the reference was not sure."""
    unsure_name = "small_margin_flip_share" if record.task == Task.CLASSIFICATION else "boundary_flip_share"
    unsure, sure = figures.get(unsure_name, 0.0), figures.get("flip_share", 0.0)
    if unsure <= 0.0 or sure > unsure:
        return ()
    what = "images" if record.task == Task.CLASSIFICATION else "pixels"
    return (
        f"A share of {unsure:.3g} of all {what} changed class where the reference's margin is small.",
        f"A share of {sure:.3g} did where it is not.",
    )


def _diagnosis(sentences: tuple[str, ...]) -> Diagnosis:
    return Diagnosis(
        cause=CAUSE,
        title="What differs lies beside a threshold: scores hardly moved, and crossed it.",
        certainty=SHOWN,
        nodes=(),
        evidence=sentences,
        probe="Move the threshold a little: the differences move along with it to other objects.",
        remedy=(
            "Widen borderline_cap or small_margin to what the scores drift, or gate on average precision; the variant "
            "loses nothing that the reference is sure of."
        ),
    )
