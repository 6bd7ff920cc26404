"""Classification: a score for each class of the whole image."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from parity.decode.dense import check_class_count
from parity.decode.family import Family, Fit
from parity.decode.parts import check_images, count_flaws
from parity.decode.probabilities import softmax, unusable
from parity.decode.settings import DecodeSettings
from parity.decoded import Classification, Task
from parity.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from parity.decode.family import Shapes
    from parity.decoded import Floats
    from parity.preprocess import Geometry

# What a sum of probabilities may be off by: float32, and half or bfloat16. With fewer classes than that, scores of low
# precision add up to 1 by chance.
_FINE, _COARSE = 1e-5, 1e-2
_ENOUGH_CLASSES = 8
# The step of bfloat16 above 1: rounding alone leads that far outside 0 to 1.
_SLACK = 2**-7


class ClassificationSettings(DecodeSettings):
    """One output, (images, classes) or (images, classes, 1, 1)."""

    task: ClassVar[Task] = Task.CLASSIFICATION

    name: Literal["classification"] = "classification"
    """Classifiers of one class an image."""
    scores: Literal["logit", "probability"] = "logit"
    """What the output holds: logits, which become probabilities by softmax, or probabilities, which stay."""


def layout(shapes: Shapes) -> Fit | None:
    """Return the fit of one output of at least 2 classes."""
    if len(shapes) != 1:
        return None
    [(name, shape)] = shapes.items()
    if len(shape) not in {2, 4} or any(length != 1 for length in shape[2:]) or shape[1] == 1:
        return None
    return Fit({"scores": name}, 0.7, f"{shape[1]} scores for each image")


def decode_classification(
    settings: ClassificationSettings, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[Classification, ...]:
    """Decode the scores of one feed.

    Raises
    ------
    DecodeError
        ``class_names`` does not fit, or what should be logits are probabilities: softmax of those would make every
        margin small.
    """
    output = outputs["scores"]
    check_images(settings.name, len(output), geometry)
    scores = output.reshape(len(output), output.shape[1]).astype(np.float64)
    check_class_count(settings, scores.shape[1], output.shape)
    if settings.scores == "probability":
        return tuple(Classification(image, _flaws(image, outside=True)) for image in scores)
    if _are_probabilities(scores, output.dtype.itemsize):
        raise DecodeError(
            f"decoder {settings.name!r}: each image's scores add up to 1, so they are no logits; set decode.scores to "
            "probability"
        )
    return tuple(
        Classification(chances, _flaws(image)) for image, chances in zip(scores, softmax(scores, axis=1), strict=True)
    )


def _are_probabilities(scores: Floats, item_size: int) -> bool:
    fine = item_size >= np.dtype(np.float32).itemsize
    if not len(scores) or not (fine or scores.shape[1] >= _ENOUGH_CLASSES):
        return False
    within: NDArray[np.bool_] = (scores >= 0) & (scores <= 1)
    return bool(within.all() and (np.abs(scores.sum(axis=1) - 1) <= (_FINE if fine else _COARSE)).all())


def _flaws(scores: Floats, *, outside: bool = False) -> dict[str, int]:
    """Return how many scores make no sense, by reason; with ``outside``, those are counted that are no probability."""
    # Of nothing but impossible classes there are no probabilities either.
    broken = unusable(scores) | np.isneginf(scores).all()
    strange = ~broken & ((scores < -_SLACK) | (scores > 1 + _SLACK)) & outside
    return count_flaws({"non-finite score": broken, "score outside 0 to 1": strange})


FAMILY = Family(ClassificationSettings, layout, decode_classification, "(images, classes), or (images, classes, 1, 1)")
