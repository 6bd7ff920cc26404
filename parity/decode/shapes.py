"""What layouts ask of shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parity.decode.family import Shapes

Dimension = int | str
"""How long an axis is; a text where it is open."""

# Cells of maps at strides 8, 16, 32, and 8 to 64, for each cell of the coarsest one.
_CELLS = (1 + 4 + 16, 1 + 4 + 16 + 64)


def sole_output(shapes: Shapes, rank: int) -> tuple[str, tuple[Dimension, ...]] | None:
    """Return the name and shape of a model's one output, if it has that rank."""
    if len(shapes) != 1:
        return None
    [(name, shape)] = shapes.items()
    return (name, shape) if len(shape) == rank else None


def is_grid(places: Dimension, per_cell: int) -> bool:
    """Return whether an input of whole coarsest cells has so many places; not of an open number."""
    return isinstance(places, int) and any(places % (cells * per_cell) == 0 for cells in _CELLS)


def may_be_channels(channels: Dimension, places: Dimension, least: int) -> bool:
    """Return whether an axis of at least ``least``, and not longer than the places, may hold a place's numbers."""
    if isinstance(channels, str) or channels < least:
        return False
    return isinstance(places, str) or places >= channels
