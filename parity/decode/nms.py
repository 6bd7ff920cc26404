"""Greedy non-maximum suppression, the same for all families.

Not OpenCV's: it compares every candidate with every kept box, and cannot stop at the strongest few (4 s against 0.03 s
for 30,000 candidates of which 300 are wanted), separates classes by shifting boxes, and drops boxes without an area.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from parity.decode.overlap import intersection_over_union, probabilistic_overlap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from parity.decode.settings import NmsSettings
    from parity.decoded import Floats, Integers

Overlap = Callable[["Floats", "Floats"], "Floats"]
"""How far one box, (k,), and others, (k, n), overlap: (n,), 0 to 1."""


def suppress(boxes: ArrayLike, scores: ArrayLike, classes: ArrayLike, settings: NmsSettings) -> Integers:
    """Return which boxes stay where the weaker of two that overlap by more than ``nms_iou`` goes.

    Only kept boxes drop others. An overlap of exactly ``nms_iou`` is allowed. Of equal scores the earlier row counts as
    the stronger one.

    Parameters
    ----------
    boxes
        (n, 4), x1 y1 x2 y2, finite and not inverted.
    scores
        (n,), none of them NaN.
    classes
        (n,) integers; boxes of different classes leave each other alone unless ``class_agnostic``.

    Returns
    -------
    Row numbers, best first; at most ``max_detections``, of the best ``max_candidates`` rows.
    """
    return _thin_out(boxes, scores, classes, settings, intersection_over_union, chained=False)


def suppress_rotated(boxes: ArrayLike, scores: ArrayLike, classes: ArrayLike, settings: NmsSettings) -> Integers:
    """Return which turned boxes stay, by ProbIoU, as Ultralytics thins them out.

    As ``suppress``, but boxes are (n, 5), cx cy w h angle in radians, and a dropped box still drops weaker ones, so
    that fewer stay along a chain of boxes each of which overlaps the next.
    """
    return _thin_out(boxes, scores, classes, settings, probabilistic_overlap, chained=True)


def rank(scores: ArrayLike) -> Integers:
    """Return row numbers, best score first; of equal scores the earlier row first."""
    return np.argsort(-np.asarray(scores), kind="stable")


def _thin_out(
    boxes: ArrayLike,
    scores: ArrayLike,
    classes: ArrayLike,
    settings: NmsSettings,
    overlap: Overlap,
    *,
    chained: bool,
) -> Integers:
    order = rank(scores)[: settings.max_candidates]
    groups = np.asarray(classes, np.int64)[order] * (not settings.class_agnostic)
    # Boxes of a group side by side, best first: the rivals of each are a slice, and nothing is gathered in the loop.
    together = np.argsort(groups, kind="stable")
    columns = np.ascontiguousarray(np.asarray(boxes, np.float64)[order[together]].T)
    ends = np.searchsorted(groups[together], groups[together], side="right").tolist()
    alive = np.ones(len(order), np.bool_)
    kept: list[int] = []
    for place in np.argsort(together).tolist():
        if len(kept) == settings.max_detections:
            break
        if alive[place]:
            kept.append(place)
        elif not chained:
            continue
        if place + 1 < ends[place]:
            weaker = slice(place + 1, ends[place])
            alive[weaker] &= overlap(columns[:, place], columns[:, weaker]) <= settings.nms_iou
    return order[together[kept]]
