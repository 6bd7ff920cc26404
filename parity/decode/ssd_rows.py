"""Rows of 7, as Caffe's DetectionOutput, OpenVINO and TAO give them: image, label, score, x1 y1 x2 y2 as shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from parity.decode.coordinates import ShareSettings, shares_to_tensor
from parity.decode.family import Family, Fit
from parity.decode.parts import check_images, row_counts, whole_numbers
from parity.decode.rows import make_detections

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.decode.family import Shapes
    from parity.decode.shapes import Dimension
    from parity.decoded import Detections, Floats
    from parity.preprocess import Geometry

_COLUMNS = 7


class SsdRows(ShareSettings):
    """Rows (1, 1, rows, 7) of all images, or (images, 1, rows, 7), and where a model has it a count of them."""

    name: Literal["ssd_rows"] = "ssd_rows"
    """SSD of Caffe, OpenVINO and TAO, and whatever else ends in rows of 7. An image of -1 ends the list."""
    background: bool = True
    """Whether label 0 is the background: then the first class is label 1, and ``class_names`` begin with that."""


def layout(shapes: Shapes) -> Fit | None:
    """Return the fit of one output of rows of 7, and of a count if there is a second output."""
    rows = [name for name, shape in shapes.items() if _are_rows(shape)]
    counts = [name for name, shape in shapes.items() if not _are_rows(shape) and _is_count(shape)]
    if len(rows) != 1 or len(counts) > 1 or len(shapes) != 1 + len(counts):
        return None
    roles = dict(zip(("detections", "keep_count"), (*rows, *counts), strict=False))
    return Fit(roles, 0.95 if counts else 0.9, f"rows of {_COLUMNS}{' and a count of them' if counts else ''}")


def _are_rows(shape: tuple[Dimension, ...]) -> bool:
    return len(shape) == 4 and shape[1] == 1 and shape[3] == _COLUMNS


def _is_count(shape: tuple[Dimension, ...]) -> bool:
    return len(shape) <= 4 and all(length == 1 for length in shape[1:])


def decode_ssd_rows(
    settings: SsdRows, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[Detections, ...]:
    """Decode the rows of one feed; what lies behind the count or the end of the list is never looked at.

    Raises
    ------
    DecodeError
        Labels are no whole numbers, a count is none of the rows, or another number of images came.
    """
    lists = np.asarray(outputs["detections"]).astype(np.float64)[:, 0]
    counts = np.full(len(lists), lists.shape[1])
    if "keep_count" in outputs:
        counts = row_counts(settings.name, "keep_count", outputs["keep_count"], len(lists), lists.shape[1])
    filled = [_filled(rows[:count]) for rows, count in zip(lists, counts.tolist(), strict=True)]
    return tuple(
        _decode_one(settings, rows, where, astray)
        for rows, where, astray in zip(*_by_image(settings, filled, geometry), strict=True)
    )


def _filled(rows: Floats) -> Floats:
    """Return rows up to the end of the list, without those that are nothing but zeros and fill up an output."""
    ends = np.flatnonzero(rows[:, 0] < 0)
    listed = rows[: ends[0]] if len(ends) else rows
    filled: Floats = listed[(listed[:, 1:] != 0).any(axis=1)]
    return filled


def _by_image(
    settings: SsdRows, lists: Sequence[Floats], geometry: Sequence[Geometry]
) -> tuple[Sequence[Floats], Sequence[Geometry], Sequence[int]]:
    """Return each image's rows and geometry, and how many rows name an image that was not fed.

    A list for each image is that image's, whatever its rows say: exports differ in how they number rows of a batch.
    Of one list, each row goes where it says; rows astray are told of with the first image.
    """
    if len(lists) != 1 or len(geometry) == 1:
        check_images(settings.name, len(lists), geometry)
        return lists, geometry, [0] * len(geometry)
    [rows] = lists
    numbers = whole_numbers(settings.name, "the first column of detections", rows[:, 0])
    astray = int(np.count_nonzero(~((numbers >= 0) & (numbers < len(geometry)))))
    return [rows[numbers == image] for image in range(len(geometry))], geometry, [astray] + [0] * (len(geometry) - 1)


def _decode_one(settings: SsdRows, rows: Floats, geometry: Geometry, astray: int) -> Detections:
    labels = whole_numbers(settings.name, "the second column of detections", rows[:, 1])
    boxes = shares_to_tensor(rows[:, 3:], geometry, settings.input_size, settings.name)
    classes = labels - 1 if settings.background else labels
    flaws = {"no such image": astray} if astray else {}
    return make_detections(boxes, rows[:, 2], classes, geometry, settings, flaws=flaws)


FAMILY = Family(SsdRows, layout, decode_ssd_rows, "(1, 1, rows, 7) or (images, 1, rows, 7)")
