"""The ``decoded`` check in one line: what both sides have in common, in words of the task."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from parity.decoded import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parity.detect.protocol import Measured

    Values = Mapping[str, float]


def summary(task: Task, measured: Measured) -> str:
    """Return one line on what both sides say, such as ``3 of 512 detections missed, 1 class flip, AP50 0.994``."""
    values = {figure.name: figure.value for figure in measured.figures if figure.value is not None}
    return ", ".join(_PARTS[task](values, finding_kinds(measured)))


def finding_kinds(measured: Measured) -> dict[str, int]:
    """Return how many findings there are of each kind."""
    return dict(measured.finding_counts or Counter(finding.kind for finding in measured.findings))


def _detection_parts(values: Values, kinds: Mapping[str, int]) -> list[str]:
    count = int(values.get("reference_count", 0))
    parts = [f"{kinds.get('missed', 0)} of {many(count, 'detection')} missed"]
    parts += [f"{kinds[kind]} {kind}" for kind in ("extra", "duplicate") if kinds.get(kind)]
    if flips := kinds.get("class flip"):
        parts.append(many(flips, "class flip"))
    return [*parts, *_shown(values, (("ap50", "AP50 {:.3f}"), ("corner_shift_max", "worst shift {:.2g} px")))]


def _classification_parts(values: Values, kinds: Mapping[str, int]) -> list[str]:
    flips = kinds.get("top-1 flip", 0)
    top1 = [f"{many(flips, 'top-1 flip')} in {many(int(values.get('image_count', 0)), 'image')}"]
    forms = (("top5_agreement", "top 5 agree on {:.2%}"), ("score_difference_max", "worst score difference {:.2g}"))
    return [*top1, *_shown(values, forms)]


def _lane_parts(values: Values, _kinds: Mapping[str, int]) -> list[str]:
    forms = (
        ("point_agreement", "points agree on {:.2%}"),
        ("point_shift_max", "worst shift {:.2g} px"),
        ("attribute_agreement", "attributes agree on {:.2%}"),
    )
    return _shown(values, forms) or ["no lane point was compared"]


def _segmentation_parts(values: Values, _kinds: Mapping[str, int]) -> list[str]:
    forms = (("pixel_agreement", "pixels agree on {:.2%}"), ("class_iou_min", "worst class IoU {:.3f}"))
    return _shown(values, forms) or ["no pixel was compared"]


def _shown(values: Values, forms: tuple[tuple[str, str], ...]) -> list[str]:
    return [form.format(values[name]) for name, form in forms if name in values]


def many(count: int, thing: str) -> str:
    """Return a count with its thing, ``1 class flip`` or ``3 class flips``."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


_PARTS = {
    Task.DETECTION: _detection_parts,
    Task.CLASSIFICATION: _classification_parts,
    Task.LANES: _lane_parts,
    Task.SEGMENTATION: _segmentation_parts,
}
