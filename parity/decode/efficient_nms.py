"""TensorRT's NMS plugins in the graph: EfficientNMS_TRT, its variants and BatchedNMS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from parity.decode.counted import cut_rows, find_counted
from parity.decode.dense import ImageSize, centers_to_corners, to_pixels
from parity.decode.family import Family, Fit
from parity.decode.parts import Part
from parity.decode.rows import make_detections
from parity.decode.settings import DetectionSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.decode.counted import Rows
    from parity.decode.family import Shapes
    from parity.decoded import Detections
    from parity.preprocess import Geometry

_PARTS = (
    Part("boxes", (3,), ("det_boxes", "nmsed_boxes"), "box", columns=4),
    Part("counts", (1, 2), ("num_dets", "num_detections"), "num"),
    Part("scores", (2,), ("det_scores", "nmsed_scores"), "score"),
    Part("classes", (2,), ("det_classes", "det_labels", "nmsed_classes"), "class"),
)


class EfficientNms(DetectionSettings):
    """Four outputs: num_dets (images, 1), det_boxes (images, rows, 4), det_scores and det_classes (images, rows)."""

    name: Literal["efficient_nms"] = "efficient_nms"
    """EfficientNMS_TRT and BatchedNMS; rows behind num_dets are undefined and never read."""
    box_coding: Literal["corners", "center"] = "corners"
    """How boxes are given: x1 y1 x2 y2, or cx cy w h."""
    normalized_to: ImageSize | None = None
    """Height and width of the input tensor where boxes are shares of it, 0 to 1; in pixels if left out."""


def layout(shapes: Shapes) -> Fit | None:
    """Return the fit of a count, boxes, scores and classes."""
    return find_counted(shapes, _PARTS, unnamed=0.6)


def decode_efficient_nms(
    settings: EfficientNms, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[Detections, ...]:
    """Decode the rows of one feed; raises what ``cut_rows`` raises."""
    images = cut_rows(settings.name, outputs, geometry)
    return tuple(_decode_one(settings, rows, where) for rows, where in zip(images, geometry, strict=True))


def _decode_one(settings: EfficientNms, rows: Rows, geometry: Geometry) -> Detections:
    given = rows.boxes.astype(np.float32)
    boxes = to_pixels(centers_to_corners(given) if settings.box_coding == "center" else given, settings.normalized_to)
    return make_detections(boxes, rows.scores, rows.classes, geometry, settings)


FAMILY = Family(
    EfficientNms,
    layout,
    decode_efficient_nms,
    "num_dets (images, 1), det_boxes (images, rows, 4), det_scores and det_classes (images, rows)",
)
