"""What heads share that say something at every place of a grid: which boxes are worth thinning out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.decode.nms import suppress
from parity.decode.rows import find_damage, make_detections
from parity.decode.settings import NmsSettings
from parity.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from parity.decode.settings import DecodeSettings
    from parity.decoded import Detections, Floats, Integers
    from parity.preprocess import Geometry

    Singles = NDArray[np.float32]


class DenseSettings(NmsSettings):
    """What decoders of such heads share."""

    multi_label: bool = False
    """Whether a place may give a box for each class, not for its best alone; published average precision often does."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Boxes of one image that enter non-maximum suppression.

    Attributes
    ----------
    boxes
        (n, 4) float64, x1 y1 x2 y2, tensor pixels.
    scores
        (n,) float64.
    classes
        (n,) int64.
    places
        (n,) int64: which place of the head each comes from, for keypoints, angles and mask coefficients.
    flaws
        Damage at all places, those below the threshold included.
    """

    boxes: Floats
    scores: Floats
    classes: Integers
    places: Integers
    flaws: Mapping[str, int]


def pick_candidates(boxes: Singles, scores: Singles, settings: DenseSettings) -> Candidates:
    """Return each place's best class, or all of its classes, from ``ap_score_threshold`` on.

    Parameters
    ----------
    boxes
        (places, 4), x1 y1 x2 y2, tensor pixels.
    scores
        (classes, places), 0 to 1. Of equally good classes the one of the lower number is the best.
    """
    best = scores.max(axis=0)
    sound, flaws = find_damage(boxes, best)
    places = np.flatnonzero(sound & (best >= settings.ap_score_threshold))
    if settings.multi_label:
        rows, classes = np.nonzero(scores[:, places].T >= settings.ap_score_threshold)
        places = places[rows]
    else:
        classes = scores[:, places].argmax(axis=0)
    found = scores[classes, places].astype(np.float64)
    return Candidates(boxes[places].astype(np.float64), found, classes, places, flaws)


def detect(boxes: Singles, scores: Singles, geometry: Geometry, settings: DenseSettings) -> Detections:
    """Return one image's detections of a head without further parts; parameters as in ``pick_candidates``."""
    found = pick_candidates(boxes, scores, settings)
    kept = suppress(found.boxes, found.scores, found.classes, settings)
    return make_detections(
        found.boxes[kept], found.scores[kept], found.classes[kept], geometry, settings, flaws=found.flaws
    )


def centers_to_corners(boxes: Singles) -> Singles:
    """Turn boxes, (..., 4) cx cy w h, to x1 y1 x2 y2."""
    half = boxes[..., 2:] / 2
    corners: Singles = np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], axis=-1)
    return corners


def sigmoid(logits: Singles) -> Singles:
    """Return 1 / (1 + exp(-x)), which neither overflows nor warns."""
    tail = np.exp(-np.abs(logits))
    probabilities: Singles = np.where(logits >= 0, 1, tail) / (1 + tail)
    return probabilities


def as_float32(output: np.ndarray) -> Singles:
    """Return an output of any float dtype, half and bfloat16 included, as float32."""
    return np.asarray(output).astype(np.float32, copy=False)


def check_class_count(settings: DecodeSettings, found: int, shape: tuple[int, ...]) -> None:
    """Raise DecodeError where the case names another number of classes than the output has."""
    named = len(settings.class_names)
    if named and named != found:
        raise DecodeError(
            f"decoder {settings.name!r}: class_names has {named} names, but an output of shape {shape} has {found} "
            "classes; name each class, or choose another decode.name"
        )
