"""The observations of all images laid end to end, with what became of each detection.

What is borderline is known only here: how near a threshold counts as near depends on how far scores and boxes moved
over all images.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from parity.decoded import Detections
from parity.detect.detection_observe import PairRows, SideRows, State, observe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from parity.detect.detection_observe import DetectionOptions, Observation

    Integers = NDArray[np.int64]

Rows = TypeVar("Rows", PairRows, SideRows)

_ROUTINE_PERCENT = 99.0
# One or two that are gone are misses like others; three of one class, or of one image, and nothing of the kind is left,
# are no drift.
_FEWEST_GONE = 3
_NOTHING = Detections(np.empty((0, 4)), np.empty(0), np.empty(0, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class SideTally:
    """All shown detections of one side, ``rows``; ``images`` (n,) is the number of each one's image."""

    rows: SideRows
    images: Integers

    def __len__(self) -> int:
        return len(self.images)

    def having(self, state: State) -> Integers:
        """Return the rows in a state."""
        return np.flatnonzero(self.rows.states == state)

    def count(self, state: State) -> int:
        """Return how many are in a state."""
        return int(np.count_nonzero(self.rows.states == state))


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Everything that was seen.

    Attributes
    ----------
    same
        The pairs of one class; rows of sides are those of ``reference`` and ``candidate``.
    flips
        The pairs whose classes differ.
    score_delta, iou_delta
        How near the score threshold, or that of NMS, is borderline.
    """

    image_count: int
    reference: SideTally
    candidate: SideTally
    same: PairRows
    flips: PairRows
    score_delta: float
    iou_delta: float

    @property
    def absent_rows(self) -> Integers:
        """Return the candidate's rows of a class that the reference shows nowhere; borderline ones are none."""
        rows = self.candidate.rows
        known = np.isin(rows.classes, np.unique(self.reference.rows.classes))
        return np.flatnonzero(~known & (rows.states != State.BORDERLINE))

    @property
    def lost_classes(self) -> Integers:
        """Return the classes of which the reference shows three detections or more that are gone, and none is left."""
        rows = self.reference.rows
        gone, counts = np.unique(rows.classes[_is_gone(rows) | (rows.states == State.FLIPPED)], return_counts=True)
        return gone[(counts >= _FEWEST_GONE) & ~np.isin(gone, rows.classes[rows.states == State.PAIRED])]

    @property
    def one_sided_images(self) -> Integers:
        """Return the images in which a side shows three detections or more that are gone, and the other side none."""
        sides = (self.reference, self.candidate)
        shown = [np.bincount(side.images, minlength=self.image_count) for side in sides]
        gone = [np.bincount(side.images[_is_gone(side.rows)], minlength=self.image_count) for side in sides]
        is_lost, is_made_up = (gone[0] >= _FEWEST_GONE) & (shown[1] == 0), (gone[1] >= _FEWEST_GONE) & (shown[0] == 0)
        return np.flatnonzero(is_lost | is_made_up)


def tally(options: DetectionOptions, seen: Sequence[Observation]) -> Tally:
    """Lay observations end to end, and settle what became of each detection.

    A detection without a partner is borderline where its score lies less than ``score_delta`` from the threshold. That
    is the 99th percentile of how far the scores of pairs differ, or the cap, whichever is smaller: so drift excuses no
    more than drift. It is borderline as well where an IoU that decides over it in non-maximum suppression lies less
    than ``iou_delta`` from that threshold, which is the same of 1 - IoU of the pairs: 1 - IoU is a metric, so that an
    overlap with a box changes by no more than the box moved.
    """
    # An image of nothing in front gives every array its type where there are no images.
    parts = [observe(options, _NOTHING, _NOTHING), *seen]
    lengths = [[len(part.reference.scores) for part in parts], [len(part.candidate.scores) for part in parts]]
    first, second = (np.cumsum(length) - length for length in lengths)
    pairs = _join(PairRows, [part.pairs for part in parts])
    counts = [len(part.pairs.ious) for part in parts]
    pairs = replace(
        pairs,
        reference=pairs.reference + np.repeat(first, counts),
        candidate=pairs.candidate + np.repeat(second, counts),
    )
    rows = _join(SideRows, [part.candidate for part in parts])
    lies_on = np.where(rows.lies_on >= 0, rows.lies_on + np.repeat(first, lengths[1]), -1)
    same = pairs.take(~pairs.is_flip)
    limits = _limits(options, same)
    return Tally(
        image_count=len(seen),
        reference=_settle(options, _join(SideRows, [part.reference for part in parts]), lengths[0], limits),
        candidate=_settle(options, replace(rows, lies_on=lies_on), lengths[1], limits),
        same=same,
        flips=pairs.take(pairs.is_flip),
        score_delta=limits[0],
        iou_delta=limits[1],
    )


def _limits(options: DetectionOptions, same: PairRows) -> tuple[float, float]:
    """Return how near the score threshold, and how near that of NMS, is borderline."""
    drift = (np.abs(same.score_steps), 1.0 - same.ious)
    # Where nothing was paired, no drift is known that could excuse anything.
    routine = [float(np.percentile(part, _ROUTINE_PERCENT)) if len(part) else 0.0 for part in drift]
    return min(routine[0], options.borderline_cap), min(routine[1], options.borderline_cap)


def _is_gone(rows: SideRows) -> NDArray[np.bool_]:
    """Return (n,) whether the other side has nothing there, under its threshold neither."""
    is_gone: NDArray[np.bool_] = (rows.states == State.ALONE) & np.isnan(rows.weak_scores)
    return is_gone


def _settle(
    options: DetectionOptions, rows: SideRows, lengths: Sequence[int], limits: tuple[float, float]
) -> SideTally:
    score_delta, iou_delta = limits
    near = (np.abs(rows.scores - options.score_threshold) < score_delta) | (rows.nms_gaps < iou_delta)
    states = np.where(near & (rows.states >= State.DUPLICATE), np.int8(State.BORDERLINE), rows.states)
    # The first length is that of the image of nothing.
    return SideTally(replace(rows, states=states), np.repeat(np.arange(len(lengths)) - 1, lengths))


def _join(kind: type[Rows], parts: Sequence[Rows]) -> Rows:
    names = [column.name for column in fields(kind)]
    return kind(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
