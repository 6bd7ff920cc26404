"""Raw heads of YOLOv3, v4, v5 and v7: a map for each stride, with a few anchors in each cell."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from parity.decode.dense import (
    DenseSettings,
    Strides,
    as_float32,
    centers_to_corners,
    check_class_count,
    detect,
    sigmoid,
    weigh,
)
from parity.decode.family import Family, Fit
from parity.decode.grid import cell_corners
from parity.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.decode.dense import Singles
    from parity.decode.family import Shapes
    from parity.decode.shapes import Dimension
    from parity.decoded import Detections
    from parity.preprocess import Geometry

Pixels = Annotated[float, Field(gt=0)]
Anchor = Annotated[list[Pixels], Field(min_length=2, max_length=2)]
Levels = Annotated[list[Annotated[list[Anchor], Field(min_length=1)]], Field(min_length=1)]


class YoloAnchors(DenseSettings):
    """2 to 4 outputs, of each map x y w h, objectness and a logit for each class, for each anchor of each cell.

    Shapes are (images, anchors * (5 + classes), h, w), or (images, h, w, anchors * (5 + classes)), or
    (images, anchors, h, w, 5 + classes). Maps are taken by size, the largest first.
    """

    name: Literal["yolo_anchors"] = "yolo_anchors"
    """YOLOv3, v4, v5, v7 without the head's decoding in the graph."""
    anchors: Levels
    """Width and height in tensor pixels of each anchor of each map, the largest map first; they are not in the model:
    YOLOv3's and v5's first map has [[10, 13], [16, 30], [33, 23]]."""
    formula: Literal["v3", "v4", "v5"] = "v5"
    """How boxes follow: v3 and v4 by exp of the size, v5 (also v7) by the square of twice its sigmoid."""
    scale_x_y: Annotated[list[Pixels], Field(min_length=1)] = Field(default=[1.2, 1.1, 1.05])
    """How far centres reach beyond their cell, of each map; of formula v4 alone."""
    strides: Strides = Field(default=[8, 16, 32])
    """Tensor pixels a cell, of each map, the largest first."""
    objectness_alone: bool = False
    """Whether, of a model of one class, the objectness is the score, as YOLOv7 takes it; else their product is."""


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """What one map's boxes are made with: anchors, (n, 2) in pixels, its stride, and how far centres reach."""

    anchors: Singles
    stride: int
    reach: float


def layout(shapes: Shapes) -> Fit | None:
    """Return the fit of 2 to 4 maps that have the same channels, each half as large as the one before."""
    if not 2 <= len(shapes) <= 4 or {len(shape) for shape in shapes.values()} not in ({4}, {5}):
        return None
    sizes = {name: shape[_height_axis(shapes) :][:2] for name, shape in shapes.items()}
    [channels, *others] = {_channels_of(shape, shapes) for shape in shapes.values()}
    if others or isinstance(channels, str) or channels < 6 or not _are_halved(list(sizes.values())):
        return None
    by_size = sorted(sizes, key=lambda name: -_area(sizes[name]))
    return _fit({f"level{number}": name for number, name in enumerate(by_size)}, channels, has_axis=_has_axis(shapes))


def decode_yolo_anchors(
    settings: YoloAnchors, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[Detections, ...]:
    """Decode the heads of one feed.

    Raises
    ------
    DecodeError
        There are more or fewer maps than ``anchors``, ``strides`` or ``scale_x_y`` are for, the channels do not divide
        among the anchors, or ``class_names`` has another number of classes.
    """
    shapes = {name: output.shape for name, output in outputs.items()}
    largest_first = sorted(outputs, key=lambda name: -_area(shapes[name][_height_axis(shapes) :][:2]))
    levels = _make_levels(settings, len(outputs))
    maps = [
        _split_anchors(settings, as_float32(outputs[name]), len(level.anchors), _height_axis(shapes))
        for name, level in zip(largest_first, levels, strict=True)
    ]
    return tuple(
        _decode_one(settings, [each[row] for each in maps], levels, geometry[row]) for row in range(len(geometry))
    )


def _fit(outputs: Mapping[str, str], channels: int, *, has_axis: bool) -> Fit:
    if has_axis:
        return Fit(
            outputs, 0.9, f"{len(outputs)} maps, each half the one before, with an axis of 5 + {channels - 5} classes"
        )
    reason = f"{len(outputs)} maps, each half the one before, of {channels} channels: anchors times 5 + classes"
    divides = channels % 3 == 0 and channels >= 3 * 6
    return Fit(outputs, 0.6 if divides else 0.2, f"{reason}; other heads look like this too")


def _has_axis(shapes: Shapes) -> bool:
    """Return whether anchors have an axis of their own."""
    return all(len(shape) == 5 for shape in shapes.values())


def _height_axis(shapes: Shapes) -> int:
    """Return which axis is the height: 2 where channels or anchors come before it, 1 where channels come last."""
    return 2 if _has_axis(shapes) or len({shape[1] for shape in shapes.values()}) == 1 else 1


def _channels_of(shape: tuple[Dimension, ...], shapes: Shapes) -> Dimension:
    return shape[1] if not _has_axis(shapes) and _height_axis(shapes) == 2 else shape[-1]


def _are_halved(sizes: Sequence[tuple[Dimension, ...]]) -> bool:
    """Return whether each map is half the next larger one; True where a size is open."""
    known = sorted(size for size in sizes if not any(isinstance(side, str) for side in size))
    if len(known) < len(sizes):
        return True
    return all(large == tuple(2 * int(side) for side in small) for small, large in pairwise(known))


def _area(size: tuple[Dimension, ...]) -> int:
    """Return how many cells a map has; 0 where that is open, which leaves maps in the model's order."""
    return 0 if any(isinstance(side, str) for side in size) else int(size[0]) * int(size[1])


def _make_levels(settings: YoloAnchors, count: int) -> list[Level]:
    reach = {"v3": [1.0] * count, "v4": settings.scale_x_y, "v5": [2.0] * count}[settings.formula]
    for key, values in (("anchors", settings.anchors), ("strides", settings.strides), ("scale_x_y", reach)):
        if len(values) != count:
            raise DecodeError(
                f"decoder {settings.name!r}: decode.{key} is for {len(values)} maps, but the model gives {count}; "
                "give one entry a map, the largest map first"
            )
    levels = zip(settings.anchors, settings.strides, reach, strict=True)
    return [Level(np.asarray(anchors, np.float32), stride, scale) for anchors, stride, scale in levels]


def _split_anchors(settings: YoloAnchors, output: Singles, count: int, height_axis: int) -> Singles:
    """Return a map as (images, anchors, h, w, 5 + classes)."""
    shape = output.shape
    if output.ndim == 4:
        axis = 1 if height_axis == 2 else 3
        if shape[axis] % count:
            raise _misfit(settings, shape, count)
        output = output.reshape(*shape[:axis], count, shape[axis] // count, *shape[axis + 1 :])
        output = np.moveaxis(output, 2, -1) if axis == 1 else np.moveaxis(output, 3, 1)
    if output.shape[1] != count or output.shape[-1] < 6:
        raise _misfit(settings, shape, count)
    check_class_count(settings, output.shape[-1] - 5, shape)
    return output


def _misfit(settings: YoloAnchors, shape: tuple[int, ...], count: int) -> DecodeError:
    return DecodeError(
        f"decoder {settings.name!r}: decode.anchors has {count} anchors for the map of shape {shape}, which does not "
        "divide into as many times 5 + classes; correct decode.anchors"
    )


def _decode_one(settings: YoloAnchors, maps: Sequence[Singles], levels: Sequence[Level], where: Geometry) -> Detections:
    placed = [_place(settings, raw, level) for raw, level in zip(maps, levels, strict=True)]
    chances = np.concatenate([sigmoid(raw[..., 4:]).reshape(-1, raw.shape[-1] - 4) for raw in maps])
    scores = weigh(chances[:, 0], chances[:, 1:].T, objectness_alone=settings.objectness_alone)
    return detect(np.concatenate(placed), scores, where, settings)


def _place(settings: YoloAnchors, raw: Singles, level: Level) -> Singles:
    """Return the boxes, (anchors * h * w, 4) x1 y1 x2 y2 in tensor pixels, of one map, (anchors, h, w, 5 + classes)."""
    count, height, width, _ = raw.shape
    cells = cell_corners(height, width).reshape(height, width, 2)
    centers = (sigmoid(raw[..., :2]) * level.reach - (level.reach - 1) / 2 + cells) * level.stride
    with np.errstate(over="ignore"):  # damaged boxes are counted, not warned of
        factors = (2 * sigmoid(raw[..., 2:4])) ** 2 if settings.formula == "v5" else np.exp(raw[..., 2:4])
        sides = factors * level.anchors.reshape(count, 1, 1, 2)
    return centers_to_corners(np.concatenate([centers, sides], axis=-1).reshape(-1, 4))


FAMILY = Family(
    YoloAnchors,
    layout,
    decode_yolo_anchors,
    "2 to 4 maps (images, anchors * (5 + classes), h, w), with channels last, or with an axis for anchors",
)
