"""What kind of error each wrong detection is, in the terms of TIDE (Bolya et al., 2020; tidecv 1.0.1).

At an IoU of .5 a detection of the right class is right, under .1 it has nothing to do with an object. Detections in a
crowd are no errors here; tidecv counts them although its own AP leaves them out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.detect.ap_images import flatten
from parity.detect.greedy import match_greedily, overlapping_pairs
from parity.detect.overlap import common_pairs, overlaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from parity.detect.ap_images import ApImage, FlatImages
    from parity.detect.greedy import Pairs

    Booleans = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

FOREGROUND_IOU = 0.5
BACKGROUND_IOU = 0.1


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """How many errors of each kind there are; a detection is of the first kind that fits, in the order below.

    Attributes
    ----------
    localization
        Of the right class, an IoU of .1 to .5.
    classification
        An IoU of .5 or more with an object of another class, none with one of its own.
    duplicate
        On an object that a stronger detection has already found.
    background
        An IoU of at most .1 with anything.
    both
        Neither the class nor the box is right.
    missed
        Objects that no detection found, nor would find with a better box or class.
    """

    localization: int
    classification: int
    both: int
    duplicate: int
    background: int
    missed: int


@dataclass(frozen=True, slots=True, eq=False)
class _Best:
    """The largest IoU of each detection with some objects: (n,), 0 where there is none, and which, -1 for none."""

    ious: Floats
    truths: Integers


def count_errors(images: Sequence[ApImage]) -> ErrorCounts:
    """Count the errors of detections against the truth, by kind.

    Raises
    ------
    StructureError
        Arrays of an image are not of one length.
    """
    flat = flatten(images)
    pairs = overlapping_pairs(flat, np.arange(len(flat.scores)), FOREGROUND_IOU)
    matched = _match(flat, pairs)
    in_crowd = np.zeros(len(flat.scores), np.bool_)
    in_crowd[pairs.rows[flat.truth_is_crowd[pairs.truths]]] = True
    used = np.zeros(len(flat.truth_classes), np.bool_)
    used[matched[matched >= 0]] = True
    wrong = np.flatnonzero((matched < 0) & ~in_crowd)
    own, other = _nearest(flat, wrong)
    localization = (own.ious >= BACKGROUND_IOU) & (own.ious <= FOREGROUND_IOU)
    classification = ~localization & (other.ious >= FOREGROUND_IOU)
    rest = ~localization & ~classification
    # Nothing takes a detection of IoU .5 or more from an object of its class but a stronger one.
    duplicate = rest & (own.ious >= FOREGROUND_IOU)
    background = rest & ~duplicate & (np.maximum(own.ious, other.ious) <= BACKGROUND_IOU)
    mendable = np.concatenate([own.truths[localization], other.truths[classification]])
    missed = ~used & ~flat.truth_is_crowd
    missed[mendable] = False
    return ErrorCounts(
        localization=int(localization.sum()),
        classification=int(classification.sum()),
        both=int((rest & ~duplicate & ~background).sum()),
        duplicate=int(duplicate.sum()),
        background=int(background.sum()),
        missed=int(missed.sum()),
    )


def _match(flat: FlatImages, pairs: Pairs) -> Integers:
    """Return (n,) the object that each detection found, -1 for none; crowds are none."""
    pairs = pairs.take(~flat.truth_is_crowd[pairs.truths])
    none_ignored = np.zeros(len(flat.truth_classes), np.bool_)
    thresholds = np.array([FOREGROUND_IOU])
    return match_greedily(flat, pairs, thresholds, ignored=none_ignored, last_of_equals=False)[:, 0]


def _nearest(flat: FlatImages, rows: Integers) -> tuple[_Best, _Best]:
    """Return the best object of the own class and the best one of another class, for the detections ``rows``."""
    own = _Best(np.zeros(len(rows)), np.full(len(rows), -1))
    other = _Best(np.zeros(len(rows)), np.full(len(rows), -1))
    single = np.flatnonzero(~flat.truth_is_crowd)
    # Images of truth ascend, so that no order has to be made.
    for first, second in common_pairs(flat.images[rows], flat.truth_images[single]):
        truths = single[second]
        ious = overlaps(flat.boxes[rows[first]], flat.truth_boxes[truths])
        same = flat.classes[rows[first]] == flat.truth_classes[truths]
        _enter(own, first, truths, np.where(same, ious, 0.0))
        _enter(other, first, truths, np.where(same, 0.0, ious))
    return own, other


def _enter(best: _Best, rows: Integers, truths: Integers, ious: Floats) -> None:
    """Write the largest IoU of each of ``rows``, and the first truth that has it; equal rows stand together."""
    firsts = np.flatnonzero(np.diff(rows, prepend=-1))
    if not len(firsts):
        return
    largest = np.maximum.reduceat(ious, firsts)
    lengths = np.diff(firsts, append=len(rows))
    places = np.where(ious == np.repeat(largest, lengths), np.arange(len(rows)), len(rows))
    best.ious[rows[firsts]] = largest
    best.truths[rows[firsts]] = truths[np.minimum.reduceat(places, firsts)]
