"""Gates on the figures of decoded results: names held against the task, limits against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.case.mistakes import expected_one_of, join_path
from parity.case.model import GateRule
from parity.case.regions import matches
from parity.decoded import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parity.case.mistakes import Mistakes
    from parity.case.schema_decode import GateTable

_TRUE_DETECTION = (
    *("true_ap_reference", "true_ap_candidate", "true_ap_drop", "true_ap_drop_low", "true_ap_drop_high"),
    *("true_ap50_reference", "true_ap50_candidate", "true_ap50_drop"),
)
_TRUE_CLASSIFICATION = (
    *("accuracy_reference", "accuracy_candidate"),
    *("accuracy_drop", "accuracy_drop_low", "accuracy_drop_high"),
)
_NEEDS_ANNOTATIONS = frozenset({*_TRUE_DETECTION, *_TRUE_CLASSIFICATION})

FIGURE_NAMES: dict[Task, tuple[str, ...]] = {
    Task.DETECTION: (
        *("image_count", "reference_count", "candidate_count", "matched_share", "iou_mean", "iou_p5", "iou_min"),
        *("corner_shift_p50", "corner_shift_p99", "corner_shift_max"),
        *("score_difference_mean", "score_difference_p99", "score_difference_max", "score_bias"),
        *("class_flip_share", "missed_share", "extra_share", "duplicate_share", "borderline_share"),
        *("absent_class_count", "score_rank_correlation", "f1", "empty_image_count", "ap", "ap50", "ap75"),
        *("tide_localization", "tide_classification", "tide_both", "tide_duplicate", "tide_background", "tide_missed"),
        *_TRUE_DETECTION,
        *("mask_iou_mean", "mask_iou_min", "oks_mean", "oks_min"),
    ),
    Task.CLASSIFICATION: (
        *("image_count", "top1_agreement", "top5_agreement", "flip_share", "small_margin_flip_share"),
        *("small_margin_share", "margin_p5"),
        *("score_difference_mean", "score_difference_p99", "score_difference_max", "score_bias"),
        *_TRUE_CLASSIFICATION,
    ),
    Task.LANES: (
        *("image_count", "reference_point_count", "candidate_point_count", "point_agreement"),
        *("missed_point_share", "extra_point_share", "point_shift_p50", "point_shift_p99", "point_shift_max"),
        *("lane_agreement", "attribute_agreement"),
    ),
    Task.SEGMENTATION: (
        *("image_count", "pixel_agreement", "class_iou_mean", "class_iou_min", "boundary_flip_share", "flip_share"),
    ),
}
"""The figures that a gate can stand on, by task."""


def build_gates(
    tables: Sequence[GateTable | None],
    task: Task | None,
    variant_names: Sequence[str],
    mistakes: Mistakes,
    *,
    has_annotations: bool,
) -> tuple[GateRule, ...]:
    """Return the gates in the file's order.

    Parameters
    ----------
    tables
        None stands for one that is no table at all.
    task
        None where ``[decode]`` does not show it; then figures are not looked up.
    variant_names
        The names in the file, those of variants with mistakes included.
    """
    rules = []
    for index, table in enumerate(tables):
        if table is None:
            continue
        path = join_path("gates", index)
        if not any(matches(name, table.variant) for name in variant_names):
            mistakes.add(f"{path}.variant", expected_one_of(table.variant, variant_names))
        _check_limits(path, table, mistakes)
        if table.figure is not None and task is not None:
            _check_figure(f"{path}.figure", table.figure, task, mistakes, has_annotations=has_annotations)
        rules.append(GateRule(table.variant, table.figure or "", table.min, table.max, table.reason or ""))
    return tuple(rules)


def _check_limits(path: str, table: GateTable, mistakes: Mistakes) -> None:
    if table.min is None and table.max is None:
        if not any(mistakes.has(f"{path}.{key}") for key in ("min", "max")):
            mistakes.add(path, "expected min, max or both; a gate without a limit lets everything through")
    elif table.min is not None and table.max is not None and table.min > table.max:
        mistakes.add(f"{path}.min", f"expected at most max, {table.max:g}; got {table.min:g}")


def _check_figure(path: str, figure: str, task: Task, mistakes: Mistakes, *, has_annotations: bool) -> None:
    if figure not in FIGURE_NAMES[task]:
        mistakes.add(path, expected_one_of(figure, FIGURE_NAMES[task]))
    elif figure in _NEEDS_ANNOTATIONS and not has_annotations:
        mistakes.add(path, f"{figure} is measured against what is really in the images; add [annotations]")
