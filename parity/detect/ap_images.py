"""Images with what is in them and what a detector says, laid end to end."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from parity.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Booleans = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ApImage:
    """One image: its truth, and detections that are held against it.

    Attributes
    ----------
    truth_boxes
        (m, 4) float64, x1 y1 x2 y2, pixels.
    truth_classes
        (m,) int64.
    truth_is_crowd
        (m,) bool: regions of many objects; detections in them count for nothing.
    truth_areas
        (m,) float64, square pixels; beyond 1e10 an object counts for nothing, as a crowd.
    boxes
        (n, 4) float64, as ``truth_boxes``.
    scores
        (n,) float64, in any order; of equal ones the first counts as the higher.
    classes
        (n,) int64.
    """

    truth_boxes: Floats
    truth_classes: Integers
    truth_is_crowd: Booleans
    truth_areas: Floats
    boxes: Floats
    scores: Floats
    classes: Integers


@dataclass(frozen=True, slots=True, eq=False)
class FlatImages:
    """All images in one array a kind, in their order; m objects and n detections.

    ``class_ids`` (k,) ascends; ``truth_classes`` and ``classes`` are rows of it.
    """

    image_count: int
    class_ids: Integers
    truth_images: Integers
    truth_boxes: Floats
    truth_classes: Integers
    truth_is_crowd: Booleans
    truth_areas: Floats
    images: Integers
    boxes: Floats
    scores: Floats
    classes: Integers


def flatten(images: Sequence[ApImage]) -> FlatImages:
    """Lay images end to end.

    Raises
    ------
    StructureError
        Arrays of an image are not of one length.
    """
    for number, image in enumerate(images):
        _check(number, image)
    columns = {part.name: [getattr(image, part.name) for image in images] for part in fields(ApImage)}
    truth_classes, classes = _join(columns["truth_classes"], np.int64), _join(columns["classes"], np.int64)
    ids, rows = np.unique(np.concatenate([truth_classes, classes]), return_inverse=True)
    numbers = np.arange(len(images))
    return FlatImages(
        image_count=len(images),
        class_ids=ids,
        truth_images=np.repeat(numbers, [len(part) for part in columns["truth_classes"]]),
        truth_boxes=_join(columns["truth_boxes"], np.float64, 4),
        truth_classes=rows[: len(truth_classes)],
        truth_is_crowd=_join(columns["truth_is_crowd"], np.bool_),
        truth_areas=_join(columns["truth_areas"], np.float64),
        images=np.repeat(numbers, [len(part) for part in columns["classes"]]),
        boxes=_join(columns["boxes"], np.float64, 4),
        scores=_join(columns["scores"], np.float64),
        classes=rows[len(truth_classes) :],
    )


def _join(parts: list[np.ndarray], dtype: type[np.generic], *shape: int) -> np.ndarray:
    # An image of nothing may come as [] without its second axis.
    return np.concatenate([np.empty((0, *shape), dtype), *(part for part in parts if len(part))]).astype(dtype)


def _check(number: int, image: ApImage) -> None:
    truth = {len(image.truth_boxes), len(image.truth_classes), len(image.truth_is_crowd), len(image.truth_areas)}
    found = {len(image.boxes), len(image.scores), len(image.classes)}
    if len(truth) > 1 or len(found) > 1:
        raise StructureError(
            f"image {number}: truth has lengths {sorted(truth)}, detections {sorted(found)}; "
            f"boxes, classes and their companions must be of one length each"
        )
