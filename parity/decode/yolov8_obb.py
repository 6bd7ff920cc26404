"""YOLOv8 and v11 oriented boxes: boxes with an angle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from parity.decode.dense import (
    DenseSettings,
    as_float32,
    centers_to_corners,
    check_class_count,
    pick_candidates,
)
from parity.decode.family import Family, Fit
from parity.decode.nms import suppress_rotated
from parity.decode.parts import check_images, count_flaws
from parity.decode.rows import make_detections
from parity.decode.shapes import may_be_channels, sole_output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.decode.dense import Singles
    from parity.decode.family import Shapes
    from parity.decoded import Detections, Floats
    from parity.preprocess import Geometry

# A box, the 15 classes of DOTA that the published models know, and an angle.
_DOTA_CHANNELS = 4 + 15 + 1

# Corners in half widths and half heights, around the box.
_AROUND = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]], np.float64)


class YoloV8Obb(DenseSettings):
    """One output, (images, 4 + classes + 1, places): cx cy w h in tensor pixels, scores, angle in radians."""

    name: Literal["yolov8_obb"] = "yolov8_obb"
    """YOLOv8 and v11 oriented boxes; the graph has turned the angle to radians, -π/4 to 3π/4, clockwise."""


def layout(shapes: Shapes) -> Fit | None:
    """Return the fit of one output of rank 3 with channels for a box, a class and an angle."""
    sole = sole_output(shapes, 3)
    if sole is None or not may_be_channels(sole[1][1], sole[1][2], 4 + 1 + 1):
        return None
    name, (_, channels, places) = sole
    certainty = 0.5 if channels == _DOTA_CHANNELS else 0.1
    reason = f"{channels} channels before {places} places: 4 + classes + an angle; one more class would look the same"
    return Fit({"predictions": name}, certainty, reason)


def decode_yolov8_obb(
    settings: YoloV8Obb, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[Detections, ...]:
    """Decode the heads of one feed.

    Raises
    ------
    DecodeError
        ``class_names`` does not fit, or another number of images came.
    """
    predictions = as_float32(outputs["predictions"])
    check_images(settings.name, len(predictions), geometry)
    check_class_count(settings, predictions.shape[1] - 5, predictions.shape)
    return tuple(_decode_one(settings, image, where) for image, where in zip(predictions, geometry, strict=True))


def _decode_one(settings: YoloV8Obb, image: Singles, geometry: Geometry) -> Detections:
    angles = image[-1]
    upright = np.isfinite(angles)
    turned, scores = image[[0, 1, 2, 3, -1]][:, upright].T, image[4:-1, upright]
    found = pick_candidates(centers_to_corners(turned[:, :4]), scores, settings)
    boxes = turned[found.places].astype(np.float64)
    kept = suppress_rotated(boxes, found.scores, found.classes, settings)
    corners = turned_corners(boxes[kept])
    return make_detections(
        np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1),
        found.scores[kept],
        found.classes[kept],
        geometry,
        settings,
        corners=corners,
        flaws={**found.flaws, **count_flaws({"non-finite angle": ~upright})},
    )


def turned_corners(boxes: Floats) -> Floats:
    """Return the corners, (n, 4, 2), of boxes, (n, 5) cx cy w h angle; the angle turns x towards y."""
    cos, sin = np.cos(boxes[:, 4, None]), np.sin(boxes[:, 4, None])
    offsets = _AROUND * (boxes[:, None, 2:4] / 2)
    x = offsets[..., 0] * cos - offsets[..., 1] * sin
    y = offsets[..., 0] * sin + offsets[..., 1] * cos
    return boxes[:, None, :2] + np.stack([x, y], axis=2)


FAMILY = Family(YoloV8Obb, layout, decode_yolov8_obb, "(images, 4 + classes + 1, places)")
