"""DETR: logits and a box for each query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from parity.decode.coordinates import ShareSettings, shares_to_tensor
from parity.decode.dense import as_float32, centers_to_corners, check_class_count, sigmoid
from parity.decode.family import Family, Fit
from parity.decode.parts import Part, assign, check_images, check_lengths
from parity.decode.probabilities import softmax
from parity.decode.rows import find_damage, make_detections

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.decode.dense import Singles
    from parity.decode.family import Shapes
    from parity.decoded import Detections
    from parity.preprocess import Geometry

_PARTS = (
    Part("boxes", (3,), ("pred_boxes",), "box", columns=4),
    Part("logits", (3,), ("pred_logits", "logits"), "logit"),
)


class Detr(ShareSettings):
    """Two outputs: pred_logits (images, queries, classes + 1) and pred_boxes (images, queries, 4) cx cy w h."""

    name: Literal["detr"] = "detr"
    """DETR and models that follow it: Conditional, Deformable and DAB-DETR, DINO, RT-DETR without postprocessing."""
    scores: Literal["softmax", "sigmoid"] = "softmax"
    """How logits become scores: softmax, where the last class is no object and each query has one class; or sigmoid,
    where all are classes and a query may have several, as in Deformable DETR and later."""


def layout(shapes: Shapes) -> Fit | None:
    """Return the fit of logits and boxes."""
    found = assign(shapes, _PARTS)
    if found is None:
        return None
    roles, named = found
    return Fit(roles, 0.95 if named else 0.6, f"boxes and logits of queries: {', '.join(roles.values())}")


def decode_detr(
    settings: Detr, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[Detections, ...]:
    """Decode the queries of one feed.

    Raises
    ------
    DecodeError
        ``class_names`` does not fit, outputs differ in their queries or images, or ``shares_to_tensor`` raises.
    """
    logits, boxes = as_float32(outputs["logits"]), as_float32(outputs["boxes"])
    for output in (logits, boxes):
        check_images(settings.name, len(output), geometry)
    check_lengths(settings.name, {"logits": logits.shape[1], "boxes": boxes.shape[1]})
    check_class_count(settings, logits.shape[2] - (settings.scores == "softmax"), logits.shape)
    return tuple(
        _decode_one(settings, image, places, where)
        for image, places, where in zip(logits, boxes, geometry, strict=True)
    )


def _decode_one(settings: Detr, logits: Singles, centers: Singles, geometry: Geometry) -> Detections:
    boxes = shares_to_tensor(centers_to_corners(centers), geometry, settings.input_size, settings.name)
    if settings.scores == "softmax":
        chances = softmax(logits, axis=1)[:, :-1]
        return make_detections(boxes, chances.max(axis=1), chances.argmax(axis=1), geometry, settings)
    scores = sigmoid(logits)
    sound, flaws = find_damage(boxes, scores.max(axis=1))
    queries, classes = np.nonzero((scores >= settings.ap_score_threshold) & sound[:, None])
    return make_detections(boxes[queries], scores[queries, classes], classes, geometry, settings, flaws=flaws)


FAMILY = Family(
    Detr, layout, decode_detr, "pred_logits (images, queries, classes + 1) and pred_boxes (images, queries, 4)"
)
