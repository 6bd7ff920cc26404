"""YOLOv8 and v11 segmentation: boxes, and for each a mask mixed from prototypes."""

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
from parity.decode.nms import suppress
from parity.decode.parts import check_images, count_flaws
from parity.decode.rows import make_detections
from parity.decode.shapes import may_be_channels
from parity.errors import DecodeError
from parity.table import Count  # noqa: TC001 - pydantic reads the annotation at run time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from parity.decode.dense import Singles
    from parity.decode.family import Shapes
    from parity.decode.shapes import Dimension
    from parity.decoded import Detections, Floats
    from parity.preprocess import Geometry


class YoloV8Seg(DenseSettings):
    """Two outputs: (images, 4 + classes + coefficients, places) and prototypes (images, coefficients, h, w)."""

    name: Literal["yolov8_seg"] = "yolov8_seg"
    """YOLOv8, v9 and v11 segmentation."""
    prototype_stride: Count = 4
    """Tensor pixels for each pixel of a prototype."""


def layout(shapes: Shapes) -> Fit | None:
    """Return the fit of an output of rank 3 and one of rank 4 whose channels are fewer."""
    by_rank = {len(shape): name for name, shape in shapes.items()}
    if len(shapes) != 2 or set(by_rank) != {3, 4}:
        return None
    (_, channels, places), (_, coefficients, *_) = shapes[by_rank[3]], shapes[by_rank[4]]
    if not may_be_channels(channels, places, _fewest_channels(coefficients)):
        return None
    reason = f"{channels} channels before {places} places, with {coefficients} prototypes"
    return Fit({"predictions": by_rank[3], "prototypes": by_rank[4]}, 0.95, reason)


def _fewest_channels(coefficients: Dimension) -> int:
    """Return the channels of a box, one class and so many coefficients; an open number is at least one."""
    return 4 + 1 + (1 if isinstance(coefficients, str) else coefficients)


def decode_yolov8_seg(
    settings: YoloV8Seg, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[Detections, ...]:
    """Decode the heads of one feed.

    Masks stay at the resolution of the prototypes, where Ultralytics validates too; it enlarges them to show them. That
    takes a sixteenth of the memory, and nothing is known between two pixels that is not known here.

    Raises
    ------
    DecodeError
        The channels are fewer than box, one class and coefficients, ``class_names`` does not fit, or another number of
        images came.
    """
    predictions, prototypes = as_float32(outputs["predictions"]), as_float32(outputs["prototypes"])
    for output in (predictions, prototypes):
        check_images(settings.name, len(output), geometry)
    classes = predictions.shape[1] - 4 - prototypes.shape[1]
    if classes < 1:
        raise DecodeError(
            f"decoder {settings.name!r}: found {predictions.shape[1]} channels; expected more than 4 and the "
            f"{prototypes.shape[1]} coefficients of the prototypes"
        )
    check_class_count(settings, classes, predictions.shape)
    return tuple(
        _decode_one(settings, image, mixed, where)
        for image, mixed, where in zip(predictions, prototypes, geometry, strict=True)
    )


def _decode_one(settings: YoloV8Seg, image: Singles, prototypes: Singles, geometry: Geometry) -> Detections:
    boxes, coefficients = centers_to_corners(image[:4].T), image[len(image) - len(prototypes) :].T
    found = pick_candidates(boxes, image[4 : len(image) - len(prototypes)], settings)
    kept = suppress(found.boxes, found.scores, found.classes, settings)
    scaled = found.boxes[kept] / settings.prototype_stride
    masks, whole = mix_masks(coefficients[found.places[kept]], prototypes, scaled)
    kept = kept[whole]
    return make_detections(
        found.boxes[kept],
        found.scores[kept],
        found.classes[kept],
        geometry,
        settings,
        masks=masks[whole],
        flaws={**found.flaws, **count_flaws({"non-finite mask": ~whole})},
    )


def mix_masks(coefficients: Singles, prototypes: Singles, boxes: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return masks (n, h, w), cut to their boxes, and which of them have finite numbers everywhere, (n,).

    A pixel belongs to a mask where the sigmoid of its mix is above one half, so where the mix is above 0.

    Parameters
    ----------
    coefficients
        (n, k).
    prototypes
        (k, h, w).
    boxes
        (n, 4), x1 y1 x2 y2, in pixels of the prototypes. As Ultralytics cuts: a pixel is inside if its left and upper
        edges are.
    """
    _, height, width = prototypes.shape
    with np.errstate(invalid="ignore", over="ignore"):  # torn masks are counted, not warned of
        mixes = (coefficients @ prototypes.reshape(len(prototypes), -1)).reshape(-1, height, width)
    left, top, right, bottom = np.asarray(boxes, np.float64).T[:, :, None]
    columns, rows = np.arange(width), np.arange(height)
    inside_x, inside_y = (columns >= left) & (columns < right), (rows >= top) & (rows < bottom)
    masks = (mixes > 0) & inside_y[:, :, None] & inside_x[:, None, :]
    return masks, np.isfinite(mixes).all(axis=(1, 2))


FAMILY = Family(
    YoloV8Seg,
    layout,
    decode_yolov8_seg,
    "(images, 4 + classes + coefficients, places) and (images, coefficients, h, w)",
)
