"""How far two detectors agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from parity.decoded import Task
from parity.detect.detection_accuracy import AccuracyImages, reference_values, true_values
from parity.detect.detection_figures import class_agreements, count_values, image_agreements, pair_values
from parity.detect.detection_findings import DetectionFindings
from parity.detect.detection_observe import DetectionOptions, State, observe
from parity.detect.detection_tally import tally
from parity.detect.figures import figures_of
from parity.detect.protocol import Measured
from parity.detect.wording import add_flaws
from parity.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity.decoded import Detections
    from parity.detect.detection_observe import Observation
    from parity.detect.detection_tally import Tally
    from parity.detect.protocol import ImageKey, Truth

__all__ = ["DetectionAgreement", "DetectionOptions"]

# Two detections may be equal by chance, or be one object seen twice; three that are tell of a model that sees nothing.
_FEWEST_TO_VARY = 3
# A detector that is right by chance alone stays below; so does one that is held against another one's annotations.
_LEAST_TRUE_AP50 = 0.01


class DetectionAgreement:
    """Measures how far two detectors agree; see ``parity.detect.protocol.Agreement``.

    Of each image it keeps boxes, scores and classes, and no masks.
    """

    def __init__(self, options: DetectionOptions | None = None) -> None:
        self._options = options or DetectionOptions()
        self._images: list[ImageKey] = []
        self._seen: list[Observation] = []
        self._accuracy = AccuracyImages()
        self._flaws: dict[str, int] = {}

    def update(self, image: ImageKey, reference: Detections, candidate: Detections, truth: Truth | None = None) -> None:
        """Take one image; both sides are given down to their weakest detections.

        Raises
        ------
        StructureError
            Arrays of a side do not fit each other, hold what is not finite, or are there on one side only.
        """
        _check_side(image, "reference", reference)
        _check_side(image, "candidate", candidate)
        _check_both(image, reference, candidate)
        seen = observe(self._options, reference, candidate)
        self._images.append(image)
        self._seen.append(seen)
        self._accuracy.add(seen.reference, seen.candidate, reference, candidate, truth)
        add_flaws(self._flaws, "reference", reference.flaws)
        add_flaws(self._flaws, "candidate", candidate.flaws)

    def result(self) -> Measured:
        """Return what was measured over all images."""
        found = tally(self._options, self._seen)
        against_reference, class_ap = reference_values(self._accuracy)
        values = {**count_values(found), **pair_values(found), **against_reference, **true_values(self._accuracy)}
        findings = DetectionFindings(found, self._options, self._images)
        return Measured(
            figures=figures_of(Task.DETECTION, values),
            findings=findings.worst(),
            images=image_agreements(found, self._images),
            classes=class_agreements(found, self._options.class_names, class_ap),
            degenerate=self._degenerate(found, values.get("true_ap50_reference")),
            flaws=dict(self._flaws),
            notes=tuple(self._notes(found)),
            finding_counts=findings.counts(),
        )

    def _degenerate(self, found: Tally, true_ap50: float | None) -> str:
        count = len(self._images)
        if not count:
            return "No image was compared."
        if not len(found.reference) and not len(found.candidate):
            limit = f"a score of {self._options.score_threshold:g} or more"
            return f"Neither side shows anything with {limit} in any of {count} images: that is no agreement."
        return self._useless_truth(true_ap50) or _sameness(found)

    def _useless_truth(self, true_ap50: float | None) -> str:
        """Return why accuracy shows nothing, as a sentence; empty where it does, or where there are no annotations."""
        known, objects = len(self._accuracy.true_reference), self._accuracy.object_count
        if known and not objects:
            return f"The annotations hold no object in any of {known} images: accuracy against them shows nothing."
        if true_ap50 is None or true_ap50 >= _LEAST_TRUE_AP50 or objects < _FEWEST_TO_VARY:
            return ""
        return (
            f"The reference itself is right on none of {objects} annotated objects (AP50 {true_ap50:.3f}): a drop from "
            f"there shows nothing; look whether classes and pixels of the annotations are the detector's."
        )

    def _notes(self, found: Tally) -> Iterator[str]:
        known, count = len(self._accuracy.true_reference), len(self._images)
        if 0 < known < count:
            yield f"Accuracy is that of the {known} of {count} images that have annotations."
        near = found.reference.count(State.BORDERLINE) + found.candidate.count(State.BORDERLINE)
        if near:
            by_nms = f", or an IoU within {found.iou_delta:.2g} of NMS's threshold" if self._options.nms_iou else ""
            limit = f"a score within {found.score_delta:.2g} of {self._options.score_threshold:g}"
            yield f"{near} detections without a partner are borderline: {limit}{by_nms}."


def _sameness(found: Tally) -> str:
    """Return what the reference says the same of everything, as a sentence; empty where it tells things apart."""
    rows, count = found.reference.rows, len(found.reference)
    if count < _FEWEST_TO_VARY:
        return ""
    if not np.ptp(rows.boxes, axis=0).any():
        return f"All {count} boxes of the reference are the same: give images that differ, or look at the decoder."
    if np.ptp(rows.scores) == 0:
        return f"All {count} scores of the reference are {rows.scores[0]:g}: they show nothing about the candidate's."
    return ""


def _check_side(image: ImageKey, name: str, side: Detections) -> None:
    count = len(side.scores)
    if side.boxes.shape != (count, 4) or side.scores.shape != (count,) or side.classes.shape != (count,):
        raise StructureError(
            f"{image.name}, {name}: boxes have shape {side.boxes.shape}, scores {side.scores.shape}, classes "
            f"{side.classes.shape}; expected (n, 4), (n,) and (n,) with one n"
        )
    if not (np.isfinite(side.scores).all() and np.isfinite(side.boxes).all()):
        raise StructureError(
            f"{image.name}, {name}: a score or a box is not finite; decoders leave such rows out, counted as flaws"
        )


def _check_both(image: ImageKey, reference: Detections, candidate: Detections) -> None:
    if not len(reference) or not len(candidate):
        return
    for name in ("corners", "keypoints", "masks"):
        first, second = getattr(reference, name), getattr(candidate, name)
        if (first is None) != (second is None):
            lacking = "reference" if first is None else "candidate"
            raise StructureError(f"{image.name}: the {lacking} has no {name}, the other side has; decode both alike")
        if first is not None and first.shape[1:] != second.shape[1:]:
            raise StructureError(
                f"{image.name}: {name} of the reference are {first.shape[1:]}, of the candidate {second.shape[1:]}; "
                f"decode both alike"
            )
