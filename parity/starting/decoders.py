"""Which decoder reads a model's outputs: by its metadata, the outputs' shapes, and the values in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from parity.decode import FAMILIES, find_layouts
from parity.starting.guess import Guess, Mark, updated
from parity.starting.lane_grid import lane_settings
from parity.starting.value_marks import Parts, look

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.decode import DecodeSettings, Fit
    from parity.starting.ultralytics import Metadata

_NAMED = 200.0
"""The odds of a decoder that the model's own metadata names."""
_NO_IMAGES = 0.1
_CALLED_OTHERWISE = 0.05
_OTHER_THINGS = re.compile(
    r"(?<![a-z])(heatmaps?|depth|disparity|embeds?|embeddings?|hidden_states?)(?![a-z])", re.IGNORECASE
)
"""What names of outputs say that no decoder here reads."""
_SMALLEST_DOUBT = 1e-9

SORTED_FAMILIES = frozenset(
    {
        *("yolov10", "yolo26_seg", "yolo26_pose", "yolo26_obb", "ssd_rows", "torchvision_boxes", "tf_detections"),
        *("efficient_nms", "rtdetr", "rtdetr_ultralytics"),
    }
)
"""Families whose models sort or choose their rows by score: rows change places where two scores swap."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A way to read outputs.

    Attributes
    ----------
    settings
        None where only the user knows what the decoder has to be told.
    given
        The settings that differ from the decoder's defaults, as a case file has them.
    read
        The outputs that it reads, as tolerances name them: ``*`` for all of the model's.
    are_labels
        Whether the one output holds labels, each the largest of scores that the model does not give.
    """

    family: str
    settings: DecodeSettings | None
    given: Mapping[str, Any]
    read: tuple[str, ...] = ("*",)
    are_labels: bool = False

    @property
    def is_sorted(self) -> bool:
        """Whether rows may change places."""
        return self.family in SORTED_FAMILIES

    @property
    def is_chosen(self) -> bool:
        """Whether rounding swaps whole values where two scores are near each other: compared one by one they miss."""
        return self.is_sorted or self.are_labels


def rank_decoders(
    outputs: Sequence[Mapping[str, np.ndarray]], metadata: Metadata | None, size: tuple[int, int] | None
) -> tuple[Guess[Reading], ...]:
    """Return the decoders that outputs may be read by, the likeliest first; none where no layout fits.

    Parameters
    ----------
    outputs
        What the model gave for some inputs; the more they differ, the more their values say.
    size
        (height, width) of the input tensor; None where it takes no images.
    """
    if not outputs:
        return ()
    shapes = {name: array.shape for name, array in outputs[0].items()}
    ranked = [_judged(name, fit, outputs, metadata, size) for name, fit in find_layouts(shapes)]
    return tuple(sorted(_exclusive(ranked), key=lambda guess: -guess.certainty))


def _exclusive(guesses: Sequence[Guess[Reading]]) -> list[Guess[Reading]]:
    """Return guesses with certainties of which at most one is right: by their odds, against none being right."""
    odds = [guess.certainty / max(1.0 - guess.certainty, _SMALLEST_DOUBT) for guess in guesses]
    whole = 1.0 + sum(odds)
    return [replace(guess, certainty=one / whole) for guess, one in zip(guesses, odds, strict=True)]


def _judged(
    family: str,
    fit: Fit,
    outputs: Sequence[Mapping[str, np.ndarray]],
    metadata: Metadata | None,
    size: tuple[int, int] | None,
) -> Guess[Reading]:
    parts = _parts(fit, outputs)
    seen = look(family, parts, size)
    settings, question = _settings(family, fit, seen.settings, parts, metadata)
    # Layouts are those of models that take images: anything gives a row of numbers.
    strange = (Mark(_NO_IMAGES, "no input takes images"),) if size is None else ()
    marks = (*strange, *_named(family, metadata), *_called(fit), *seen.marks)
    sentences = (fit.reason, *(mark.sentence for mark in marks))
    read = tuple(fit.outputs.values())
    reading = Reading(
        family=family,
        settings=_validated(family, settings),
        given=settings,
        read=read if outputs[0].keys() - set(read) else ("*",),
        are_labels=family == "segmentation" and parts["map"].dtype.kind in "iu",
    )
    return Guess(reading, updated(min(fit.certainty, 0.99), marks), sentences, question)


def _parts(fit: Fit, outputs: Sequence[Mapping[str, np.ndarray]]) -> Parts:
    """Return the outputs of all inputs by the decoder's names; where their sizes differ, those of the first."""
    return {role: _joined([one[name] for one in outputs]) for role, name in fit.outputs.items()}


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    alike = [array for array in arrays if array.shape[1:] == arrays[0].shape[1:]]
    return np.concatenate(alike) if arrays[0].ndim else np.stack(alike)


def _named(family: str, metadata: Metadata | None) -> tuple[Mark, ...]:
    if metadata is None or not metadata.families:
        return ()
    if family in metadata.families:
        return (Mark(_NAMED, f"its metadata names the task {metadata.task}"),)
    return (Mark(1 / _NAMED, f"its metadata names another task, {metadata.task}"),)


def _called(fit: Fit) -> tuple[Mark, ...]:
    other = next((name for name in fit.outputs.values() if _OTHER_THINGS.search(name)), None)
    return (Mark(_CALLED_OTHERWISE, f"the output is called {other}"),) if other is not None else ()


def _settings(
    family: str, fit: Fit, seen: Mapping[str, Any], parts: Parts, metadata: Metadata | None
) -> tuple[dict[str, Any], str]:
    """Return a decoder's settings, and what is left to ask."""
    settings = {**{key: value for key, value in fit.settings.items() if _knows(family, key)}, **seen}
    question = ""
    if family == "lanes":
        more, question = lane_settings(
            parts["grid"].shape, parts["attributes"].shape if "attributes" in parts else None
        )
        settings |= more
    elif family == "yolo_anchors":
        question = "which anchors was it trained with? decode.anchors: width and height of each, the largest map first"
    if family in {"yolov8_pose", "yolo26_pose"} and metadata and metadata.keypoints:
        settings |= {"keypoints": metadata.keypoints[0], "keypoint_values": metadata.keypoints[1]}
    return settings, question


def _knows(family: str, key: str) -> bool:
    return key in FAMILIES[family].settings.model_fields


def _validated(family: str, settings: Mapping[str, Any]) -> DecodeSettings | None:
    try:
        return FAMILIES[family].settings.model_validate({**settings, "name": family})
    except ValidationError:
        return None
