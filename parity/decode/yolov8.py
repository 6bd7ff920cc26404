"""YOLOv8, v9, v11 and v12: boxes and a score for each class, no objectness, channels first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from parity.decode.dense import (
    DenseSettings,
    ImageSize,
    as_float32,
    centers_to_corners,
    check_class_count,
    detect,
    sigmoid,
    to_pixels,
)
from parity.decode.family import Family, Fit
from parity.decode.shapes import is_grid, may_be_channels, sole_output
from parity.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from parity.decode.dense import Singles
    from parity.decode.family import Shapes
    from parity.decoded import Detections
    from parity.preprocess import Geometry


class YoloV8(DenseSettings):
    """One output, (images, 4 + classes, places): cx cy w h in tensor pixels, then a score for each class."""

    name: Literal["yolov8"] = "yolov8"
    """YOLOv8, v9, v11, v12 with the head's own decoding in the graph."""
    scores: Literal["probability", "logit"] = "probability"
    """What the scores are: logits where the export left out the last sigmoid."""
    normalized_to: ImageSize | None = None
    """Height and width of the input tensor where boxes are shares of it, 0 to 1; in pixels if left out."""
    channels: Literal["first", "last", "auto"] = "auto"
    """Which axis holds box and scores; auto: the one that fits ``class_names``, without them the shorter one."""


def layout(shapes: Shapes) -> Fit | None:
    """Return the fit of one output of rank 3, of which one axis is at least 5 long."""
    sole = sole_output(shapes, 3)
    if sole is None:
        return None
    name, (_, first, last) = sole
    if may_be_channels(first, last, 5):
        reason = f"{first} channels before {last} places: 4 + classes; keypoints or an angle would look the same"
        return Fit({"predictions": name}, 0.8 if is_grid(last, 1) else 0.5, reason)
    if may_be_channels(last, first, 5):
        reason = f"{last} channels behind {first} places: 4 + classes; 5 + classes, as of YOLOv5, would look the same"
        return Fit({"predictions": name}, 0.25, reason, {"channels": "last"})
    return None


def decode_yolov8(
    settings: YoloV8, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[Detections, ...]:
    """Decode the heads of one feed.

    Raises
    ------
    DecodeError
        ``class_names`` fits neither axis, or both axes are equally long and ``channels`` does not say which is which.
    """
    predictions = _channels_first(settings, as_float32(outputs["predictions"]))
    return tuple(_decode_one(settings, image, where) for image, where in zip(predictions, geometry, strict=True))


def _channels_first(settings: YoloV8, predictions: Singles) -> Singles:
    if _are_channels_last(settings, predictions.shape):
        predictions = predictions.swapaxes(1, 2)
    check_class_count(settings, predictions.shape[1] - 4, predictions.shape)
    return predictions


def _are_channels_last(settings: YoloV8, shape: tuple[int, ...]) -> bool:
    if settings.channels != "auto":
        return settings.channels == "last"
    if shape[1] == shape[2]:
        raise DecodeError(
            f"decoder {settings.name!r}: either axis of {shape} may be the channels; "
            "set decode.channels to first or last"
        )
    wanted = len(settings.class_names) + 4
    if settings.class_names and wanted in shape[1:]:
        return shape[2] == wanted
    return shape[2] < shape[1]


def _decode_one(settings: YoloV8, image: Singles, geometry: Geometry) -> Detections:
    boxes = to_pixels(centers_to_corners(image[:4].T), settings.normalized_to)
    scores = sigmoid(image[4:]) if settings.scores == "logit" else image[4:]
    return detect(boxes, scores, geometry, settings)


FAMILY = Family(YoloV8, layout, decode_yolov8, "(images, 4 + classes, places), or the last two axes swapped")
