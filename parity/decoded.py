"""What a model says once its output tensors are decoded: one object for each image.

Both sides of a comparison are decoded by the same code to these types; ``parity.detect`` measures how far they agree.
Coordinates are continuous pixels of the original image, 0 at the left and upper edge of its first pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


class Task(StrEnum):
    """What kind of thing a decoder gives."""

    DETECTION = "detection"
    """Boxes with classes and scores; also with masks, keypoints or turned corners."""
    CLASSIFICATION = "classification"
    """A score for each class of the whole image."""
    LANES = "lanes"
    """Points of lanes on row anchors, with attributes."""
    SEGMENTATION = "segmentation"
    """A class for each pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What a detector says of one image, highest score first.

    Attributes
    ----------
    boxes
        (n, 4) float64, x1 y1 x2 y2, original-image pixels, clipped to the image. Of turned boxes, what encloses them.
    scores
        (n,) float64, 0 to 1.
    classes
        (n,) int64, counted from 0.
    corners
        (n, 4, 2) float64, original-image pixels, of turned boxes in order around them; else None.
    keypoints
        (n, k, 3) float64: x and y in original-image pixels, visibility 0 to 1; None where there are none.
    masks
        (n, h, w) bool, at the decoder's own resolution, the same for all images; None where there are none.
    flaws
        How many rows were left out, by reason: ``nan score``, ``non-finite box``, ``inverted box``, …. A detector that
        emits such rows is not merely inaccurate.
    """

    boxes: Floats
    scores: Floats
    classes: Integers
    corners: Floats | None = None
    keypoints: Floats | None = None
    masks: NDArray[np.bool_] | None = None
    flaws: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: NDArray[np.bool_] | Integers) -> Detections:
        """Return some rows, in the order given; ``flaws`` stay."""
        return Detections(
            self.boxes[rows],
            self.scores[rows],
            self.classes[rows],
            None if self.corners is None else self.corners[rows],
            None if self.keypoints is None else self.keypoints[rows],
            None if self.masks is None else self.masks[rows],
            self.flaws,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """What a classifier says of one image.

    Attributes
    ----------
    scores
        (c,) float64: probabilities, or logits where the decoder's settings say so.
    flaws
        As in ``Detections``: a NaN score, say.
    """

    scores: Floats
    flaws: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Lanes:
    """What a lane detector says of one image.

    Attributes
    ----------
    points
        (lanes, anchors, 2) float64: x and y in original-image pixels; NaN where a lane does not cross that row anchor.
    attributes
        (kinds, lanes) int64: the class of each lane by kind of attribute (colour, say); empty where there are none.
    scores
        (lanes, anchors) float64, 0 to 1: how sure the point, or its absence, is.
    flaws
        As in ``Detections``.
    """

    points: Floats
    attributes: Integers
    scores: Floats
    flaws: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """A class for each pixel of one image.

    Attributes
    ----------
    labels
        (h, w) int64, at the resolution of the output tensor.
    margins
        (h, w) float64: score of the winner less that of the second; None where the model gives labels alone.
    flaws
        As in ``Detections``.
    """

    labels: Integers
    margins: Floats | None = None
    flaws: Mapping[str, int] = field(default_factory=dict)


Decoded = Detections | Classification | Lanes | LabelMap
"""What a decoder gives of one image."""
