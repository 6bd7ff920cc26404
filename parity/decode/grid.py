"""The cells of feature maps, which heads count row by row, finest map first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parity.decode.dense import Singles


def cell_corners(height: int, width: int) -> Singles:
    """Return x and y of the upper left corner of each cell, (height * width, 2), in cells, row by row."""
    rows, columns = np.indices((height, width), np.float32)
    return np.stack([columns.ravel(), rows.ravel()], axis=1)


def cells_of(sizes: Sequence[tuple[int, int]], strides: Sequence[int]) -> tuple[Singles, Singles]:
    """Return corners, (n, 2) in cells, and strides, (n, 1) in pixels, of the cells of maps of (height, width)."""
    corners = [cell_corners(*size) for size in sizes]
    lengths = [len(level) for level in corners]
    return np.concatenate(corners), np.repeat(np.asarray(strides, np.float32), lengths)[:, None]
