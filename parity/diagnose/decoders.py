"""Other ways to decode the same outputs, and what in their values speaks for one of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import numpy as np
from pydantic import ValidationError

from parity.decode import FAMILIES, decode, find_layouts
from parity.decoded import Detections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from parity.case.decoder import Decoder
    from parity.decode import DecodeSettings
    from parity.decoded import Decoded
    from parity.diagnose.examples import Example
    from parity.preprocess import Geometry

    Tensors = Mapping[str, np.ndarray]

_SHARES = 2.0
"""Boxes in pixels reach beyond this, and shares of an image do not."""
_CENTERED = frozenset({"yolov5", "yolov8"})
_SIZES = ("normalized_to", "input_size")


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another way to decode.

    Attributes
    ----------
    what
        What the outputs would be, as a clause.
    remedy
        What to write into ``[decode]``, or to do.
    """

    what: str
    remedy: str
    decoder: Decoder


def alternatives(settings: DecodeSettings, example: Example) -> Iterator[Alternative]:
    """Yield the other ways: each setting the other way, boxes by other corners, other classes, other families."""
    for field, value in _other_values(settings, example):
        other = settings.model_copy(update={field: value})
        yield Alternative(
            f"{field} is {value} and not {getattr(settings, field)}",
            f"set {field} = {_toml(value)}",
            partial(decode, other),
        )
    if settings.name in _CENTERED:
        yield Alternative(
            "boxes are x1 y1 x2 y2 and not cx cy w h",
            "write a decoder that takes corners, or export centers and sizes",
            _behind(settings, partial(_centered, settings)),
        )
    yield Alternative(
        "classes are counted from 1, 0 being the background",
        "set background = true, or take 1 off each class",
        _shifted(settings),
    )
    yield from _other_families(settings, example)


def _other_values(settings: DecodeSettings, example: Example) -> Iterator[tuple[str, object]]:
    for field, info in type(settings).model_fields.items():
        now = getattr(settings, field)
        if field in _SIZES:
            yield field, (list(example.size) if now is None else None)
        elif field == "background":
            yield field, not now
        elif field != "name" and get_origin(info.annotation) is Literal:
            yield from ((field, value) for value in get_args(info.annotation) if value not in {now, "auto"})


def _other_families(settings: DecodeSettings, example: Example) -> Iterator[Alternative]:
    for name, fit in find_layouts({output: array.shape for output, array in example.outputs.items()}):
        if name == settings.name or FAMILIES[name].settings.task is not type(settings).task:
            continue
        try:
            other = FAMILIES[name].settings.model_validate({**fit.settings, **_shared(settings, name), "name": name})
        except ValidationError:
            # It asks for what nobody but the user knows, such as anchors.
            continue
        yield Alternative(f"the family is {name} ({fit.reason})", f'set name = "{name}"', partial(decode, other))


def _shared(settings: DecodeSettings, name: str) -> dict[str, Any]:
    """Return the settings that both families have and that mean the same in both."""
    common = {"class_names", "score_threshold", "ap_score_threshold", "max_detections", "nms_iou", "class_agnostic"}
    fields = FAMILIES[name].settings.model_fields
    return {field: getattr(settings, field) for field in common if field in fields and hasattr(settings, field)}


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def _behind(settings: DecodeSettings, change: Callable[[Tensors], Tensors]) -> Decoder:
    """Return the decoder behind a change of the outputs."""

    def run(outputs: Tensors, geometry: Sequence[Geometry]) -> tuple[Decoded, ...]:
        return decode(settings, change(outputs), geometry)

    return run


def _shifted(settings: DecodeSettings) -> Decoder:
    """Return the decoder with 1 taken off every class."""
    unnamed = settings.model_copy(update={"class_names": []})

    def run(outputs: Tensors, geometry: Sequence[Geometry]) -> tuple[Decoded, ...]:
        return tuple(
            replace(found, classes=found.classes - 1) if isinstance(found, Detections) else found
            for found in decode(unnamed, outputs, geometry)
        )

    return run


def _centered(settings: DecodeSettings, outputs: Tensors) -> Tensors:
    """Return outputs whose boxes, taken as corners, are centers and sizes."""
    name, array = _predictions(outputs)
    axis = _channel_axis(settings, array)
    moved = np.moveaxis(array, axis, -1).copy()
    low, high = moved[..., :2].copy(), moved[..., 2:4].copy()
    moved[..., :2], moved[..., 2:4] = (low + high) / 2, high - low
    return {**outputs, name: np.moveaxis(moved, -1, axis)}


def _predictions(outputs: Tensors) -> tuple[str, np.ndarray]:
    return next((name, array) for name, array in outputs.items() if array.ndim == 3)


def _channel_axis(settings: DecodeSettings, array: np.ndarray) -> int:
    return 1 if settings.name == "yolov8" and array.shape[1] < array.shape[2] else 2


def sniff(settings: DecodeSettings, example: Example) -> tuple[str, ...]:
    """Return what in the values of a YOLO head contradicts its settings, as sentences."""
    if settings.name not in _CENTERED | {"yolov10"} or not any(array.ndim == 3 for array in example.outputs.values()):
        return ()
    name, array = _predictions(example.outputs)
    rows = np.moveaxis(array, _channel_axis(settings, array), -1).astype(np.float64)
    return tuple(_contradictions(settings, name, rows))


def _contradictions(settings: DecodeSettings, name: str, rows: np.ndarray) -> Iterator[str]:
    boxes, scores = rows[..., :4], rows[..., 4:5] if settings.name == "yolov10" else rows[..., 4:]
    low, high = float(np.nanmin(scores)), float(np.nanmax(scores))
    if getattr(settings, "scores", "probability") == "probability" and not (low >= -0.01 and high <= 1.01):
        yield f"The scores of {name} lie between {low:.3g} and {high:.3g}: logits, or other columns, no probabilities."
    largest = float(np.nanmax(np.abs(boxes)))
    if getattr(settings, "normalized_to", None) is None and largest <= _SHARES:
        yield f"The boxes of {name} reach {largest:.3g}: shares of the image, no pixels."
    if getattr(settings, "normalized_to", None) is not None and largest > _SHARES:
        yield f"The boxes of {name} reach {largest:.3g}: pixels, no shares of the image."
    if settings.name == "yolov10" and (share := float(np.mean(boxes[..., 2] < boxes[..., 0]))) > 0:
        yield f"In {share:.1%} of the rows of {name} x2 lies left of x1: a center with a size, no corners."
