"""Detections of raw outputs, and their average precision against drawn boxes: for the figures of trainings only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = np.ndarray[Any, Any]
_MIN_SCORE = 0.01
_MAX_OVERLAP = 0.7
_RECALLS = np.linspace(0, 1, 101)
_THRESHOLDS = np.arange(10) * 0.05 + 0.5


@dataclass(frozen=True, slots=True)
class Objects:
    """Boxes of one image: (n, 4) left, top, right, bottom; classes (n,); scores (n,), 1 for truth."""

    boxes: Array
    labels: Array
    scores: Array


def detections(output: Array) -> Objects:
    """Return what one image's output in YOLOv8's layout, (4 + classes, places), shows after class-wise suppression."""
    labels = output[4:].argmax(axis=0)
    scores = output[4:].max(axis=0)
    order = np.argsort(-scores, kind="stable")[: int((scores > _MIN_SCORE).sum())][:300]
    centre, half = output[:2, order].T, output[2:4, order].T / 2
    boxes, labels, scores = np.concatenate([centre - half, centre + half], axis=1), labels[order], scores[order]
    clash = (overlaps(boxes, boxes) > _MAX_OVERLAP) & (labels[:, None] == labels)
    kept: list[int] = []
    for index in range(len(order)):
        if not clash[index, kept].any():
            kept.append(index)
    return Objects(boxes[kept], labels[kept], scores[kept])


def overlaps(one: Array, other: Array) -> Array:
    """Return intersection over union of boxes (n, 4) and (m, 4), (n, m)."""
    start, end = np.maximum(one[:, None, :2], other[:, :2]), np.minimum(one[:, None, 2:], other[:, 2:])
    shared = (end - start).clip(min=0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (one, other)]
    return shared / (areas[0][:, None] + areas[1] - shared + 1e-9)


def unpadded(boxes: Array, labels: Array) -> list[Objects]:
    """Return the truth of each image of boxes (N, m, 4) and classes (N, m), where class -1 is padding."""
    drawn = labels >= 0
    return [Objects(b[d], c[d], np.ones(d.sum())) for b, c, d in zip(boxes, labels, drawn, strict=True)]


def precision_table(found: list[Objects], real: list[Objects], classes: Sequence[str]) -> dict[str, float]:
    """Return average precision by class at IoU 0.5, its mean, and the mean over IoU 0.5 to 0.95."""
    table = [[average_precision(found, real, label, iou) for label in range(len(classes))] for iou in _THRESHOLDS]
    by_class = {f"ap50_{name}": value for name, value in zip(classes, table[0], strict=True)}
    return {"map50": float(np.mean(table[0])), "map50_95": float(np.mean(table))} | by_class


def average_precision(found: list[Objects], truth: list[Objects], label: int, threshold: float) -> float:
    """Return one class's average precision at one IoU, interpolated at 101 recalls as COCO does."""
    scores, hits, total = [], [], 0
    for seen, real in zip(found, truth, strict=True):
        chosen, wanted = seen.labels == label, real.boxes[real.labels == label]
        total += len(wanted)
        scores.append(seen.scores[chosen])
        hits.append(_hits(seen.boxes[chosen], wanted, threshold))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    true = np.concatenate(hits)[order].cumsum()
    recall, precision = true / max(total, 1), true / np.arange(1, len(true) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.append(envelope, 0.0)[reached].mean())


def _hits(boxes: Array, wanted: Array, threshold: float) -> Array:
    """Return which of `boxes`, best score first, is the first to find one of `wanted`, (n,) bool."""
    free = np.ones(len(wanted), bool)
    hits = np.zeros(len(boxes), bool)
    shared = overlaps(boxes, wanted)
    for index in np.flatnonzero((shared >= threshold).any(axis=1)):
        candidates = np.where(free, shared[index], 0.0)
        if candidates.max() >= threshold:
            hits[index] = True
            free[candidates.argmax()] = False
    return hits
