"""Scenes for detectors that differ, measured and judged by the gates that stand by default."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from parity.decoded import Detections, Task
from parity.detect.detection import DetectionAgreement, DetectionOptions
from parity.detect.gates import default_gates, judge_figures
from parity.detect.protocol import ImageKey
from parity.tolerance import Precision
from parity.verdict import Verdict

NAMES = ("car", "truck", "dog", "cat")
OPTIONS = DetectionOptions(class_names=NAMES)
SIZE = 640
NOTHING = Detections(np.empty((0, 4)), np.empty(0), np.empty(0, np.int64))


def scene(rng, count=30, classes=2):
    """Return boxes on a grid, so that none touches another, with scores from 0.4 to 0.99."""
    cells = rng.permutation(64)[:count]
    near = np.stack([cells % 8, cells // 8], axis=1) * 80.0 + rng.uniform(0, 10, (count, 2))
    boxes = np.hstack([near, near + rng.uniform(30, 60, (count, 2))])
    return Detections(boxes, np.sort(rng.uniform(0.4, 0.99, count))[::-1], rng.integers(0, classes, count))


REFERENCE = tuple(scene(np.random.default_rng(seed)) for seed in range(20))
CLEAR = Detections(
    np.array([[12.0, 30.5, 80.2, 99.9], [100, 100, 140, 160], [300, 300, 400, 360]]),
    np.array([0.83, 0.8, 0.91]),
    np.array([0, 0, 1]),
)


def measure(reference, candidate, truths=None, **options):
    agreement = DetectionAgreement(replace(OPTIONS, **options))
    for number, sides in enumerate(zip(reference, candidate, truths or [None] * len(reference), strict=True)):
        agreement.update(ImageKey(f"street_{number}.png", number, 0, SIZE, SIZE), *sides)
    return agreement.result()


def values(measured):
    return {figure.name: figure.value for figure in measured.figures}


def failing(measured, precision=Precision.INT8):
    judged = judge_figures(measured.figures, default_gates(Task.DETECTION, precision))
    return {one.figure.name for one in judged if one.verdict not in (None, Verdict.PASS)}


def changed(change):
    return [change(side) for side in REFERENCE]


def with_scores(side, scores):
    return replace(side, scores=scores)


def appended(side, other):
    return Detections(
        *(np.concatenate([getattr(side, name), getattr(other, name)]) for name in ("boxes", "scores", "classes"))
    )


def put(array, index, value):
    copy = array.copy()
    copy[index] = value
    return copy
