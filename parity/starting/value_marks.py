"""What the values of outputs say for or against a decoder, and of its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.starting.guess import Mark

if TYPE_CHECKING:
    from parity.decoded import Floats

Parts = Mapping[str, np.ndarray]
"""Outputs by the decoder's names for them, images first."""
Size = tuple[int, int]
"""Height and width of the input tensor."""

_FOR, _STRONGLY_FOR = 3.0, 8.0
_AGAINST, _STRONGLY_AGAINST = 0.2, 0.05
_RULED_OUT = 0.005
_SHARES = 2.0
"""Boxes in pixels reach beyond this, and shares of an image do not."""
_FULL_TURN = 2 * np.pi
_SLACK = 0.01
"""What half precision and rounding take a probability beyond 0 and 1."""
_CHANNELS = 3
_LABEL_BYTES = 4
_LEAST_EMBEDDING = 16
"""Numbers of an image from which one length for all of them is no accident."""
_SORTED = 0.99
_LEAST_SIZE = 20.0
"""Widths in tensor pixels reach beyond this; logarithms of them do not."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen: marks, and settings of the decoder that follow."""

    marks: tuple[Mark, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def look(family: str, parts: Parts, size: Size | None) -> Seen:
    """Return what the values say of a family, nothing where it has no test of its own.

    Parameters
    ----------
    parts
        The family's outputs on some inputs, whose layout fits.
    size
        (height, width) of the input tensor; None where it takes no images.
    """
    values = {role: array.astype(np.float64) for role, array in parts.items() if _are_numbers(array)}
    if len(values) != len(parts) or not all(np.isfinite(array).any() for array in values.values()):
        return Seen()
    if family != "segmentation":
        strange = _strange(parts, size)
        if strange is not None:
            return Seen((strange,))
    if family in _LOOKS_AT_PIXELS:
        return _LOOKS_AT_PIXELS[family](values, size)
    return _LOOKS[family](values) if family in _LOOKS else Seen()


def _are_numbers(array: np.ndarray) -> bool:
    """Whether an array holds numbers, of floats that NumPy does not know by itself as well, such as bfloat16."""
    return bool(array.size) and (array.dtype.kind in "fiu" or "float" in str(array.dtype))


def _strange(parts: Parts, size: Size | None) -> Mark | None:
    """Return what speaks against every family but those of maps; None where nothing does."""
    # A quantized model's scores may be bytes.
    if all(array.dtype.kind in "iu" and array.itemsize >= _LABEL_BYTES for array in parts.values()):
        return Mark(_RULED_OUT, "all numbers are integers: labels, not boxes or scores")
    if size is not None and any(array.shape[1:] == size for array in parts.values()):
        return Mark(_RULED_OUT, f"{size[0]} x {size[1]} is the image's own size: a map of its pixels")
    if len(parts) == 1 and any(
        array.ndim == 3 and _adds_up(array, axis) for array in parts.values() for axis in (1, 2)
    ):
        return Mark(_RULED_OUT, "the numbers of each place add up to 1: what is likely there, and no box")
    return None


def _adds_up(array: np.ndarray, axis: int) -> bool:
    """Whether numbers along an axis are a distribution."""
    values = array.astype(np.float64)
    return array.shape[axis] > 1 and bool(values.min() >= 0 and np.allclose(values.sum(axis=axis), 1.0, atol=_SLACK))


def _range(values: Floats) -> tuple[float, float]:
    return float(np.nanmin(values)), float(np.nanmax(values))


def _are_probabilities(values: Floats) -> bool:
    low, high = _range(values)
    return low >= -_SLACK and high <= 1.0 + _SLACK


def _are_whole(values: Floats) -> bool:
    return bool((values == np.round(values)).all())


def _between(values: Floats) -> str:
    low, high = _range(values)
    return f"{low:.3g} to {high:.3g}"


def _falling(scores: Floats) -> bool:
    """Whether scores, (images, rows), fall along the rows."""
    steps = np.diff(scores, axis=1)
    return bool(steps.size) and float((steps <= 0).mean()) >= _SORTED


def _scale(boxes: Floats, size: Size | None) -> tuple[Mark, dict[str, Any]]:
    """Return what coordinates are in, and the setting of that."""
    largest = float(np.nanmax(np.abs(boxes)))
    if largest <= _SHARES and size is not None:
        # Few exports of this family do that, and others always do.
        return Mark(0.5, f"boxes reach {largest:.3g}: shares of the image"), {"normalized_to": list(size)}
    return Mark(_FOR, f"boxes reach {largest:.4g}: pixels of the input"), {}


def _channels(parts: Parts) -> Floats:
    """Return the values of a dense head, (images, places, channels)."""
    predictions: Floats = parts["predictions"]
    return predictions.swapaxes(1, 2) if predictions.shape[1] < predictions.shape[2] else predictions


def _yolov8(parts: Parts, size: Size | None) -> Seen:
    rows = _channels(parts)
    scale, settings = _scale(rows[..., :4], size)
    scores = rows[..., 4:]
    sizes = Mark(
        _FOR if float(np.nanmin(rows[..., 2:4])) >= 0 else _AGAINST,
        f"widths and heights are {_between(rows[..., 2:4])}",
    )
    if _are_probabilities(scores):
        return Seen((scale, sizes, Mark(_FOR, f"all scores are {_between(scores)}: probabilities")), settings)
    inside = [_are_probabilities(scores[..., index]) for index in range(scores.shape[-1])]
    if any(inside):
        odd = Mark(_STRONGLY_AGAINST, f"some channels behind the box are in 0 to 1 and others {_between(scores)}")
        return Seen((scale, sizes, odd), settings)
    logits = Mark(1.0, f"all scores are {_between(scores)}: logits")
    return Seen((scale, sizes, logits), {**settings, "scores": "logit"})


def _yolov8_obb(parts: Parts) -> Seen:
    rows = _channels(parts)
    angle, scores = rows[..., -1], rows[..., 4:-1]
    is_angle = not _are_probabilities(angle) and float(np.abs(angle).max()) <= _FULL_TURN and _are_probabilities(scores)
    odds = _STRONGLY_FOR * _FOR if is_angle else _AGAINST
    return Seen((Mark(odds, f"the last channel is {_between(angle)}, {'radians' if is_angle else 'no angle'}"),))


def _yolov8_pose(parts: Parts) -> Seen:
    rows = _channels(parts)
    behind = rows[..., 5:]
    are_points = float(behind.max()) > _FULL_TURN and _are_probabilities(rows[..., 4])
    odds = _STRONGLY_FOR * _FOR if are_points else _STRONGLY_AGAINST
    return Seen(
        (
            Mark(
                odds,
                f"behind the first score channels are {_between(behind)}, {'pixels' if are_points else 'no places'}",
            ),
        )
    )


def _objectness(parts: Parts, size: Size | None) -> Seen:
    rows = _channels(parts)
    scale, settings = _scale(rows[..., :4], size)
    scores = rows[..., 4:]
    odds = _FOR if _are_probabilities(scores) else _STRONGLY_AGAINST
    return Seen((scale, Mark(odds, f"objectness and classes are {_between(scores)}")), settings)


def _yolox(parts: Parts, size: Size | None) -> Seen:
    rows = _channels(parts)
    sides, scores = rows[..., 2:4], rows[..., 4:]
    mark = Mark(
        _FOR if _are_probabilities(scores) else _STRONGLY_AGAINST, f"objectness and classes are {_between(scores)}"
    )
    settings: dict[str, Any] = {"input_size": list(size)} if size else {}
    if float(np.nanmax(sides)) > _LEAST_SIZE:
        return Seen(
            (mark, Mark(1.0, f"widths and heights are {_between(sides)}: decoded in the graph")),
            {**settings, "decoded": True},
        )
    raw = _when(
        float(np.nanmin(rows[..., :4])) < 0,
        f"widths and heights are {_between(sides)}: logarithms, not decoded",
        "no number of a box is below 0, as raw ones are in places",
    )
    return Seen((mark, raw), settings)


def _yolov10(parts: Parts, size: Size | None) -> Seen:
    rows: Floats = parts["detections"]
    scale, settings = _scale(rows[..., :4], size)
    marks = (
        scale,
        _when(_falling(rows[..., 4]), "the scores of each image fall from row to row", "scores are in no order"),
        _when(
            _are_whole(rows[..., 5]), "the last column holds whole numbers: classes", "the last column holds fractions"
        ),
        _when(bool((rows[..., 2] >= rows[..., 0]).all()), "x2 is never left of x1", "x2 lies left of x1 in places"),
    )
    return Seen(marks, settings)


def _yolo26(parts: Parts) -> Seen:
    rows: Floats = parts["detections"]
    scores, labels = rows[..., 4], rows[..., 5]
    return Seen(
        (
            _when(_are_probabilities(scores), "the fifth column is a score", f"the fifth column is {_between(scores)}"),
            # A column of whole numbers is no score of a class, and no coordinate.
            Mark(_STRONGLY_FOR * _FOR, "the sixth column holds whole numbers: classes")
            if _are_whole(labels) and float(labels.max()) > 0
            else Mark(_STRONGLY_AGAINST, "the sixth column holds no classes"),
        )
    )


def _when(holds: bool, sentence: str, otherwise: str) -> Mark:
    return Mark(_FOR, sentence) if holds else Mark(_AGAINST, otherwise)


def _rtdetr_ultralytics(parts: Parts) -> Seen:
    rows: Floats = parts["predictions"]
    boxes, scores = rows[..., :4], rows[..., 4:]
    return Seen(
        (
            _when(
                float(boxes.max()) <= _SHARES, "boxes are shares of the image", f"boxes reach {float(boxes.max()):.4g}"
            ),
            _when(_are_probabilities(scores), "scores are probabilities", f"scores are {_between(scores)}"),
        )
    )


def _ssd_rows(parts: Parts) -> Seen:
    rows: Floats = parts["detections"][:, 0]
    labels, scores, boxes = rows[..., 1], rows[..., 2], rows[..., 3:]
    marks = [
        _when(
            _are_whole(rows[..., :2]),
            "the first two columns hold whole numbers: image and label",
            "labels have fractions",
        ),
        _when(
            _are_probabilities(scores),
            f"the third column is {_between(scores)}: a score",
            f"the third column is {_between(scores)}",
        ),
        _when(float(np.abs(boxes).max()) <= _SHARES, "the boxes are shares of the image", "the boxes are no shares"),
    ]
    if _falling(scores):
        marks.append(Mark(_FOR, "the scores of each list fall from row to row"))
    if "keep_count" in parts:
        counts: Floats = parts["keep_count"]
        is_count = _are_whole(counts) and float(counts.max()) <= rows.shape[1]
        marks.append(
            _when(is_count, f"keep_count is {_between(counts)} of {rows.shape[1]} rows", "keep_count is no count")
        )
    listed = labels[scores > 0]
    is_counted_from_0 = bool(listed.size) and float(listed.min()) < 1
    if is_counted_from_0:
        marks.append(Mark(1.0, "label 0 is among those that have a score: no background"))
    return Seen(tuple(marks), {"background": False} if is_counted_from_0 else {})


def _classification(parts: Parts) -> Seen:
    scores: Floats = parts["scores"].reshape(len(parts["scores"]), -1)
    if _are_probabilities(scores):
        adds_up = bool(np.allclose(scores.sum(axis=1), 1.0, atol=_SLACK))
        how = "add up to 1 in every image: softmax" if adds_up else "are in 0 to 1: sigmoid"
        return Seen(
            (Mark(_STRONGLY_FOR if adds_up else 1.0, f"the scores {how} is in the graph"),), {"scores": "probability"}
        )
    if scores.shape[1] >= _LEAST_EMBEDDING and np.allclose(np.linalg.norm(scores, axis=1), 1.0, atol=_SLACK):
        return Seen((Mark(_STRONGLY_AGAINST, "each image's numbers have length 1: an embedding, no scores"),))
    return Seen((Mark(1.0, f"the scores are {_between(scores)}: logits"),))


def _counted(parts: Parts) -> Seen:
    marks = [
        _when(
            _are_probabilities(parts["scores"]), "scores are probabilities", f"scores are {_between(parts['scores'])}"
        )
    ]
    marks += [
        _when(_are_whole(parts[role]), f"{role} are whole numbers", f"{role} have fractions")
        for role in ("counts", "classes", "labels")
        if role in parts
    ]
    return Seen(tuple(marks))


def _segmentation(parts: Parts, size: Size | None) -> Seen:
    values: Floats = parts["map"]
    if values.ndim == 3:
        return Seen(_labels(values, size))
    if size is not None and _is_larger(values.shape, size):
        return Seen((Mark(_STRONGLY_AGAINST, "the map is larger than the image: an image, no labels"),))
    if size is not None and _is_image(values, size):
        return Seen((Mark(_STRONGLY_AGAINST, "the map has the image's own size and channels: an image, no labels"),))
    if _are_probabilities(values):
        return Seen((), {"scores": "probability"})
    if 1 in values.shape[1:] and float(np.nanmin(values)) >= 0:
        return Seen((Mark(_AGAINST, f"its one score is {_between(values)}: never below 0, as a logit is in places"),))
    return Seen()


def _labels(values: Floats, size: Size | None) -> tuple[Mark, ...]:
    if not _are_whole(values):
        return (Mark(_STRONGLY_AGAINST, "a map of labels would hold whole numbers"),)
    if values.shape[1:] != size or not values.any():
        return ()
    return (Mark(_STRONGLY_FOR * _FOR, "a whole number for each pixel of the image: labels"),)


def _is_image(values: Floats, size: Size) -> bool:
    """Whether a map, channels first or last, has the shape of a colour image and scores that are no distribution."""
    shapes = {1: (_CHANNELS, *size), 3: (*size, _CHANNELS)}
    return any(values.shape[1:] == shape and not _adds_up(values, axis) for axis, shape in shapes.items())


def _is_larger(shape: tuple[int, ...], size: Size) -> bool:
    """Whether a map, channels first or last, has more rows and more columns than the image."""
    maps = (shape[2:], shape[1:3])
    return any(height > size[0] and width > size[1] for height, width in maps)


_LOOKS: Mapping[str, Callable[[Parts], Seen]] = {
    "yolo26_seg": _yolo26,
    "yolo26_pose": _yolo26,
    "yolo26_obb": _yolo26,
    "yolov8_obb": _yolov8_obb,
    "yolov8_pose": _yolov8_pose,
    "rtdetr_ultralytics": _rtdetr_ultralytics,
    "ssd_rows": _ssd_rows,
    "classification": _classification,
    "efficient_nms": _counted,
    "tf_detections": _counted,
    "torchvision_boxes": _counted,
}
_LOOKS_AT_PIXELS: Mapping[str, Callable[[Parts, Size | None], Seen]] = {
    "segmentation": _segmentation,
    "yolov8": _yolov8,
    "yolov5": _objectness,
    "yolox": _yolox,
    "yolov10": _yolov10,
}
