"""The decoder of a case: a family's, or a Python function of the case folder, whose results are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.case.user_arrays import Layout, convert
from parity.case.user_code import iterate, load_function
from parity.decode import DetectionSettings, decode
from parity.decode.rows import make_detections
from parity.decoded import Classification, Detections, LabelMap, Lanes, Task
from parity.errors import DecodeError, FeedError
from parity.preprocess import Geometry

if TYPE_CHECKING:
    from pathlib import Path

    from parity.case.model import Case, Decoding
    from parity.decoded import Decoded

Decoder = Callable[[Mapping[str, np.ndarray], Sequence[Geometry]], tuple["Decoded", ...]]
"""Every output of a feed by name, batch axis included, and where each image lies -> one result an image."""

_TYPES: dict[Task, type[Any]] = {
    Task.DETECTION: Detections,
    Task.CLASSIFICATION: Classification,
    Task.LANES: Lanes,
    Task.SEGMENTATION: LabelMap,
}
_LAYOUTS: dict[Task, dict[str, Layout]] = {
    Task.DETECTION: {
        "boxes": Layout(("n", 4)),
        "scores": Layout(("n",)),
        "classes": Layout(("n",), "whole"),
        "corners": Layout(("n", 4, 2), optional=True),
        "keypoints": Layout(("n", "k", 3), optional=True),
        "masks": Layout(("n", "h", "w"), "truth", optional=True),
    },
    Task.CLASSIFICATION: {"scores": Layout(("c",))},
    Task.LANES: {
        "points": Layout(("lanes", "anchors", 2)),
        "attributes": Layout(("kinds", "lanes"), "whole"),
        "scores": Layout(("lanes", "anchors")),
    },
    Task.SEGMENTATION: {"labels": Layout(("h", "w"), "whole"), "margins": Layout(("h", "w"), optional=True)},
}


def open_decoder(case: Case) -> Decoder:
    """Return the decoder of a case that has ``[decode]``.

    Raises
    ------
    DecodeError
        Here, if a Python function cannot be loaded; in a call, if outputs do not fit the decoder or make no sense in
        it, or the function fails or gives something else than one result of the case's task an image.
    """
    decoding = case.decoding
    assert decoding is not None
    settings = decoding.settings
    if settings is not None:
        return lambda outputs, geometry: decode(settings, outputs, geometry)
    return _open_function(case.folder, decoding)


def _open_function(folder: Path, decoding: Decoding) -> Decoder:
    reference = decoding.function
    try:
        function = load_function(folder, reference)
    except FeedError as error:
        raise DecodeError(str(error)) from error

    def run(outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]) -> tuple[Decoded, ...]:
        try:
            # Copies: code that works in place would change what other checks are given.
            returned = function({name: np.array(tensor) for name, tensor in outputs.items()}, tuple(geometry))
            items = list(islice(iterate(folder, reference, returned), len(geometry) + 1))
        except FeedError as error:
            raise DecodeError(str(error)) from error
        if len(items) != len(geometry):
            found = f"more than {len(geometry)}" if len(items) > len(geometry) else str(len(items))
            raise DecodeError(f"{reference}: gave {found} results; expected {len(geometry)}, one an image of the feed")
        return tuple(
            _checked(item, decoding, one, f"{reference}: image {number}")
            for number, (item, one) in enumerate(zip(items, geometry, strict=True))
        )

    return run


def _checked(item: object, decoding: Decoding, geometry: Geometry, where: str) -> Decoded:
    """Return one result with its arrays converted; of detections, without rows that cannot be and highest score first.

    Raises
    ------
    DecodeError
        It is no such result. ``where`` stands before the message.
    """
    kind, layouts = _TYPES[decoding.task], _LAYOUTS[decoding.task]
    if isinstance(item, kind):
        values: Mapping[str, object] = {name: getattr(item, name) for name in layouts}
        flaws = item.flaws
    elif isinstance(item, Mapping):
        values, flaws = item, {}
    else:
        raise DecodeError(
            f"{where}: is {type(item).__name__}; expected parity.decoded.{kind.__name__}, or a mapping with "
            f"{', '.join(name for name, layout in layouts.items() if not layout.optional)}"
        )
    unknown = [str(name) for name in values if name not in layouts]
    try:
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not known; expected {', '.join(layouts)}")
        result = kind(**convert(values, layouts), flaws=dict(flaws))
    except ValueError as error:
        raise DecodeError(f"{where}: {error}") from error
    return _cleaned(result, geometry, decoding.class_names) if isinstance(result, Detections) else _counted(result)


def _counted(result: Classification | Lanes | LabelMap) -> Decoded:
    """Return a result that is no list of rows, whose NaN scores are counted."""
    if isinstance(result, Classification) and (count := int(np.isnan(result.scores).sum())):
        return Classification(result.scores, {**result.flaws, "nan score": count})
    return result


def _cleaned(found: Detections, geometry: Geometry, class_names: Sequence[str]) -> Detections:
    """Return what a family's decoder would make of the rows: damage counted and left out, clipped, best first."""
    # The boxes are in image pixels already, and how many there are is the function's business.
    image = Geometry(geometry.original_height, geometry.original_width)
    settings = DetectionSettings(
        name="python", class_names=list(class_names), ap_score_threshold=0, max_detections=max(len(found), 1)
    )
    return make_detections(
        *(found.boxes, found.scores, found.classes, image, settings),
        keypoints=found.keypoints,
        corners=found.corners,
        masks=found.masks,
        flaws=found.flaws,
    )
