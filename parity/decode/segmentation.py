"""Semantic segmentation: a class for each pixel of the output."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from parity.decode.dense import as_float32, check_class_count, sigmoid
from parity.decode.family import Family, Fit
from parity.decode.parts import check_images, count_flaws, whole_numbers
from parity.decode.probabilities import unusable
from parity.decode.settings import DecodeSettings, Share
from parity.decoded import LabelMap, Task
from parity.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from parity.decode.dense import Singles
    from parity.decode.family import Shapes
    from parity.decode.shapes import Dimension
    from parity.decoded import Floats, Integers
    from parity.preprocess import Geometry

UNKNOWN = -1
"""The label of a pixel whose scores make no sense."""

# A map has about as many rows as columns, and many of both; rows of boxes have not.
_FEWEST, _LONGEST_SIDE = 16, 4


class SegmentationSettings(DecodeSettings):
    """One output: scores (images, classes, h, w), one score (images, 1, h, w), or labels (images, h, w)."""

    task: ClassVar[Task] = Task.SEGMENTATION

    name: Literal["segmentation"] = "segmentation"
    """Semantic segmentation."""
    values: Literal["scores", "labels", "auto"] = "auto"
    """What the output holds; auto: labels if its numbers are integers, else scores."""
    scores: Literal["logit", "probability"] = "logit"
    """What scores are: logits, which become probabilities by softmax, or by sigmoid of one alone; or probabilities."""
    threshold: Share = 0.5
    """Of one score alone: the probability above which a pixel has label 1."""
    channels: Literal["first", "last"] = "first"
    """Where the classes of scores stand: (images, classes, h, w) or (images, h, w, classes)."""


def layout(shapes: Shapes) -> Fit | None:
    """Return the fit of one output of rank 3 or 4."""
    if len(shapes) != 1:
        return None
    [(name, shape)] = shapes.items()
    if len(shape) not in {3, 4}:
        return None
    outputs = {"map": name}
    if len(shape) == 3:
        return Fit(outputs, 0.3 if _is_map(shape[1], shape[2]) else 0.02, f"{shape[1]} x {shape[2]} labels, or rows")
    if _is_map(shape[2], shape[3]):
        return Fit(outputs, 0.7, f"{shape[2]} x {shape[3]} pixels with {shape[1]} scores each, or raw boxes of a grid")
    if _is_map(shape[1], shape[2]):
        reason = f"{shape[1]} x {shape[2]} pixels with {shape[3]} scores each"
        return Fit(outputs, 0.5, reason, {"channels": "last"})
    return Fit(outputs, 0.02, "an output of rank 4, of an unusual shape for a map")


def _is_map(height: Dimension, width: Dimension) -> bool:
    if isinstance(height, str) or isinstance(width, str):
        return isinstance(height, str) and isinstance(width, str)
    shorter, longer = sorted((height, width))
    return shorter >= _FEWEST and longer <= _LONGEST_SIDE * shorter


def decode_segmentation(
    settings: SegmentationSettings, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[LabelMap, ...]:
    """Decode the maps of one feed.

    Raises
    ------
    DecodeError
        ``class_names`` does not fit the scores, labels are no whole numbers, or another number of images came.
    """
    output = outputs["map"]
    check_images(settings.name, len(output), geometry)
    if settings.values == "labels" or (settings.values == "auto" and output.dtype.kind in "iub"):
        return tuple(_read_labels(settings, image) for image in output.reshape(_label_shape(settings, output)))
    scores = as_float32(output)
    scores = scores[:, None] if scores.ndim == 3 else scores
    scores = np.moveaxis(scores, -1, 1) if settings.channels == "last" and output.ndim == 4 else scores
    if scores.shape[1] == 1:
        return tuple(_split(settings, image[0]) for image in scores)
    check_class_count(settings, scores.shape[1], output.shape)
    return tuple(_choose(settings, image) for image in scores)


def _label_shape(settings: SegmentationSettings, output: np.ndarray) -> tuple[int, ...]:
    """Return (images, h, w) of labels that may have an axis of one class besides."""
    if output.ndim == 3:
        return output.shape
    single = 1 if settings.channels == "first" else 3
    if output.shape[single] != 1:
        raise DecodeError(
            f"decoder {settings.name!r}: found labels of shape {output.shape}; expected (images, h, w) or "
            "(images, 1, h, w); are they scores? Then set decode.values to scores"
        )
    return tuple(length for axis, length in enumerate(output.shape) if axis != single)


def _read_labels(settings: SegmentationSettings, image: np.ndarray) -> LabelMap:
    numbers = whole_numbers(settings.name, "map", image)
    broken = ~np.isfinite(numbers)
    labels = np.where(broken, UNKNOWN, numbers).astype(np.int64)
    strange = (labels < 0) | (labels >= (len(settings.class_names) or np.inf))
    return LabelMap(labels, None, count_flaws({"non-finite label": broken, "no such class": strange & ~broken}))


def _split(settings: SegmentationSettings, scores: Singles) -> LabelMap:
    """Return labels 0 and 1 of one score a pixel, (h, w); of two equal ones, 0."""
    broken = ~np.isfinite(scores) if settings.scores == "probability" else np.isnan(scores)
    chances = scores.astype(np.float64) if settings.scores == "probability" else sigmoid(scores.astype(np.float64))
    labels = (chances > settings.threshold).astype(np.int64)
    # At a threshold of one half this is the probability of the one less that of the other.
    return _without(broken, labels, 2 * np.abs(chances - settings.threshold))


def _choose(settings: SegmentationSettings, scores: Singles) -> LabelMap:
    """Return the best class of each pixel of scores, (classes, h, w); of equal ones, the first."""
    with np.errstate(invalid="ignore"):  # pixels without a number are counted, not warned of
        labels, best, second = _best_two(scores)
        margins = best.astype(np.float64) - second
        if settings.scores == "logit":
            # Probabilities are exp(score - best) over their sum; that of the best is 1 over it.
            margins = -np.expm1(-margins) / sum(np.exp(plane - best) for plane in scores)
    return _without(unusable(best) | np.isneginf(best), labels, margins)


def _best_two(scores: Singles) -> tuple[Integers, Singles, Singles]:
    """Return the best class of each pixel, its score and the second's; NaN where a score is NaN.

    Class by class: along the first axis NumPy's own partition and argmax jump through memory, and take seven times as
    long.
    """
    best, second = scores[0], np.full_like(scores[0], -np.inf)
    labels = np.zeros(best.shape, np.int64)
    for label, plane in enumerate(scores[1:], start=1):
        labels[plane > best] = label
        second = np.maximum(second, np.minimum(best, plane))
        best = np.maximum(best, plane)
    return labels, best, second


def _without(broken: NDArray[np.bool_], labels: Integers, margins: Floats) -> LabelMap:
    flaws = count_flaws({"non-finite score": broken})
    return LabelMap(np.where(broken, UNKNOWN, labels), np.where(broken, 0.0, margins), flaws)


FAMILY = Family(
    SegmentationSettings,
    layout,
    decode_segmentation,
    "(images, classes, h, w), (images, 1, h, w) or (images, h, w)",
)
