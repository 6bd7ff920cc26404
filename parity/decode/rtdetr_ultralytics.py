"""RT-DETR as Ultralytics exports it: a box and a score for each class in every row, or the box's score and class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from parity.decode.coordinates import ShareSettings, shares_to_tensor
from parity.decode.dense import as_float32, centers_to_corners, check_class_count
from parity.decode.family import Family, Fit
from parity.decode.parts import check_images, whole_numbers
from parity.decode.rows import make_detections
from parity.decode.shapes import is_grid, sole_output
from parity.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.decode.dense import Singles
    from parity.decode.family import Shapes
    from parity.decoded import Detections
    from parity.preprocess import Geometry

_PUBLISHED_ROWS = 300
# A box, a score and a class: rows of another family that look the same.
_ROW_OF_A_DETECTION = 6


class RtDetrUltralytics(ShareSettings):
    """One output, (images, rows, 4 + classes or 6): cx cy w h as shares of the input tensor, then probabilities."""

    name: Literal["rtdetr_ultralytics"] = "rtdetr_ultralytics"
    """RT-DETR exported by Ultralytics; rows need no thinning out."""
    scores: Literal["classes", "best"] = "classes"
    """What follows a box: a probability for each class, as up to Ultralytics 8.4.0; or one score and its class, as of
    8.4.60 at the latest."""


def layout(shapes: Shapes) -> Fit | None:
    """Return the fit of one output of rank 3 with at least 5 columns."""
    sole = sole_output(shapes, 3)
    if sole is None or isinstance(sole[1][2], str) or sole[1][2] < 4 + 1:
        return None
    name, (_, rows, columns) = sole
    if columns == _ROW_OF_A_DETECTION:
        reason = f"{rows} rows of {columns}: a box, a score, a class; YOLOv10 looks the same, and is more common"
        return Fit({"predictions": name}, 0.1, reason, {"scores": "best"})
    if is_grid(rows, 1):
        return Fit({"predictions": name}, 0.1, f"{rows} rows of {columns}: 4 + classes, or a family more common")
    certainty = 0.85 if rows == _PUBLISHED_ROWS else 0.2
    return Fit({"predictions": name}, certainty, f"{rows} rows of {columns}: 4 + classes, too few for a grid")


def decode_rtdetr_ultralytics(
    settings: RtDetrUltralytics, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[Detections, ...]:
    """Decode the rows of one feed.

    Raises
    ------
    DecodeError
        ``class_names`` or ``scores`` does not fit, classes are no whole numbers, another number of images came, or
        ``shares_to_tensor`` raises.
    """
    predictions = as_float32(outputs["predictions"])
    check_images(settings.name, len(predictions), geometry)
    if settings.scores == "classes":
        check_class_count(settings, predictions.shape[2] - 4, predictions.shape)
    elif predictions.shape[2] != _ROW_OF_A_DETECTION:
        raise DecodeError(
            f"decoder {settings.name!r}: found rows of {predictions.shape[2]}; expected {_ROW_OF_A_DETECTION}, a box, "
            "a score and a class; for a score of each class, set decode.scores to classes"
        )
    return tuple(_decode_one(settings, rows, where) for rows, where in zip(predictions, geometry, strict=True))


def _decode_one(settings: RtDetrUltralytics, rows: Singles, geometry: Geometry) -> Detections:
    boxes = shares_to_tensor(centers_to_corners(rows[:, :4]), geometry, settings.input_size, settings.name)
    scores, classes = _best(settings, rows[:, 4:])
    return make_detections(boxes, scores, classes, geometry, settings)


def _best(settings: RtDetrUltralytics, columns: Singles) -> tuple[Singles, np.ndarray]:
    """Return each row's score and class, both (n,)."""
    if settings.scores == "best":
        return columns[:, 0], whole_numbers(settings.name, "the last column of predictions", columns[:, 1])
    return columns.max(axis=1), np.asarray(columns.argmax(axis=1))


FAMILY = Family(
    RtDetrUltralytics, layout, decode_rtdetr_ultralytics, "(images, rows, 4 + classes), or (images, rows, 6)"
)
