"""What both sides say of one image of boxes: pairs, and of what has no partner all that is needed to judge it later."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from parity.detect.matching import find_overlaps, match
from parity.detect.parts import keypoint_similarities, mask_overlaps
from parity.detect.turned import turned_shifts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parity.decoded import Detections
    from parity.detect.matching import Matches

    Booleans = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ToldLimits:
    """From where on the difference of a pair is told as a finding.

    Attributes
    ----------
    iou
        The IoU under which a pair is told as moved.
    score_step
        The score difference above which a pair is told.
    shift
        Pixels of the farthest corner above which a pair is told as moved, whatever its IoU.
    """

    iou: float = 0.99
    score_step: float = 0.01
    shift: float = math.inf


@dataclass(frozen=True, slots=True)
class DetectionOptions:
    """How the agreement of detections is measured.

    Attributes
    ----------
    score_threshold
        The score from which a detection is shown, 0 to 1.
    match_iou
        The IoU from which two boxes can be a pair, 0 to 1.
    nms_iou
        The IoU above which non-maximum suppression dropped the weaker box; None where there was none, or it is not
        known.
    class_agnostic
        Whether boxes of different classes dropped each other.
    borderline_cap
        The most that a score, or an IoU, may lie beside its threshold to count as borderline.
    class_names
        May be empty: then classes are told by their numbers.
    max_findings
        How many findings are kept, the worst ones.
    told
        From where on differences of pairs are findings.
    """

    score_threshold: float = 0.25
    match_iou: float = 0.5
    nms_iou: float | None = None
    class_agnostic: bool = False
    borderline_cap: float = 0.02
    class_names: tuple[str, ...] = ()
    max_findings: int = 200
    told: ToldLimits = ToldLimits()


class State(IntEnum):
    """What became of a detection."""

    PAIRED = 0
    """The other side has it, with its class."""
    FLIPPED = 1
    """The other side has it, with another class."""
    BORDERLINE = 2
    """Without a partner, and so near a threshold that routine drift explains it."""
    DUPLICATE = 3
    """The candidate's, on an object whose partner is another one."""
    ALONE = 4
    """Without a partner, and nothing explains it: missed, or extra."""


@dataclass(frozen=True, slots=True, eq=False)
class SideRows:
    """The shown detections of one side; n of them.

    Attributes
    ----------
    boxes
        (n, 4) float64, x1 y1 x2 y2, original-image pixels.
    scores, classes
        (n,) float64 and int64.
    states
        (n,) int8, of ``State``; what is borderline is not known yet.
    lies_on
        (n,) int64, of the candidate's duplicates the row of the reference on which each lies; else -1.
    nms_gaps
        (n,) float64, how far the nearest IoU with a box that the other side shows lies from the NMS threshold. Infinite
        for what has a partner, and where nothing could have dropped it.
    weak_scores
        (n,) float64, of what has no partner the score that the other side gives the same object, under the threshold;
        NaN where it has nothing there.
    """

    boxes: Floats
    scores: Floats
    classes: Integers
    states: NDArray[np.int8]
    lies_on: Integers
    nms_gaps: Floats
    weak_scores: Floats


@dataclass(frozen=True, slots=True, eq=False)
class PairRows:
    """The pairs of shown detections; p of them.

    Attributes
    ----------
    reference, candidate
        (p,) rows of both sides.
    ious
        (p,) float64.
    is_flip
        (p,) bool: the classes differ.
    score_steps
        (p,) the candidate's score less the reference's.
    shifts
        (p,) pixels that the farthest corner moved.
    mask_ious, similarities
        (p,) of masks and of keypoints; NaN where there are none.
    """

    reference: Integers
    candidate: Integers
    ious: Floats
    is_flip: Booleans
    score_steps: Floats
    shifts: Floats
    mask_ious: Floats
    similarities: Floats

    def take(self, rows: Booleans) -> PairRows:
        """Return some of the pairs."""
        return PairRows(*(getattr(self, column.name)[rows] for column in fields(self)))


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What was seen of one image."""

    reference: SideRows
    candidate: SideRows
    pairs: PairRows


def observe(options: DetectionOptions, reference: Detections, candidate: Detections) -> Observation:
    """Pair what both sides show of one image, and look at what is left; both are given down to their weakest rows."""
    is_shown, other_is_shown = (side.scores >= options.score_threshold for side in (reference, candidate))
    first, second = reference.take(is_shown), candidate.take(other_is_shown)
    matches = match(first, second, iou=options.match_iou)
    one = _Side(first, reference.take(~is_shown), matches.reference, matches.missed, np.full(len(matches.missed), -1))
    other = _Side(second, candidate.take(~other_is_shown), matches.candidate, matches.extra, matches.duplicate_of)
    return Observation(
        reference=_look(options, one, other, matches.is_flip),
        candidate=_look(options, other, one, matches.is_flip),
        pairs=_pairs(matches, first.take(matches.reference), second.take(matches.candidate)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """What a side shows, and what it has but does not show.

    Attributes
    ----------
    paired, left
        Rows of ``shown`` with a partner, pair by pair, and those without.
    lies_on
        Of each of ``left`` the row of the other side of which it is a duplicate, -1 for none.
    """

    shown: Detections
    weak: Detections
    paired: Integers
    left: Integers
    lies_on: Integers


def _look(options: DetectionOptions, side: _Side, other: _Side, is_flip: Booleans) -> SideRows:
    shown, left = side.shown, side.left
    states = np.full(len(shown), State.ALONE, np.int8)
    states[side.paired] = np.where(is_flip, State.FLIPPED, State.PAIRED)
    on, gaps, weak_scores = np.full(len(shown), -1), np.full(len(shown), np.inf), np.full(len(shown), np.nan)
    if len(left):
        alone = shown.take(left)
        states[left[side.lies_on >= 0]] = State.DUPLICATE
        on[left] = side.lies_on
        gaps[left] = _nms_gaps(options, alone, other.shown)
        weak_scores[left] = _weak_scores(options, alone, other.weak)
    # Copies: a decoder's rows may be a view of all its outputs, which would be kept with them.
    return SideRows(shown.boxes.copy(), shown.scores.copy(), shown.classes.copy(), states, on, gaps, weak_scores)


def _pairs(matches: Matches, first: Detections, second: Detections) -> PairRows:
    return PairRows(
        reference=matches.reference,
        candidate=matches.candidate,
        ious=matches.ious,
        is_flip=matches.is_flip,
        score_steps=second.scores - first.scores,
        shifts=_shifts(first, second),
        mask_ious=_mask_ious(first, second),
        similarities=_similarities(first, second),
    )


def _nms_gaps(options: DetectionOptions, alone: Detections, other: Detections) -> Floats:
    gaps = np.full(len(alone), np.inf)
    if options.nms_iou is None:
        return gaps
    allowed = np.ones((len(alone), len(other)), np.bool_) if options.class_agnostic else _same_class(alone, other)
    pairs = find_overlaps(alone, other, allowed, options.nms_iou - options.borderline_cap)
    np.minimum.at(gaps, pairs.reference, np.abs(pairs.ious - options.nms_iou))
    return gaps


def _weak_scores(options: DetectionOptions, alone: Detections, weak: Detections) -> Floats:
    pairs = find_overlaps(alone, weak, _same_class(alone, weak), options.match_iou)
    best = np.full(len(alone), -np.inf)
    np.maximum.at(best, pairs.reference, weak.scores[pairs.candidate])
    return np.where(np.isfinite(best), best, np.nan)


def _same_class(first: Detections, second: Detections) -> Booleans:
    same: Booleans = first.classes[:, None] == second.classes[None]
    return same


def _shifts(first: Detections, second: Detections) -> Floats:
    if first.corners is not None and second.corners is not None:
        return turned_shifts(first.corners, second.corners)
    moved = np.abs(first.boxes - second.boxes)
    shifts: Floats = np.hypot(np.maximum(moved[:, 0], moved[:, 2]), np.maximum(moved[:, 1], moved[:, 3]))
    return shifts


def _mask_ious(first: Detections, second: Detections) -> Floats:
    if first.masks is None or second.masks is None:
        return np.full(len(first), np.nan)
    return mask_overlaps(first.masks, second.masks)


def _similarities(first: Detections, second: Detections) -> Floats:
    if first.keypoints is None or second.keypoints is None:
        return np.full(len(first), np.nan)
    return keypoint_similarities(first.keypoints, second.keypoints, first.boxes)
