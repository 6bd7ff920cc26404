"""Torchvision's detectors as exported: boxes, labels and scores of one image, with masks or keypoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from parity.decode.coordinates import image_to_tensor
from parity.decode.family import Family, Fit
from parity.decode.parts import Part, assign, check_images, check_lengths, whole_numbers
from parity.decode.rows import make_detections
from parity.decode.settings import DetectionSettings, Share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.decode.family import Shapes
    from parity.decoded import Detections, Floats
    from parity.preprocess import Geometry

_PARTS = (
    Part("boxes", (2,), ("boxes",), "box", columns=4),
    Part("labels", (1,), ("labels",), "label"),
    Part("scores", (1,), ("scores",), "score"),
    Part("masks", (4,), ("masks",), "mask", optional=True),
    Part("keypoints", (3,), ("keypoints",), "keypoint", columns=3, optional=True),
    Part("keypoint_scores", (2,), ("keypoints_scores", "keypoint_scores"), "keypoint", optional=True),
)


class TorchvisionBoxes(DetectionSettings):
    """Boxes (n, 4), labels (n,) and scores (n,), also masks (n, 1, h, w) or keypoints (n, k, 3); one image a feed."""

    name: Literal["torchvision_boxes"] = "torchvision_boxes"
    """SSD, RetinaNet, FCOS, Faster, Mask and Keypoint R-CNN of torchvision."""
    boxes: Literal["tensor", "image"] = "tensor"
    """What boxes are pixels of: the model's input, which it scales itself, or the original image."""
    background: bool = True
    """Whether label 0 is the background: then the first class is label 1, and ``class_names`` begin with that."""
    mask_threshold: Share = 0.5
    """The probability above which a pixel belongs to a mask."""


def layout(shapes: Shapes) -> Fit | None:
    """Return the fit of boxes without an axis of images, labels and scores."""
    found = assign(shapes, _PARTS)
    if found is None:
        return None
    roles, named = found
    return Fit(roles, 0.95 if named else 0.7, f"boxes, labels and scores of one image: {', '.join(roles.values())}")


def decode_torchvision_boxes(
    settings: TorchvisionBoxes, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[Detections, ...]:
    """Decode the rows of one image.

    Raises
    ------
    DecodeError
        More than one image was fed, labels are no whole numbers, or outputs differ in their rows.
    """
    check_images(settings.name, 1, geometry)
    check_lengths(settings.name, {role: len(output) for role, output in outputs.items()})
    [where] = geometry
    labels = whole_numbers(settings.name, "labels", outputs["labels"])
    masks, keypoints = outputs.get("masks"), outputs.get("keypoints")
    return (
        make_detections(
            _to_tensor(settings, outputs["boxes"], where),
            outputs["scores"].astype(np.float64),
            labels - settings.background,
            where,
            settings,
            masks=None if masks is None else masks[:, 0] > settings.mask_threshold,
            keypoints=None if keypoints is None else _keypoints(settings, keypoints, where),
        ),
    )


def _to_tensor(settings: TorchvisionBoxes, boxes: np.ndarray, geometry: Geometry) -> Floats:
    """Return boxes, (..., 4), in tensor pixels."""
    wide = boxes.astype(np.float64)
    return image_to_tensor(wide, geometry) if settings.boxes == "image" else wide


def _keypoints(settings: TorchvisionBoxes, keypoints: np.ndarray, geometry: Geometry) -> Floats:
    points = keypoints.astype(np.float64)
    places = _to_tensor(settings, points[..., [0, 1, 0, 1]], geometry)[..., :2]
    return np.concatenate([places, np.clip(points[..., 2:], 0, 1)], axis=2)


FAMILY = Family(
    TorchvisionBoxes, layout, decode_torchvision_boxes, "boxes (n, 4), labels (n,) and scores (n,) of one image"
)
