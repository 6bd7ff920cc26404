"""Lanes on row anchors, as of Ultra-Fast-Lane-Detection: for each row and lane, one of many cells or none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from parity.decode.coordinates import shares_to_tensor
from parity.decode.dense import ImageSize  # noqa: TC001 - pydantic reads the annotation at run time
from parity.decode.family import Family, Fit
from parity.decode.parts import check_images, count_flaws
from parity.decode.probabilities import any_unusable, softmax
from parity.decode.rows import points_to_image
from parity.decode.settings import DecodeSettings, Share
from parity.decoded import Lanes, Task
from parity.errors import DecodeError
from parity.table import Count  # noqa: TC001 - pydantic reads the annotation at run time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from parity.decode.family import Shapes
    from parity.decode.shapes import Dimension
    from parity.decoded import Floats, Integers
    from parity.preprocess import Geometry

UNKNOWN = -1
"""The class of an attribute whose scores make no sense."""

KNOWN_GRIDS = ((201, 18, 4), (101, 56, 4), (201, 32, 4))
"""Cells and one for none, row anchors, lanes: of CULane and TuSimple as published, and of 32 anchors."""

_FEWEST_NUMBERS = 200
"""A grid has more numbers than most heads that stand beside another one."""
_MOST_LANES = 16


class LanesSettings(DecodeSettings):
    """A grid (images, cells + 1, anchors, lanes), and where a model has them attributes; either may be flattened."""

    task: ClassVar[Task] = Task.LANES

    name: Literal["lanes"] = "lanes"
    """Lanes on row anchors."""
    cells: Count = 200
    """Into how many cells a row is divided; the grid has one more, the last, for no lane."""
    row_anchors: Annotated[list[Share], Field(min_length=1)]
    """Where the rows lie, as shares of the input tensor's height, in the grid's order: 64 of 288 pixels is 0.2222."""
    lanes: Count = 4
    """How many lanes there are."""
    location: Literal["expectation", "argmax"] = "expectation"
    """Where in a row a lane is: at the mean of the cells, weighted by their probabilities, or at the best cell."""
    spacing: Literal["published", "equal"] = "published"
    """How wide a cell is: the tensor's width by cells - 1, as the family was published, or by cells."""
    input_size: ImageSize | None = None
    """Height and width of the input tensor; to be set where images are padded or cropped."""
    attribute_kinds: Count = 2
    """How many attributes a lane has; attributes are (images, kinds, lanes * classes), lane by lane."""


def layout(shapes: Shapes) -> Fit | None:
    """Return the fit of a grid, and of attributes if there is a second output."""
    if len(shapes) not in {1, 2} or any(len(shape) not in {2, 3, 4} for shape in shapes.values()):
        return None
    grid, *others = sorted(shapes, key=lambda name: -_count(shapes[name]))
    if len(shapes[grid]) == 3 or any(len(shapes[other]) == 4 for other in others):
        return None
    roles = dict(zip(("grid", "attributes"), (grid, *others), strict=False))
    certainty = _certainty(shapes[grid], paired=bool(others))
    return Fit(roles, certainty, f"{shapes[grid]} may be cells + 1, row anchors and lanes of each image, multiplied")


def _certainty(shape: tuple[Dimension, ...], *, paired: bool) -> float:
    known = any(shape[1:] in (grid, (int(np.prod(grid)),)) for grid in KNOWN_GRIDS)
    if known:
        return 0.9
    if len(shape) == 4 and isinstance(shape[3], int) and shape[3] <= _MOST_LANES:
        # A row has more cells than lanes.
        return 0.05 if isinstance(shape[1], int) and shape[1] <= shape[3] else 0.3
    return 0.3 if paired and _count(shape) >= _FEWEST_NUMBERS else 0.05


def _count(shape: tuple[Dimension, ...]) -> float:
    """Return how many numbers an image has; of an open axis, more than of any other."""
    return math.prod(math.inf if isinstance(length, str) else length for length in shape[1:])


def decode_lanes(
    settings: LanesSettings, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[Lanes, ...]:
    """Decode the lanes of one feed.

    Raises
    ------
    DecodeError
        The numbers of an output are not what the settings multiply to, or another number of images came.
    """
    for output in outputs.values():
        check_images(settings.name, len(output), geometry)
    grid = _grid(settings, outputs["grid"])
    chosen, unknown = _attributes(settings, outputs.get("attributes"), len(grid))
    return tuple(
        _decode_one(settings, image, classes, broken, where)
        for image, classes, broken, where in zip(grid, chosen, unknown, geometry, strict=True)
    )


def _grid(settings: LanesSettings, output: np.ndarray) -> Floats:
    """Return the logits as (images, cells + 1, anchors, lanes)."""
    shape = (settings.cells + 1, len(settings.row_anchors), settings.lanes)
    fitting = shape == output.shape[1:] if output.ndim == 4 else output[:1].size in {0, int(np.prod(shape))}
    if not fitting:
        raise DecodeError(
            f"decoder {settings.name!r}: grid has shape {output.shape}; expected {shape} for each image, or their "
            "product: cells + 1, row_anchors, lanes; set those of [decode]"
        )
    return output.astype(np.float64).reshape(len(output), *shape)


def _attributes(settings: LanesSettings, output: np.ndarray | None, images: int) -> tuple[Integers, NDArray[np.bool_]]:
    """Return the class of each image's lanes by kind, (images, kinds, lanes), and where it cannot be told."""
    if output is None:
        return np.zeros((images, 0, settings.lanes), np.int64), np.zeros((images, 0, settings.lanes), np.bool_)
    kinds, lanes = settings.attribute_kinds, settings.lanes
    size = int(np.prod(output.shape[1:]))
    if size == 0 or size % (kinds * lanes) or (output.ndim == 3 and output.shape[1] != kinds):
        raise DecodeError(
            f"decoder {settings.name!r}: attributes have shape {output.shape}; expected for each image "
            f"attribute_kinds = {kinds}, times {lanes} lanes times classes"
        )
    scores = output.astype(np.float64).reshape(images, kinds, lanes, size // (kinds * lanes))
    broken = any_unusable(scores, axis=3)
    return np.where(broken, UNKNOWN, scores.argmax(axis=3)), broken


def _decode_one(
    settings: LanesSettings, logits: Floats, attributes: Integers, unknown: NDArray[np.bool_], geometry: Geometry
) -> Lanes:
    """Return the lanes of logits, (cells + 1, anchors, lanes)."""
    broken = any_unusable(logits, axis=0)
    logits = np.where(broken, 0, logits)
    here = (logits.argmax(axis=0) < settings.cells) & ~broken
    absence = softmax(logits, axis=0)[-1]
    sureness = np.where(broken, 0, np.where(here, 1 - absence, absence))
    cells = np.where(here, _locate(settings, logits[:-1]), np.nan)
    flaws = count_flaws({"non-finite score": broken, "non-finite attribute": unknown})
    return Lanes(_to_image(settings, cells.T, geometry), attributes, sureness.T, flaws)


def _locate(settings: LanesSettings, logits: Floats) -> Floats:
    """Return in which cell each lane lies, in fractions of cells counted from 0."""
    if settings.location == "argmax":
        best: Floats = logits.argmax(axis=0).astype(np.float64)
        return best
    weighted = softmax(logits, axis=0) * np.arange(settings.cells)[:, None, None]
    mean: Floats = weighted.sum(axis=0)
    return mean


def _to_image(settings: LanesSettings, cells: Floats, geometry: Geometry) -> Floats:
    """Return points, (lanes, anchors, 2), of cells, (lanes, anchors), each in the middle of its cell."""
    divided = settings.cells if settings.spacing == "equal" else max(settings.cells - 1, 1)
    rows = np.where(np.isnan(cells), np.nan, np.array(settings.row_anchors, np.float64))
    columns = (cells + 0.5) / divided
    places = np.stack([columns, rows, columns, rows], axis=-1)
    return points_to_image(shares_to_tensor(places, geometry, settings.input_size, settings.name)[..., :2], geometry)


FAMILY = Family(
    LanesSettings,
    layout,
    decode_lanes,
    "(images, (cells + 1) * row anchors * lanes) and, if there are attributes, (images, kinds * lanes * classes)",
)
