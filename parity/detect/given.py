"""Detections as people's own tests have them: checked, cleaned as decoders do, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.decoded import Detections
from parity.detect.detection import DetectionAgreement
from parity.detect.detection_observe import DetectionOptions
from parity.detect.protocol import ImageKey
from parity.errors import StructureError

if TYPE_CHECKING:
    from parity.detect.protocol import Measured

Given = Detections | Mapping[str, Any]
"""One image's detections: decoded ones, or ``boxes`` (n, 4) x1 y1 x2 y2, ``scores`` (n,) and ``classes`` (n,)."""

_KEYS = ("boxes", "scores", "classes")


def compare_detections(
    reference: Given | Sequence[Given],
    candidate: Given | Sequence[Given],
    *,
    score_threshold: float = 0.25,
    match_iou: float = 0.5,
    class_names: Sequence[str] = (),
) -> Measured:
    """Measure how far two detectors agree on one image or on several.

    Rows with a score that is not finite and boxes that are not finite or inverted are left out and counted in
    ``flaws``.

    Parameters
    ----------
    reference, candidate
        One image, or as many on both sides: ``Detections``, or mappings with ``boxes`` (n, 4), x1 y1 x2 y2 in pixels,
        ``scores`` (n,) and ``classes`` (n,). Give weak detections too: average precision needs them, and what lies
        just under the threshold on one side explains what the other side has just above it.
    score_threshold
        The score from which a detection counts, 0 to 1.
    match_iou
        The IoU from which two boxes are a pair.
    class_names
        Names of the classes, the first one's first; numbers are told without.

    Raises
    ------
    StructureError
        The sides cannot be compared: different numbers of images, missing keys, lengths that do not fit, classes that
        are no whole numbers; or a threshold is not 0 to 1.

    Examples
    --------
    >>> from parity import compare_detections
    >>> image = {"boxes": [[0, 0, 10, 10]], "scores": [0.9], "classes": [0]}
    >>> measured = compare_detections(image, {**image, "classes": [1]}, class_names=["cat", "dog"])
    >>> {figure.name: figure.value for figure in measured.figures}["class_flip_share"]
    1.0
    """
    options = DetectionOptions(score_threshold=score_threshold, match_iou=match_iou, class_names=tuple(class_names))
    return measure_detections(reference, candidate, options)


def measure_detections(
    reference: Given | Sequence[Given], candidate: Given | Sequence[Given], options: DetectionOptions
) -> Measured:
    """Measure as ``compare_detections`` does, by options of one's own."""
    for name in ("score_threshold", "match_iou"):
        if not 0.0 <= (limit := getattr(options, name)) <= 1.0:
            raise StructureError(f"{name} is {limit:g}; expected 0 to 1")
    first, second = _images(reference), _images(candidate)
    if len(first) != len(second):
        raise StructureError(
            f"the reference has {len(first)} images and the candidate {len(second)}; give both the same"
        )
    agreement = DetectionAgreement(options)
    for number, (expected, actual) in enumerate(zip(first, second, strict=True)):
        sides = _read(expected, f"image {number} of the reference"), _read(actual, f"image {number} of the candidate")
        height, width = (int(max(side.boxes[:, axis].max(initial=0.0) for side in sides)) + 1 for axis in (3, 2))
        agreement.update(ImageKey(f"image {number}", 0, number, height, width), *sides)
    return agreement.result()


def _images(given: Given | Sequence[Given]) -> Sequence[Given]:
    return [given] if isinstance(given, Detections | Mapping) else given


def _read(given: object, where: str) -> Detections:
    """Return one image's detections, highest score first, without rows that make no sense."""
    if isinstance(given, Detections):
        return given
    if not isinstance(given, Mapping) or any(key not in given for key in _KEYS):
        found = ", ".join(map(str, given)) if isinstance(given, Mapping) else type(given).__name__
        raise StructureError(f"{where}: found {found or 'nothing'}; expected Detections, or {', '.join(_KEYS)} by name")
    boxes, scores, classes = (_numbers(given[key], f"{where}: {key}") for key in _KEYS)
    count = len(scores) if scores.ndim == 1 else -1
    # An image of nothing may come as an empty list.
    boxes = boxes.reshape(0, 4) if not boxes.size else boxes
    if boxes.shape != (count, 4) or classes.shape != (count,):
        raise StructureError(
            f"{where}: boxes {boxes.shape}, scores {scores.shape}, classes {classes.shape}; expected (n, 4), (n,), (n,)"
        )
    if not np.array_equal(classes, np.floor(classes)):
        first = classes[classes != np.floor(classes)][0]
        raise StructureError(f"{where}: classes: found {first:g}; expected whole numbers, counted from 0")
    return _clean(boxes, scores, classes.astype(np.int64))


def _numbers(given: object, where: str) -> np.ndarray:
    """Return values as float64, which holds every class number there is."""
    try:
        return np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise StructureError(f"{where}: found what is no array of numbers ({error}); expected numbers alone") from error


def _clean(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> Detections:
    finite = np.isfinite(boxes).all(axis=1)
    inverted = finite & (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    known = np.isfinite(scores)
    faults = {"nan score": ~known, "non-finite box": known & ~finite, "inverted box": known & inverted}
    flaws = {reason: int(rows.sum()) for reason, rows in faults.items() if rows.any()}
    rows = np.flatnonzero(known & finite & ~inverted)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    return Detections(boxes[rows], scores[rows], classes[rows], flaws=flaws)
