"""The names of all figures, task by task: what gates, case files and documents check theirs against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.agreement import Better, Figure
from parity.decoded import Task

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class FigureSpec:
    """A figure: its unit is as in ``parity.agreement.Figure``, its meaning one line."""

    name: str
    unit: str
    better: Better
    meaning: str


_IMAGES = FigureSpec("image_count", "count", Better.NEITHER, "images compared")

_DETECTION = (
    _IMAGES,
    FigureSpec("reference_count", "count", Better.NEITHER, "detections of the reference at the score threshold"),
    FigureSpec("candidate_count", "count", Better.NEITHER, "detections of the candidate at the score threshold"),
    FigureSpec(
        "matched_share",
        "share",
        Better.HIGHER,
        "detections of the reference that the candidate has with the same class",
    ),
    FigureSpec("iou_mean", "iou", Better.HIGHER, "mean overlap of pairs of one class"),
    FigureSpec("iou_p5", "iou", Better.HIGHER, "overlap that 95 % of the pairs reach"),
    FigureSpec("iou_min", "iou", Better.HIGHER, "overlap of the worst pair"),
    FigureSpec(
        "corner_shift_p50", "px", Better.LOWER, "how far the farthest corner of a pair moved, half of the pairs at most"
    ),
    FigureSpec("corner_shift_p99", "px", Better.LOWER, "the same, 99 % of the pairs at most"),
    FigureSpec("corner_shift_max", "px", Better.LOWER, "the same, the worst pair"),
    FigureSpec("score_difference_mean", "score", Better.LOWER, "mean absolute difference of the scores of a pair"),
    FigureSpec("score_difference_p99", "score", Better.LOWER, "the same, 99 % of the pairs at most"),
    FigureSpec("score_difference_max", "score", Better.LOWER, "the same, the worst pair"),
    FigureSpec(
        "score_bias", "score", Better.NEITHER, "mean of candidate less reference over all pairs: a shift to one side"
    ),
    FigureSpec(
        "class_flip_share", "share", Better.LOWER, "detections of the reference that the candidate gives another class"
    ),
    FigureSpec(
        "missed_share", "share", Better.LOWER, "detections of the reference without a partner, borderline ones apart"
    ),
    FigureSpec(
        "extra_share",
        "share",
        Better.LOWER,
        "detections of the candidate without a partner, borderline and duplicates apart",
    ),
    FigureSpec(
        "duplicate_share",
        "share",
        Better.LOWER,
        "detections of the candidate on an object that has its partner already",
    ),
    FigureSpec("borderline_share", "share", Better.LOWER, "detections without a partner that lie close to a threshold"),
    FigureSpec(
        "absent_class_count", "count", Better.LOWER, "detections of a class that the reference shows in no image"
    ),
    FigureSpec(
        "lost_class_count",
        "count",
        Better.LOWER,
        "classes of which three detections or more of the reference are gone and the candidate has none",
    ),
    FigureSpec(
        "one_sided_image_count",
        "count",
        Better.LOWER,
        "images in which one side shows three detections or more, and the other nothing there at any score",
    ),
    FigureSpec(
        "score_value_count",
        "count",
        Better.NEITHER,
        "different scores that the candidate gives to pairs, where the reference's differ by 0.125 or more",
    ),
    FigureSpec("score_rank_correlation", "correlation", Better.HIGHER, "Spearman's, over the scores of all pairs"),
    FigureSpec("f1", "share", Better.HIGHER, "twice the pairs of one class over the detections of both sides"),
    FigureSpec("empty_image_count", "count", Better.NEITHER, "images in which neither side shows anything"),
    FigureSpec("ap", "ap", Better.HIGHER, "COCO average precision against the reference's detections, IoU .50 to .95"),
    FigureSpec("ap50", "ap", Better.HIGHER, "the same at IoU .50"),
    FigureSpec("ap75", "ap", Better.HIGHER, "the same at IoU .75"),
    FigureSpec("tide_localization", "count", Better.LOWER, "right class, box too far off (IoU .1 to .5)"),
    FigureSpec("tide_classification", "count", Better.LOWER, "right box, wrong class"),
    FigureSpec("tide_both", "count", Better.LOWER, "neither box nor class right"),
    FigureSpec("tide_duplicate", "count", Better.LOWER, "on an object that a stronger detection has"),
    FigureSpec("tide_background", "count", Better.LOWER, "on nothing"),
    FigureSpec("tide_missed", "count", Better.LOWER, "objects of the reference that nothing comes near"),
    FigureSpec(
        "true_ap_reference", "ap", Better.NEITHER, "COCO average precision of the reference against annotations"
    ),
    FigureSpec("true_ap_candidate", "ap", Better.HIGHER, "the same of the candidate"),
    FigureSpec("true_ap_drop", "ap", Better.LOWER, "reference less candidate"),
    FigureSpec("true_ap_drop_low", "ap", Better.LOWER, "lower end of the drop's 95 % interval over images"),
    FigureSpec("true_ap_drop_high", "ap", Better.LOWER, "upper end of it"),
    FigureSpec(
        "true_ap50_reference", "ap", Better.NEITHER, "average precision at IoU .50 of the reference against annotations"
    ),
    FigureSpec("true_ap50_candidate", "ap", Better.HIGHER, "the same of the candidate"),
    FigureSpec("true_ap50_drop", "ap", Better.LOWER, "reference less candidate"),
    FigureSpec("mask_iou_mean", "iou", Better.HIGHER, "mean overlap of the masks of pairs of one class"),
    FigureSpec("mask_iou_min", "iou", Better.HIGHER, "the same, the worst pair"),
    FigureSpec("oks_mean", "oks", Better.HIGHER, "mean similarity of the keypoints of pairs of one class"),
    FigureSpec("oks_min", "oks", Better.HIGHER, "the same, the worst pair"),
)

_CLASSIFICATION = (
    _IMAGES,
    FigureSpec("top1_agreement", "share", Better.HIGHER, "images with the same best class"),
    FigureSpec(
        "top5_agreement",
        "share",
        Better.HIGHER,
        "mean share of the reference's five best classes that the candidate has too",
    ),
    FigureSpec(
        "flip_share", "share", Better.LOWER, "images whose best class changed although the reference was sure of it"
    ),
    FigureSpec(
        "small_margin_flip_share",
        "share",
        Better.LOWER,
        "images whose best class changed where the reference was not sure",
    ),
    FigureSpec("small_margin_share", "share", Better.NEITHER, "images in which the reference is not sure"),
    FigureSpec(
        "margin_p5", "score", Better.NEITHER, "best less second score that 95 % of the reference's images reach"
    ),
    FigureSpec(
        "score_difference_mean",
        "score",
        Better.LOWER,
        "mean over images of how far the score that moved the most moved",
    ),
    FigureSpec("score_difference_p99", "score", Better.LOWER, "the same, 99 % of the images at most"),
    FigureSpec("score_difference_max", "score", Better.LOWER, "the same, the worst image"),
    FigureSpec(
        "score_bias",
        "score",
        Better.NEITHER,
        "mean of candidate less reference, of the reference's best class: a shift to one side",
    ),
    FigureSpec("accuracy_reference", "share", Better.NEITHER, "images that the reference has right, by annotations"),
    FigureSpec("accuracy_candidate", "share", Better.HIGHER, "images that the candidate has right"),
    FigureSpec("accuracy_drop", "share", Better.LOWER, "reference less candidate"),
    FigureSpec("accuracy_drop_low", "share", Better.LOWER, "lower end of the drop's 95 % interval over images"),
    FigureSpec("accuracy_drop_high", "share", Better.LOWER, "upper end of it"),
)

_LANES = (
    _IMAGES,
    FigureSpec("reference_point_count", "count", Better.NEITHER, "points of the reference"),
    FigureSpec("candidate_point_count", "count", Better.NEITHER, "points of the candidate"),
    FigureSpec(
        "point_agreement", "share", Better.HIGHER, "anchors of lanes where both sides have a point or both have none"
    ),
    FigureSpec("missed_point_share", "share", Better.LOWER, "points of the reference that the candidate lacks"),
    FigureSpec("extra_point_share", "share", Better.LOWER, "points of the candidate that the reference lacks"),
    FigureSpec("point_shift_p50", "px", Better.LOWER, "how far a point moved, half of the common points at most"),
    FigureSpec("point_shift_p99", "px", Better.LOWER, "the same, 99 % of the points at most"),
    FigureSpec("point_shift_max", "px", Better.LOWER, "the same, the worst point"),
    FigureSpec("lane_agreement", "share", Better.HIGHER, "lanes of either side that both sides have"),
    FigureSpec(
        "one_sided_image_count",
        "count",
        Better.LOWER,
        "images in which one side has two lanes or more, and the other none",
    ),
    FigureSpec("attribute_agreement", "share", Better.HIGHER, "equal attributes of lanes that both sides have"),
)

_SEGMENTATION = (
    _IMAGES,
    FigureSpec("pixel_agreement", "share", Better.HIGHER, "pixels of the same class"),
    FigureSpec(
        "class_iou_mean",
        "iou",
        Better.HIGHER,
        "mean overlap of a class's pixels, over all classes that either side has",
    ),
    FigureSpec("class_iou_min", "iou", Better.HIGHER, "the same, the worst class"),
    FigureSpec(
        "lost_class_count",
        "count",
        Better.LOWER,
        "classes of a thousandth of the pixels or more of which none is left in its place",
    ),
    FigureSpec(
        "boundary_flip_share", "share", Better.LOWER, "pixels whose class changed where the reference was not sure"
    ),
    FigureSpec("flip_share", "share", Better.LOWER, "pixels whose class changed although the reference was sure of it"),
)

FIGURES: dict[Task, tuple[FigureSpec, ...]] = {
    Task.DETECTION: _DETECTION,
    Task.CLASSIFICATION: _CLASSIFICATION,
    Task.LANES: _LANES,
    Task.SEGMENTATION: _SEGMENTATION,
}
"""All figures of each task, in the order in which they are shown."""

SPECS = {spec.name: spec for specs in FIGURES.values() for spec in specs}
"""Each figure by its name; one that several tasks have has one unit and one direction in all of them."""


def figures_of(task: Task, values: Mapping[str, float | None]) -> tuple[Figure, ...]:
    """Return all figures of a task, in order; those without a value are there without one.

    Raises
    ------
    KeyError
        A value has a name that is none of the task's figures.
    """
    left = dict(values)
    figures = tuple(Figure(spec.name, _plain(left.pop(spec.name, None)), spec.unit) for spec in FIGURES[task])
    if left:
        raise KeyError(f"no figures of {task}: {', '.join(left)}")
    return figures


def _plain(value: float | np.integer[Any] | np.floating[Any] | None) -> float | None:
    """Return a figure as a number of Python's: JSON takes none of NumPy's."""
    return value.item() if isinstance(value, (np.integer, np.floating)) else value
