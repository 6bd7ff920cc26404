"""What families share that give a count of detections, boxes, scores and classes as four outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.decode.family import Fit
from parity.decode.parts import Part, assign, check_images, check_lengths, row_counts, whole_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from parity.decode.family import Shapes
    from parity.decoded import Floats
    from parity.preprocess import Geometry


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The filled rows of one image: boxes (n, 4), scores (n,), classes (n,), all float64 as the model numbers them."""

    boxes: Floats
    scores: Floats
    classes: Floats


def find_counted(shapes: Shapes, parts: Sequence[Part], unnamed: float) -> Fit | None:
    """Return the fit of four outputs; ``unnamed`` is how certain it is where their names are not the published ones."""
    found = assign(shapes, parts)
    if found is None:
        return None
    roles, named = found
    return Fit(roles, 0.95 if named else unnamed, f"a count, boxes, scores and classes: {', '.join(roles.values())}")


def cut_rows(decoder: str, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]) -> Iterator[Rows]:
    """Yield each image's rows; those behind its count are never looked at: they may hold anything.

    Parameters
    ----------
    outputs
        ``counts`` (images,) or (images, 1), ``boxes`` (images, rows, 4), ``scores`` and ``classes`` (images, rows).

    Raises
    ------
    DecodeError
        A count is none of the rows, classes are no whole numbers, or outputs differ in their rows or images.
    """
    boxes, scores, classes = (np.asarray(outputs[role]) for role in ("boxes", "scores", "classes"))
    for output in (boxes, scores, classes):
        check_images(decoder, len(output), geometry)
    check_lengths(decoder, {"boxes": boxes.shape[1], "scores": scores.shape[1], "classes": classes.shape[1]})
    counts = row_counts(decoder, "counts", outputs["counts"], len(geometry), boxes.shape[1])
    for image, count in enumerate(counts.tolist()):
        yield Rows(
            boxes[image, :count].astype(np.float64),
            scores[image, :count].astype(np.float64),
            whole_numbers(decoder, "classes", classes[image, :count]),
        )
