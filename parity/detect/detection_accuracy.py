"""Average precision and kinds of error: against the reference's detections, and against annotations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from parity.detect.ap_images import ApImage
from parity.detect.average_precision import evaluate, match_images, summarize
from parity.detect.bootstrap import ap_drop_interval
from parity.detect.error_kinds import count_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parity.decoded import Detections
    from parity.detect.detection_observe import SideRows
    from parity.detect.protocol import Truth

    Values = dict[str, float | None]

_SEED = 0


@dataclass(slots=True)
class AccuracyImages:
    """What average precision needs of all images.

    Attributes
    ----------
    against_reference
        All that the candidate gives, with what the reference shows as truth: a candidate that is cut too would lose
        the weak end of its precision curve to the threshold.
    shown
        What the candidate shows, with the same truth.
    true_reference, true_candidate
        All that each side gives, with the annotations as truth; of annotated images alone.
    """

    against_reference: list[ApImage] = field(default_factory=list)
    shown: list[ApImage] = field(default_factory=list)
    true_reference: list[ApImage] = field(default_factory=list)
    true_candidate: list[ApImage] = field(default_factory=list)

    def add(
        self,
        rows: SideRows,
        candidate_rows: SideRows,
        reference: Detections,
        candidate: Detections,
        truth: Truth | None,
    ) -> None:
        """Take one image: what each side shows, all that each side gives, and what is there."""
        is_crowd, areas = np.zeros(len(rows.scores), np.bool_), _areas(rows)
        weak = _copy(candidate)
        pseudo = (rows.boxes, rows.classes, is_crowd, areas)
        self.against_reference.append(ApImage(*pseudo, *weak))
        self.shown.append(ApImage(*pseudo, candidate_rows.boxes, candidate_rows.scores, candidate_rows.classes))
        if truth is not None:
            real = (truth.boxes, truth.classes, truth.is_crowd, truth.areas)
            self.true_reference.append(ApImage(*real, *_copy(reference)))
            self.true_candidate.append(ApImage(*real, *weak))

    @property
    def object_count(self) -> int:
        """Return how many objects the annotations hold, regions of many aside."""
        return sum(int(np.count_nonzero(~image.truth_is_crowd)) for image in self.true_reference)


def reference_values(images: AccuracyImages) -> tuple[Values, dict[int, float]]:
    """Return the figures with the reference's detections as truth, and average precision by class."""
    found = evaluate(images.against_reference)
    errors = count_errors(images.shown)
    values: Values = {
        "ap": found.ap,
        "ap50": found.ap50,
        "ap75": found.ap75,
        "tide_localization": errors.localization,
        "tide_classification": errors.classification,
        "tide_both": errors.both,
        "tide_duplicate": errors.duplicate,
        "tide_background": errors.background,
        "tide_missed": errors.missed,
    }
    return values, found.per_class


def true_values(images: AccuracyImages) -> Values:
    """Return the figures with annotations as truth; empty where there are none."""
    if not images.object_count:
        return {}
    sides = match_images(images.true_reference), match_images(images.true_candidate)
    reference, candidate = map(summarize, sides)
    low, high = ap_drop_interval(*sides, seed=_SEED) or (None, None)
    return {
        "true_ap_reference": reference.ap,
        "true_ap_candidate": candidate.ap,
        "true_ap_drop": _drop(reference.ap, candidate.ap),
        "true_ap_drop_low": low,
        "true_ap_drop_high": high,
        "true_ap50_reference": reference.ap50,
        "true_ap50_candidate": candidate.ap50,
        "true_ap50_drop": _drop(reference.ap50, candidate.ap50),
    }


def _drop(reference: float | None, candidate: float | None) -> float | None:
    return None if reference is None or candidate is None else reference - candidate


def _areas(rows: SideRows) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = (rows.boxes[:, 2:] - rows.boxes[:, :2]).prod(axis=1)
    return areas


def _copy(side: Detections) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # A decoder's rows may be a view of all its outputs, which would be kept with them.
    return side.boxes.copy(), side.scores.copy(), side.classes.copy()
