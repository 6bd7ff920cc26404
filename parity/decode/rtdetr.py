"""RT-DETR and D-FINE as their authors export them: labels, boxes in pixels of the original image, scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from parity.decode.coordinates import image_to_tensor
from parity.decode.family import Family, Fit
from parity.decode.parts import Part, assign, check_images, check_lengths, whole_numbers
from parity.decode.rows import make_detections
from parity.decode.settings import DetectionSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.decode.family import Shapes
    from parity.decoded import Detections
    from parity.preprocess import Geometry

_PARTS = (
    Part("boxes", (3,), ("boxes",), "box", columns=4),
    Part("labels", (2,), ("labels",), "label"),
    Part("scores", (2,), ("scores",), "score"),
)


class RtDetr(DetectionSettings):
    """Three outputs: labels (images, rows), boxes (images, rows, 4) x1 y1 x2 y2, scores (images, rows)."""

    name: Literal["rtdetr"] = "rtdetr"
    """RT-DETR, RT-DETRv2 and D-FINE exported with their postprocessing."""
    boxes: Literal["image", "tensor"] = "image"
    """What the input orig_target_sizes scales boxes to: pixels of each original image, or of the input tensor."""


def layout(shapes: Shapes) -> Fit | None:
    """Return the fit of labels, boxes and scores."""
    found = assign(shapes, _PARTS)
    if found is None:
        return None
    roles, named = found
    return Fit(roles, 0.95 if named else 0.5, f"labels, boxes and scores of each image: {', '.join(roles.values())}")


def decode_rtdetr(
    settings: RtDetr, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[Detections, ...]:
    """Decode the rows of one feed.

    Raises
    ------
    DecodeError
        Labels are no whole numbers, or outputs differ in their rows or images.
    """
    for output in outputs.values():
        check_images(settings.name, len(output), geometry)
    check_lengths(settings.name, {role: output.shape[1] for role, output in outputs.items()})
    labels = whole_numbers(settings.name, "labels", outputs["labels"])
    rows = zip(outputs["boxes"].astype(np.float64), outputs["scores"].astype(np.float64), labels, strict=True)
    return tuple(
        make_detections(
            image_to_tensor(boxes, where) if settings.boxes == "image" else boxes, scores, classes, where, settings
        )
        for (boxes, scores, classes), where in zip(rows, geometry, strict=True)
    )


FAMILY = Family(RtDetr, layout, decode_rtdetr, "labels (images, rows), boxes (images, rows, 4), scores (images, rows)")
