"""YOLOX: one place a cell, objectness and classes as probabilities, boxes decoded in the graph or not."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from parity.decode.dense import (
    DenseSettings,
    ImageSize,
    Strides,
    as_float32,
    centers_to_corners,
    check_class_count,
    detect,
    weigh,
)
from parity.decode.family import Family, Fit
from parity.decode.grid import cells_of
from parity.decode.shapes import is_grid, may_be_channels, sole_output
from parity.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.decode.dense import Singles
    from parity.decode.family import Shapes
    from parity.decoded import Detections
    from parity.preprocess import Geometry


class YoloX(DenseSettings):
    """One output, (images, places, 5 + classes): box, objectness, a score for each class."""

    name: Literal["yolox"] = "yolox"
    """YOLOX."""
    decoded: bool = False
    """Whether boxes are cx cy w h in tensor pixels, as ``--decode_in_inference`` exports them; else they are raw."""
    input_size: ImageSize | None = None
    """Height and width of the input tensor in pixels, which raw boxes need; taken as a square if left out."""
    strides: Strides = Field(default=[8, 16, 32])
    """Tensor pixels a cell, of each map, the finest first."""


def layout(shapes: Shapes) -> Fit | None:
    """Return the fit of one output of rank 3, best of one with a place for each cell of strides 8, 16, 32."""
    sole = sole_output(shapes, 3)
    if sole is None or not may_be_channels(channels := sole[1][2], places := sole[1][1], 6):
        return None
    reason = f"{channels} channels behind {places} places: 5 + classes; 4 + classes would look the same"
    if is_grid(places, 1) and not is_grid(places, 3):
        return Fit({"predictions": sole[0]}, 0.65, f"{reason}; as many places as one a cell of strides 8, 16, 32 gives")
    return Fit({"predictions": sole[0]}, 0.2, f"{reason}; the number of places does not say that each cell has one")


def decode_yolox(
    settings: YoloX, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[Detections, ...]:
    """Decode the heads of one feed.

    Raises
    ------
    DecodeError
        ``class_names`` has another number of classes than the output, or the cells of ``input_size`` are not as many as
        the output's places.
    """
    predictions = as_float32(outputs["predictions"])
    check_class_count(settings, predictions.shape[2] - 5, predictions.shape)
    boxes = predictions[..., :4] if settings.decoded else _place(settings, predictions)
    return tuple(
        detect(centers_to_corners(own), weigh(image[:, 4], image[:, 5:].T), where, settings)
        for own, image, where in zip(boxes, predictions, geometry, strict=True)
    )


def _place(settings: YoloX, predictions: Singles) -> Singles:
    """Return boxes, (images, places, 4) cx cy w h in tensor pixels, of raw ones: cells, and logarithms of cells."""
    height, width = settings.input_size or _square(settings, predictions.shape)
    sizes = [(height // stride, width // stride) for stride in settings.strides]
    corners, strides = cells_of(sizes, settings.strides)
    if len(corners) != predictions.shape[1]:
        raise DecodeError(
            f"decoder 'yolox': an input of {height} x {width} has {len(corners)} cells at strides {settings.strides}, "
            f"but the output of shape {predictions.shape} has {predictions.shape[1]} places; set decode.input_size"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # damaged boxes are counted, not warned of
        centers = (predictions[..., :2] + corners) * strides
        return np.concatenate([centers, np.exp(predictions[..., 2:4]) * strides], axis=-1)


def _square(settings: YoloX, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the square that has about so many cells; the caller counts them."""
    coarsest = max(settings.strides)
    cells = sum((coarsest // stride) ** 2 for stride in settings.strides)
    side = isqrt(shape[1] // cells) * coarsest
    return side, side


FAMILY = Family(YoloX, layout, decode_yolox, "(images, places, 5 + classes), a place a cell")
