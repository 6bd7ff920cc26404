"""A decoder in plain Python, one number at a time, from the families' published formulas: the oracle of ours."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    box: tuple[float, float, float, float]
    score: float
    label: int


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def corners(cx: float, cy: float, w: float, h: float) -> tuple[float, float, float, float]:
    return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2


def best(box: tuple[float, float, float, float], scores: list[float]) -> Found:
    label = max(range(len(scores)), key=lambda number: (scores[number], -number))
    return Found(box, scores[label], label)


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


def thin_out(found: list[Found], threshold: float, *, agnostic: bool = False) -> list[Found]:
    kept: list[Found] = []
    for one in sorted(found, key=lambda each: -each.score):
        rivals = [other for other in kept if agnostic or other.label == one.label]
        if all(iou(one.box, other.box) <= threshold for other in rivals):
            kept.append(one)
    return kept


def to_image(found: list[Found], geometry, lowest: float) -> list[Found]:
    """Map what is good enough back to the image, and clip it there."""
    far = (geometry.original_width, geometry.original_height) * 2
    offset, scale = (geometry.left, geometry.top) * 2, (geometry.scale_x, geometry.scale_y) * 2
    shown = []
    for one in found:
        numbers = zip(one.box, offset, scale, far, strict=True)
        box = tuple(min(max((x - o) / s, 0.0), float(f)) for x, o, s, f in numbers)
        if one.score >= lowest and box[2] > box[0] and box[3] > box[1]:
            shown.append(Found(box, one.score, one.label))
    return shown
