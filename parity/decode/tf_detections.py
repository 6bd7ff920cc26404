"""TensorFlow's object-detection API: a count, boxes as y1 x1 y2 x2, scores, classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from parity.decode.coordinates import ShareSettings, shares_to_tensor
from parity.decode.counted import cut_rows, find_counted
from parity.decode.family import Family, Fit
from parity.decode.parts import Part
from parity.decode.rows import make_detections

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from parity.decode.counted import Rows
    from parity.decode.family import Shapes
    from parity.decoded import Detections
    from parity.preprocess import Geometry

_PARTS = (
    Part("boxes", (3,), ("detection_boxes", "detection_boxes:0"), "box", columns=4),
    Part("counts", (1,), ("num_detections", "num_detections:0"), "num"),
    Part("scores", (2,), ("detection_scores", "detection_scores:0"), "score"),
    Part("classes", (2,), ("detection_classes", "detection_classes:0"), "class"),
)


class TfDetections(ShareSettings):
    """Four outputs: num_detections (images,), detection_boxes (images, rows, 4), and scores and classes of the rows."""

    name: Literal["tf_detections"] = "tf_detections"
    """SSD, EfficientDet and Faster R-CNN of TensorFlow's object-detection API; further outputs are passed over."""
    first_class: Literal[0, 1] = 1
    """The number of the first class: 1 in label maps that keep 0 for the background."""


def layout(shapes: Shapes) -> Fit | None:
    """Return the fit of a count, boxes, scores and classes."""
    return find_counted(shapes, _PARTS, unnamed=0.3)


def decode_tf_detections(
    settings: TfDetections, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[Detections, ...]:
    """Decode the rows of one feed; raises what ``cut_rows`` and ``shares_to_tensor`` raise."""
    images = cut_rows(settings.name, outputs, geometry)
    return tuple(_decode_one(settings, rows, where) for rows, where in zip(images, geometry, strict=True))


def _decode_one(settings: TfDetections, rows: Rows, geometry: Geometry) -> Detections:
    boxes = shares_to_tensor(rows.boxes[:, [1, 0, 3, 2]], geometry, settings.input_size, settings.name)
    return make_detections(boxes, rows.scores, rows.classes - settings.first_class, geometry, settings)


FAMILY = Family(
    TfDetections,
    layout,
    decode_tf_detections,
    "num_detections (images,), detection_boxes (images, rows, 4), detection_scores, detection_classes (images, rows)",
)
