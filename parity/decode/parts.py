"""Decoders of several outputs: which output plays which part, and what all of them check of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from parity.decode.family import Shapes
    from parity.decode.shapes import Dimension
    from parity.decoded import Integers
    from parity.preprocess import Geometry


@dataclass(frozen=True, slots=True)
class Part:
    """One output of several.

    Attributes
    ----------
    role
        The decoder's name for it.
    ranks
        How many axes it may have.
    names
        What it is called where the family was published.
    word
        What its name has in it otherwise; outputs of one shape are told apart by it.
    columns
        How long its last axis is; None where that is open.
    optional
        Whether a model may lack it.
    """

    role: str
    ranks: tuple[int, ...]
    names: tuple[str, ...]
    word: str
    columns: int | None = None
    optional: bool = False

    def fits(self, shape: tuple[Dimension, ...]) -> bool:
        """Return whether an output of that shape may be this part."""
        return len(shape) in self.ranks and (self.columns is None or shape[-1] == self.columns)


def assign(shapes: Shapes, parts: Sequence[Part]) -> tuple[dict[str, str], bool] | None:
    """Return which output plays which part, and whether their names say so; None where one is missing or too many.

    Published names come first, then names with a part's word, then the order of the outputs. Further outputs are
    passed over only where all names are the published ones.
    """
    roles: dict[str, str] = {}
    for part in sorted(parts, key=lambda part: part.optional):
        free = [name for name, shape in shapes.items() if name not in roles.values() and part.fits(shape)]
        best = min(free, key=lambda name: _strangeness(name, part, parts), default=None)
        if best is None and not part.optional:
            return None
        if best is not None and not (part.optional and _strangeness(best, part, parts) == _FOREIGN):
            roles[part.role] = best
    published = {part.role: part.names for part in parts}
    named = all(name in published[role] for role, name in roles.items())
    return (roles, named) if named or len(roles) == len(shapes) else None


_FOREIGN = 3


def _strangeness(name: str, part: Part, parts: Sequence[Part]) -> int:
    if name in part.names:
        return 0
    if part.word in name.lower():
        return 1
    return _FOREIGN if any(other.word in name.lower() for other in parts) else 2


def check_images(decoder: str, found: int, geometry: Sequence[Geometry]) -> None:
    """Raise DecodeError where outputs are of another number of images than were fed."""
    if found != len(geometry):
        raise DecodeError(
            f"decoder {decoder!r}: outputs of {found} images, but {len(geometry)} were fed; the first axis has to be "
            "the images"
        )


def check_lengths(decoder: str, lengths: dict[str, int]) -> None:
    """Raise DecodeError where outputs that belong together differ in their number of rows."""
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{role} {length}" for role, length in lengths.items())
        raise DecodeError(f"decoder {decoder!r}: found rows of {found}; expected the same number; see decode.outputs")


def count_flaws(damaged: Mapping[str, NDArray[np.bool_]]) -> dict[str, int]:
    """Return how many are damaged, by reason, without reasons of none."""
    counts = {reason: int(np.count_nonzero(where)) for reason, where in damaged.items()}
    return {reason: count for reason, count in counts.items() if count}


def whole_numbers(decoder: str, role: str, values: np.ndarray) -> np.ndarray:
    """Return labels, of any dtype, as float64, once it is sure that they are whole numbers.

    NaN and infinity stay: rows that have them are counted as damaged later.

    Raises
    ------
    DecodeError
        One of them has a fraction, as scores have.
    """
    numbers = np.asarray(values).astype(np.float64)
    broken = np.isfinite(numbers) & (numbers != np.floor(numbers))
    if broken.any():
        raise DecodeError(
            f"decoder {decoder!r}: {role} has {numbers[broken][0]:g}, which is no whole number; is that output "
            f"something else, scores perhaps? decode.outputs says which output is {role}"
        )
    return numbers


def row_counts(decoder: str, role: str, counts: np.ndarray, images: int, rows: int) -> Integers:
    """Return how many rows of each image are filled, (images,).

    Raises
    ------
    DecodeError
        There is not one count for each image, or one is no whole number from 0 to ``rows``.
    """
    found = whole_numbers(decoder, role, np.asarray(counts).reshape(-1))
    if len(found) != images:
        raise DecodeError(
            f"decoder {decoder!r}: {role} has {len(found)} counts; expected one for each of {images} images"
        )
    wrong = ~((found >= 0) & (found <= rows))
    if wrong.any():
        raise DecodeError(f"decoder {decoder!r}: {role} says {found[wrong][0]:g} rows; expected 0 to {rows}")
    return found.astype(np.int64)
