"""Which detection of one side is which of the other.

Boxes are paired where that makes the sum of all IoUs largest, not greedily by score: so the pairs do not depend on the
order of the scores, which may itself be what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.detect.overlap import overlaps
from parity.detect.turned import turned_overlaps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parity.decoded import Detections

    Booleans = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

# What share of its IoU a pair loses for a score difference of 1: of boxes that overlap equally, the one with the nearer
# score is the partner. A difference in IoU that anyone could see outweighs it.
_SCORE_WEIGHT = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The detections of both sides of one image, paired.

    Attributes
    ----------
    reference, candidate
        (p,) int64, the rows of each pair; pairs of one class first.
    ious
        (p,) float64, at least the IoU asked for.
    is_flip
        (p,) bool: paired although the classes differ, after all pairs of one class.
    missed
        (m,) rows of the reference without a partner.
    extra
        (e,) rows of the candidate without a partner.
    duplicate_of
        (e,) of each ``extra`` the row of the reference of its class on which it lies, which has its partner already; -1
        where it lies on none.
    """

    reference: Integers
    candidate: Integers
    ious: Floats
    is_flip: Booleans
    missed: Integers
    extra: Integers
    duplicate_of: Integers


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """Pairs of rows of two sides, with the IoU of each: three arrays of one length."""

    reference: Integers
    candidate: Integers
    ious: Floats

    def take(self, rows: Booleans | Integers) -> Overlaps:
        """Return some of the pairs."""
        return Overlaps(self.reference[rows], self.candidate[rows], self.ious[rows])


def match(reference: Detections, candidate: Detections, *, iou: float) -> Matches:
    """Pair the detections of both sides of one image.

    Detections of one class are paired first, then what is left of whatever class. Two detections are a pair only from
    ``iou`` on; among such pairs the sum of the IoUs is the largest there is. With corners on both sides the turned
    boxes are compared, else the upright ones.

    Parameters
    ----------
    iou
        The IoU from which two boxes can be a pair; boxes that do not overlap are none, whatever it is.
    """
    scores = reference.scores, candidate.scores
    near = find_overlaps(reference, candidate, reference.classes[:, None] == candidate.classes[None, :], iou)
    same = _assign(near, *scores)
    missed, extra = _others(len(reference), same.reference), _others(len(candidate), same.candidate)
    is_left = np.zeros((len(reference), len(candidate)), np.bool_)
    is_left[np.ix_(missed, extra)] = True
    flips = _assign(find_overlaps(reference, candidate, is_left, iou), *scores)
    left = np.setdiff1d(extra, flips.candidate, assume_unique=True)
    return Matches(
        reference=np.concatenate([same.reference, flips.reference]),
        candidate=np.concatenate([same.candidate, flips.candidate]),
        ious=np.concatenate([same.ious, flips.ious]),
        is_flip=np.arange(len(same.ious) + len(flips.ious)) >= len(same.ious),
        missed=np.setdiff1d(missed, flips.reference, assume_unique=True),
        extra=left,
        duplicate_of=_duplicates(near, left, len(candidate)),
    )


def find_overlaps(first: Detections, second: Detections, allowed: Booleans, iou: float) -> Overlaps:
    """Return the ``allowed`` pairs, (n, m) bool, that overlap by an IoU of at least ``iou``."""
    one, other = np.nonzero(allowed)
    if not len(one):
        return Overlaps(one, other, np.empty(0))
    found = overlaps(first.boxes[one], second.boxes[other])
    if first.corners is not None and second.corners is not None:
        # The boxes that enclose turned ones may overlap less than what they enclose, but never not at all.
        meet = found > 0
        one, other = one[meet], other[meet]
        found = turned_overlaps(first.corners[one], second.corners[other])
    return Overlaps(one, other, found).take((found >= iou) & (found > 0))


def _assign(pairs: Overlaps, reference_scores: Floats, candidate_scores: Floats) -> Overlaps:
    """Return those of the pairs that share no row and have the largest sum of IoUs."""
    alone = (_times(pairs.reference) == 1) & (_times(pairs.candidate) == 1)
    clear, rest = pairs.take(alone), pairs.take(~alone)
    if not len(rest.ious):
        return clear
    distance = np.abs(reference_scores[rest.reference] - candidate_scores[rest.candidate])
    chosen = rest.take(_largest_sum(rest, rest.ious * (1.0 - _SCORE_WEIGHT * np.minimum(distance, 1.0))))
    return Overlaps(
        np.concatenate([clear.reference, chosen.reference]),
        np.concatenate([clear.candidate, chosen.candidate]),
        np.concatenate([clear.ious, chosen.ious]),
    )


def _largest_sum(pairs: Overlaps, weights: Floats) -> Integers:
    """Return the rows of ``pairs`` that a Hungarian assignment chooses; pairs that are not there weigh nothing."""
    from scipy.optimize import linear_sum_assignment

    rows, row_of = np.unique(pairs.reference, return_inverse=True)
    columns, column_of = np.unique(pairs.candidate, return_inverse=True)
    table = np.zeros((len(rows), len(columns)))
    which = np.full(table.shape, -1)
    table[row_of, column_of] = weights
    which[row_of, column_of] = np.arange(len(weights))
    chosen = which[linear_sum_assignment(table, maximize=True)]
    return np.sort(chosen[chosen >= 0])


def _times(rows: Integers) -> Integers:
    """Return (p,) how often each of ``rows`` is there."""
    return np.bincount(rows)[rows] if len(rows) else rows


def _others(count: int, rows: Integers) -> Integers:
    is_other = np.ones(count, np.bool_)
    is_other[rows] = False
    return np.flatnonzero(is_other)


def _duplicates(near: Overlaps, extra: Integers, count: int) -> Integers:
    """Return (e,) the row of the reference on which each extra lies, -1 for none.

    Whatever an extra could have been paired with in its class has a partner: else they would be a pair.
    """
    lies_on = np.full(count, -1)
    by_overlap = np.argsort(near.ious, kind="stable")
    lies_on[near.candidate[by_overlap]] = near.reference[by_overlap]
    return lies_on[extra]
