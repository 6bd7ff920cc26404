"""Figures, image by image and class by class too, of what became of detections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from parity.agreement import ClassAgreement, ImageAgreement
from parity.detect.detection_observe import State
from parity.detect.wording import class_name, share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from parity.detect.detection_tally import SideTally, Tally
    from parity.detect.protocol import ImageKey

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

    Values = dict[str, float | None]

# Fewer points have no rank correlation worth the name.
_FEWEST_RANKS = 3
# FP8, the coarsest format, has a step of 1/16 below 1: scores that differ by twice that cannot all become one.
_VARYING_SCORES = 0.125


def count_values(tally: Tally) -> Values:
    """Return the figures that count detections by what became of them."""
    reference, candidate = tally.reference, tally.candidate
    paired = reference.count(State.PAIRED)
    borderline = reference.count(State.BORDERLINE) + candidate.count(State.BORDERLINE)
    larger = max(len(reference), len(candidate))
    return {
        "image_count": tally.image_count,
        "reference_count": len(reference),
        "candidate_count": len(candidate),
        "matched_share": share(paired, len(reference)),
        "class_flip_share": share(reference.count(State.FLIPPED), len(reference)),
        "missed_share": share(reference.count(State.ALONE), len(reference)),
        "extra_share": share(candidate.count(State.ALONE), len(candidate)),
        "duplicate_share": share(candidate.count(State.DUPLICATE), len(candidate)),
        # A detection that crosses a threshold is on one side alone; where all of both sides do, that is all of them.
        "borderline_share": share(min(borderline, larger), larger),
        "absent_class_count": len(tally.absent_rows),
        "lost_class_count": len(tally.lost_classes),
        "one_sided_image_count": len(tally.one_sided_images),
        "f1": share(2 * paired, len(reference) + len(candidate)),
        "empty_image_count": int(np.count_nonzero(_per_image(tally, reference) + _per_image(tally, candidate) == 0)),
    }


def pair_values(tally: Tally) -> Values:
    """Return the figures of pairs of one class; None where there are no pairs."""
    same = tally.same
    steps = np.abs(same.score_steps)
    scores, other_scores = tally.reference.rows.scores[same.reference], tally.candidate.rows.scores[same.candidate]
    mask_ious, similarities = (part[~np.isnan(part)] for part in (same.mask_ious, same.similarities))
    return {
        "iou_mean": _mean(same.ious),
        "iou_p5": _percentile(same.ious, 5),
        "iou_min": _percentile(same.ious, 0),
        "corner_shift_p50": _percentile(same.shifts, 50),
        "corner_shift_p99": _percentile(same.shifts, 99),
        "corner_shift_max": _percentile(same.shifts, 100),
        "score_difference_mean": _mean(steps),
        "score_difference_p99": _percentile(steps, 99),
        "score_difference_max": _percentile(steps, 100),
        "score_bias": _mean(same.score_steps),
        "score_value_count": _value_count(scores, other_scores),
        "score_rank_correlation": _rank_correlation(scores, other_scores),
        "mask_iou_mean": _mean(mask_ious),
        "mask_iou_min": _percentile(mask_ious, 0),
        "oks_mean": _mean(similarities),
        "oks_min": _percentile(similarities, 0),
    }


def image_agreements(tally: Tally, images: Sequence[ImageKey]) -> tuple[ImageAgreement, ...]:
    """Return how far both sides agree on each image, least agreement first.

    It is the mean, over all objects that either side shows, of IoU · (1 - score difference): 0 for what has no partner
    of its class. Borderline detections do not enter. An image in which nothing is left agrees.
    """
    same, count = tally.same, tally.image_count
    in_image = tally.reference.images[same.reference]
    total = np.bincount(in_image, same.ious * (1.0 - np.minimum(np.abs(same.score_steps), 1.0)), count)
    columns = _count_columns(tally)
    objects = np.bincount(in_image, minlength=count) + sum(
        columns[kind] for kind in ("missed", "extra", "duplicate", "class flip")
    )
    agreement = np.divide(total, objects, out=np.ones(count), where=objects > 0)
    order = np.argsort(agreement, kind="stable")
    return tuple(
        ImageAgreement(
            image=images[number].name,
            feed=images[number].feed,
            row=images[number].row,
            agreement=float(agreement[number]),
            counts={kind: int(column[number]) for kind, column in columns.items()},
        )
        for number in order.tolist()
    )


def class_agreements(tally: Tally, names: Sequence[str], ap: Mapping[int, float]) -> tuple[ClassAgreement, ...]:
    """Return the figures of each class that either side shows; a class flip is told under the reference's class."""
    reference, candidate, same = tally.reference, tally.candidate, tally.same
    numbers = np.unique(np.concatenate([reference.rows.classes, candidate.rows.classes]))
    paired = reference.rows.classes[same.reference]
    total = np.bincount(np.searchsorted(numbers, paired), same.ious, len(numbers))
    counts = {
        "reference_count": _per_class(numbers, reference),
        "candidate_count": _per_class(numbers, candidate),
        "missed": _per_class(numbers, reference, State.ALONE),
        "extra": _per_class(numbers, candidate, State.ALONE),
        "duplicates": _per_class(numbers, candidate, State.DUPLICATE),
        "flips": _per_class(numbers, reference, State.FLIPPED),
    }
    pairs = np.bincount(np.searchsorted(numbers, paired), minlength=len(numbers))
    return tuple(
        ClassAgreement(
            class_name(names, number),
            {
                **{kind: int(column[row]) for kind, column in counts.items()},
                "iou_mean": share(float(total[row]), int(pairs[row])),
                "ap": ap.get(number),
            },
        )
        for row, number in enumerate(numbers.tolist())
    )


def _count_columns(tally: Tally) -> dict[str, Integers]:
    """Return (images,) counts by their names."""
    reference, candidate = tally.reference, tally.candidate
    return {
        "reference": _per_image(tally, reference),
        "candidate": _per_image(tally, candidate),
        "missed": _per_image(tally, reference, State.ALONE),
        "extra": _per_image(tally, candidate, State.ALONE),
        "duplicate": _per_image(tally, candidate, State.DUPLICATE),
        "class flip": _per_image(tally, reference, State.FLIPPED),
        "borderline": _per_image(tally, reference, State.BORDERLINE) + _per_image(tally, candidate, State.BORDERLINE),
    }


def _per_image(tally: Tally, side: SideTally, state: State | None = None) -> Integers:
    images = side.images if state is None else side.images[side.having(state)]
    return np.bincount(images, minlength=tally.image_count)


def _per_class(numbers: Integers, side: SideTally, state: State | None = None) -> Integers:
    classes = side.rows.classes if state is None else side.rows.classes[side.having(state)]
    return np.bincount(np.searchsorted(numbers, classes), minlength=len(numbers))


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None


def _percentile(values: Floats, percent: float) -> float | None:
    return float(np.percentile(values, percent)) if len(values) else None


def _value_count(first: Floats, second: Floats) -> int | None:
    """Return how many different scores ``second`` has; None where those of ``first`` hardly differ."""
    if len(first) < _FEWEST_RANKS or np.ptp(first) < _VARYING_SCORES:
        return None
    return len(np.unique(second))


def _rank_correlation(first: Floats, second: Floats) -> float | None:
    """Return Spearman's; None for fewer than three, and where one side says the same of all."""
    if len(first) < _FEWEST_RANKS or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: Floats) -> Floats:
    """Return (n,) places in ascending order; equal values share the mean of theirs."""
    # Not scipy.stats, which takes longer to load than all figures of a few thousand images to measure.
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    places: Floats = np.cumsum(counts) - (counts - 1) / 2
    return places[which]
