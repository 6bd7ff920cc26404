"""COCO's average precision of boxes, equal to that of pycocotools.

Per image and class detections are matched greedily at ten IoU thresholds; per class and threshold precision is averaged
over 101 recalls, each with the best precision at that recall or a higher one. Definitions: COCO's evaluation code,
area range "all".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.detect.ap_images import flatten
from parity.detect.greedy import match_greedily, overlapping_pairs, rank_in_group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from parity.detect.ap_images import ApImage

    Booleans = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)
_ROW_50, _ROW_75 = 0, 5
# Where COCO's area range "all" ends, in square pixels.
_LARGEST_AREA = 1e5**2


@dataclass(frozen=True, slots=True)
class ApResult:
    """Average precision, 0 to 1.

    Attributes
    ----------
    ap
        Over ten IoU thresholds from .5 to .95 and all classes with truth; None where there is no truth at all.
    ap50, ap75
        At an IoU of .5 and of .75.
    per_class
        ``ap`` of each class that has truth, by its number.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    per_class: dict[int, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Hits:
    """The detections that found their object at one IoU threshold.

    Attributes
    ----------
    rows
        (h,) rows of ``ApMatches.images``, ascending.
    ignored_rows
        (i,) rows that count for nothing, ascending.
    ignored_before
        (h,) how many of ``ignored_rows`` come before each of ``rows``, in whatever class.
    ignored_first
        (h,) how many of ``ignored_rows`` belong to earlier classes.
    """

    rows: Integers
    ignored_rows: Integers
    ignored_before: Integers
    ignored_first: Integers


@dataclass(frozen=True, slots=True, eq=False)
class ApMatches:
    """What detections were matched to: all that average precision needs, whichever images are drawn.

    Attributes
    ----------
    class_ids
        (k,) the classes' numbers.
    images, classes, class_begin
        (n,) of each detection, by class and falling score: its image, the row of its class, where its class begins.
    truth_images, truth_classes
        (m,) of each object that is to be found.
    """

    image_count: int
    class_ids: Integers
    images: Integers
    classes: Integers
    class_begin: Integers
    truth_images: Integers
    truth_classes: Integers
    hits: tuple[_Hits, ...]


def evaluate(images: Sequence[ApImage], max_detections: int | None = None) -> ApResult:
    """Return the average precision of detections.

    Parameters
    ----------
    images
        All of them, also those without truth.
    max_detections
        The most detections of one image and class that count, the highest scores first. COCO's is 100, which puts a
        detector that gives more below 1 even against itself; None for all of them.

    Raises
    ------
    StructureError
        Arrays of an image are not of one length.
    """
    return summarize(match_images(images, max_detections))


def match_images(images: Sequence[ApImage], max_detections: int | None = None) -> ApMatches:
    """Match all detections once; parameters and errors are those of ``evaluate``."""
    flat = flatten(images)
    rows = np.arange(len(flat.scores))
    if max_detections is not None:
        rows = rows[rank_in_group(flat, rows) < max_detections]
    pairs = overlapping_pairs(flat, rows, IOU_THRESHOLDS[0])
    ignored = flat.truth_is_crowd | (flat.truth_areas > _LARGEST_AREA)
    matched = match_greedily(flat, pairs, IOU_THRESHOLDS, ignored=ignored, last_of_equals=True)
    by_score = rows[np.lexsort((-flat.scores[rows], flat.classes[rows]))]
    classes = flat.classes[by_score]
    class_begin = np.searchsorted(classes, classes, "left")
    sizes = flat.boxes[by_score, 2:] - flat.boxes[by_score, :2]
    too_large = sizes[:, 0] * sizes[:, 1] > _LARGEST_AREA
    return ApMatches(
        image_count=flat.image_count,
        class_ids=flat.class_ids,
        images=flat.images[by_score],
        classes=classes,
        class_begin=class_begin,
        truth_images=flat.truth_images[~ignored],
        truth_classes=flat.truth_classes[~ignored],
        # One copy by threshold: its rows are read again and again.
        hits=tuple(
            _hits(column, ignored, too_large, class_begin) for column in np.ascontiguousarray(matched[by_score].T)
        ),
    )


def _hits(matched: Integers, ignored: Booleans, too_large: Booleans, class_begin: Integers) -> _Hits:
    """Sort out one threshold's matches, (n,) rows of truth, -1 for none; ``ignored`` (m,) is of the truth."""
    is_matched = matched >= 0
    is_ignored = too_large & ~is_matched
    is_ignored[is_matched] = ignored[matched[is_matched]]
    rows, ignored_rows = np.flatnonzero(is_matched & ~is_ignored), np.flatnonzero(is_ignored)
    return _Hits(
        rows, ignored_rows, np.searchsorted(ignored_rows, rows), np.searchsorted(ignored_rows, class_begin[rows])
    )


def summarize(matches: ApMatches) -> ApResult:
    """Return the average precision of detections that are matched."""
    table = precision_table(matches, np.ones(matches.image_count, np.int64))
    known = ~np.isnan(table[:, 0])
    if not known.any():
        return ApResult(None, None, None, {})
    found = table[known]
    per_class = zip(matches.class_ids[known].tolist(), found.mean(axis=1).tolist(), strict=True)
    return ApResult(
        ap=float(found.mean()),
        ap50=float(found[:, _ROW_50].mean()),
        ap75=float(found[:, _ROW_75].mean()),
        per_class=dict(per_class),
    )


def precision_table(matches: ApMatches, counts: Integers) -> Floats:
    """Return (classes, thresholds) average precision where image i is there ``counts[i]`` times; NaN without truth.

    Taking an image n times is giving its detections and objects the weight n: copies of one detection follow each
    other, and precision after the last copy is the best of them. (Of detections of one image with the same score and
    class the order decides, which then is not that of copied images.)
    """
    truth = np.bincount(
        np.repeat(matches.truth_classes, counts[matches.truth_images]), minlength=len(matches.class_ids)
    )
    weights = counts[matches.images]
    seen = np.concatenate([[0], np.cumsum(weights)])
    recalls = _count_recalls(truth)
    columns = [_average(matches, hits, weights, seen, recalls) for hits in matches.hits]
    return np.where(truth[:, None] > 0, np.stack(columns, axis=1), np.nan)


def _count_recalls(truth: Integers) -> tuple[Integers, Integers]:
    """Return how many of COCO's recalls so many objects found reach, class after class, and where classes begin."""
    sizes = truth + 1
    begin = np.cumsum(sizes) - sizes
    found = np.arange(int(sizes.sum())) - np.repeat(begin, sizes)
    return np.searchsorted(_RECALLS, found / np.maximum(np.repeat(truth, sizes), 1), "right"), begin


def _average(
    matches: ApMatches, hits: _Hits, weights: Integers, seen: Integers, recalls: tuple[Integers, Integers]
) -> Floats:
    """Return (k,) average precision at one threshold; ``seen`` (n + 1,) is the weight of the rows before each."""
    classes = matches.classes[hits.rows]
    firsts = np.flatnonzero(np.diff(classes, prepend=-1))
    ignored = np.concatenate([[0], np.cumsum(weights[hits.ignored_rows])])
    all_seen = seen[hits.rows + 1] - seen[matches.class_begin[hits.rows]]
    counted = all_seen - (ignored[hits.ignored_before] - ignored[hits.ignored_first])
    found = _running_sum(weights[hits.rows], firsts)
    # Images that are not drawn come first, with no weight. COCO adds 2e-16 instead, and keeps equal sides from 1.
    precision = _best_from_here(found / np.maximum(counted, 1), classes)
    reached = recalls[0][recalls[1][classes] + found]
    steps = np.diff(reached, prepend=0)
    steps[firsts] = reached[firsts]
    return np.bincount(classes, precision * steps, len(matches.class_ids)) / len(_RECALLS)


def _running_sum(values: Integers, firsts: Integers) -> Integers:
    """Return sums from the last of ``firsts`` on."""
    total = np.cumsum(values)
    before = total[firsts] - values[firsts]
    return total - np.repeat(before, np.diff(firsts, append=len(values)))


def _best_from_here(precision: Floats, classes: Integers) -> Floats:
    """Return the best precision of each class from each row on; ``classes`` ascends."""
    # Precision is at most 1, so that steps of 2 keep one class's values out of the next one's.
    lifts = -2.0 * classes
    best: Floats = np.maximum.accumulate((precision + lifts)[::-1])[::-1]
    return best - lifts
