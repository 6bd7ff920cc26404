"""Pictures beside each other, each under its title."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from parity.overlay.canvas import BLACK
from parity.overlay.tags import TEXT_HEIGHT, put_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parity.overlay.canvas import Pixels

_TITLE_HEIGHT = 24
_SPACE = 8


def titled(title: str, pixels: Pixels) -> Pixels:
    """Return a picture under its title."""
    bar = np.full((_TITLE_HEIGHT, pixels.shape[1], 3), 255, np.uint8)
    put_text(bar, title, 2, TEXT_HEIGHT + 4, BLACK)
    return np.concatenate([bar, pixels])


def beside(panels: Sequence[Pixels]) -> Pixels:
    """Return pictures of one height from left to right, with white between them."""
    space = np.full((panels[0].shape[0], _SPACE, 3), 255, np.uint8)
    parts = [part for panel in panels for part in (space, panel)]
    return np.concatenate(parts[1:], axis=1)


def same_width(rows: Sequence[Pixels]) -> list[Pixels]:
    """Return pictures as wide as the widest of them, with white at their right."""
    widest = max(row.shape[1] for row in rows)
    return [np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0)), constant_values=255) for row in rows]


def fitted(pixels: Pixels, max_width: int, max_height: int) -> Pixels:
    """Return a picture made smaller, where needed, to fit."""
    height, width = pixels.shape[:2]
    scale = min(max_width / width, max_height / height, 1.0)
    return resized(pixels, (max(round(height * scale), 1), max(round(width * scale), 1)))


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Return a picture of another height and width."""
    import cv2

    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
