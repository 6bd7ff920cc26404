"""YOLOv3, v4, v5 and v7 with the head's own decoding in the graph: boxes, objectness, classes; channels last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from parity.decode.dense import (
    DenseSettings,
    ImageSize,
    as_float32,
    centers_to_corners,
    check_class_count,
    detect,
    to_pixels,
    weigh,
)
from parity.decode.family import Family, Fit
from parity.decode.shapes import is_grid, may_be_channels, sole_output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from parity.decode.dense import Singles
    from parity.decode.family import Shapes
    from parity.decoded import Detections
    from parity.preprocess import Geometry


class YoloV5(DenseSettings):
    """One output, (images, places, 5 + classes): cx cy w h in tensor pixels, objectness, a score for each class."""

    name: Literal["yolov5"] = "yolov5"
    """YOLOv3, v4, v5, v7 with the head's own decoding in the graph."""
    normalized_to: ImageSize | None = None
    """Height and width of the input tensor where boxes are shares of it, 0 to 1; in pixels if left out."""
    objectness_alone: bool = False
    """Whether, of a model of one class, the objectness is the score, as YOLOv7 takes it; else their product is."""


def layout(shapes: Shapes) -> Fit | None:
    """Return the fit of one output of rank 3; the raw maps of rank 5 that some exports give beside it are passed by."""
    sole = sole_output({name: shape for name, shape in shapes.items() if len(shape) != 5}, 3)
    if sole is None or not may_be_channels(channels := sole[1][2], places := sole[1][1], 6):
        return None
    reason = f"{channels} channels behind {places} places: 5 + classes; 4 + classes would look the same"
    if is_grid(places, 3):
        return Fit({"predictions": sole[0]}, 0.7, f"{reason}; as many places as three anchors a cell give")
    return Fit({"predictions": sole[0]}, 0.3, f"{reason}; three anchors a cell of strides 8, 16, 32 give other numbers")


def decode_yolov5(
    settings: YoloV5, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[Detections, ...]:
    """Decode the heads of one feed.

    Raises
    ------
    DecodeError
        ``class_names`` has another number of classes than the output.
    """
    predictions = as_float32(outputs["predictions"])
    check_class_count(settings, predictions.shape[2] - 5, predictions.shape)
    return tuple(_decode_one(settings, image, where) for image, where in zip(predictions, geometry, strict=True))


def _decode_one(settings: YoloV5, image: Singles, geometry: Geometry) -> Detections:
    boxes = to_pixels(centers_to_corners(image[:, :4]), settings.normalized_to)
    scores = weigh(image[:, 4], image[:, 5:].T, objectness_alone=settings.objectness_alone)
    return detect(boxes, scores, geometry, settings)


FAMILY = Family(YoloV5, layout, decode_yolov5, "(images, places, 5 + classes)")
