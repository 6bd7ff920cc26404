"""Greedy matching of detections to truth, as COCO defines it, of all images and thresholds together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.detect.overlap import common_pairs, overlaps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from parity.detect.ap_images import FlatImages

    Booleans = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Detections and truth of one image and class that overlap enough.

    Attributes
    ----------
    rows, truths
        (p,) row of the detection and of the truth.
    ious
        (p,) float64; of crowds, on the detection's area.
    """

    rows: Integers
    truths: Integers
    ious: Floats

    def take(self, rows: Booleans) -> Pairs:
        """Return some of the pairs."""
        return Pairs(self.rows[rows], self.truths[rows], self.ious[rows])


def overlapping_pairs(flat: FlatImages, rows: Integers, minimum: float) -> Pairs:
    """Return the pairs of one image and class whose IoU is at least ``minimum``; detections ``rows`` only."""
    classes = max(len(flat.class_ids), 1)
    truth_groups = flat.truth_images * classes + flat.truth_classes
    by_group = np.argsort(truth_groups, kind="stable")
    found: list[tuple[Integers, Integers, Floats]] = []
    for first, second in common_pairs((flat.images * classes + flat.classes)[rows], truth_groups[by_group]):
        detections, truths = rows[first], by_group[second]
        ious = overlaps(flat.boxes[detections], flat.truth_boxes[truths], flat.truth_is_crowd[truths])
        enough = ious >= minimum
        found.append((detections[enough], truths[enough], ious[enough]))
    if not found:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    return Pairs(*(np.concatenate(column) for column in zip(*found, strict=True)))


def match_greedily(
    flat: FlatImages, pairs: Pairs, thresholds: Floats, *, ignored: Booleans, last_of_equals: bool
) -> Integers:
    """Give each detection, the highest score of its image and class first, the best truth that is left.

    Parameters
    ----------
    pairs
        All pairs that reach the lowest threshold.
    thresholds
        (t,) the IoU from which a pair counts; each is a matching of its own.
    ignored
        (m,) truth that a detection takes only where no other is left for it. A crowd can be taken again and again.
    last_of_equals
        Whether of truths that overlap equally the last one is better, as in pycocotools, or the first, as in TIDE.

    Returns
    -------
    (n, t) the row of the truth that each detection got, -1 for none.
    """
    matched = np.full((len(flat.scores), len(thresholds)), -1, np.int64)
    alone = (_times(pairs.rows) == 1) & (_times(pairs.truths) == 1)
    clear, contested = pairs.take(alone), pairs.take(~alone)
    matched[clear.rows] = np.where(clear.ious[:, None] >= thresholds, clear.truths[:, None], -1)
    taken = np.zeros((len(flat.truth_classes), len(thresholds)), np.bool_)
    for rows, truths, ious in _rounds(flat, contested, ignored, last_of_equals=last_of_equals):
        allowed = (ious[:, None] >= thresholds) & ~taken[truths]
        firsts = np.flatnonzero(np.diff(rows, prepend=-1))
        order = np.where(allowed, np.arange(len(rows))[:, None], len(rows))
        best = np.minimum.reduceat(order, firsts, axis=0)
        which, threshold = np.nonzero(best < len(rows))
        got = truths[best[which, threshold]]
        matched[rows[firsts[which]], threshold] = got
        taken[got, threshold] = ~flat.truth_is_crowd[got]
    return matched


def _rounds(
    flat: FlatImages, pairs: Pairs, ignored: Booleans, *, last_of_equals: bool
) -> Iterator[tuple[Integers, Integers, Floats]]:
    """Yield the pairs of the first detections of all images and classes, of the second ones, and so on.

    Detections of one round compete for no truth. Pairs of a detection come together, the best one first.
    """
    turns = _turns(flat, pairs.rows)[pairs.rows]
    equals = -pairs.truths if last_of_equals else pairs.truths
    order = np.lexsort((equals, -pairs.ious, ignored[pairs.truths], pairs.rows, turns))
    ends = np.flatnonzero(np.diff(turns[order], append=-1)) + 1
    begin = 0
    for end in ends.tolist():
        part = order[begin:end]
        yield pairs.rows[part], pairs.truths[part], pairs.ious[part]
        begin = end


def _times(rows: Integers) -> Integers:
    """Return (p,) how often each of ``rows`` is there."""
    return np.bincount(rows)[rows]


def _turns(flat: FlatImages, rows: Integers) -> Integers:
    """Return (n,) when it is each detection's turn in its image and class, of those among ``rows``."""
    is_competing = np.zeros(len(flat.scores), np.bool_)
    is_competing[rows] = True
    competing = np.flatnonzero(is_competing)
    turns = np.zeros(len(flat.scores), np.int64)
    turns[competing] = rank_in_group(flat, competing)
    return turns


def rank_in_group(flat: FlatImages, rows: Integers) -> Integers:
    """Return how many of ``rows`` in the same image and class come before each, by score and then by order."""
    order = np.lexsort((-flat.scores[rows], flat.classes[rows], flat.images[rows]))
    groups = (flat.images * max(len(flat.class_ids), 1) + flat.classes)[rows][order]
    ranks = np.empty(len(rows), np.int64)
    ranks[order] = np.arange(len(rows)) - np.searchsorted(groups, groups, "left")
    return ranks
