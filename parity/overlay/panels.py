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


def fitted(pixels: Pixels, max_width: int, max_height: int) -> Pixels:
    """Return a picture made smaller, where needed, to fit."""
    import cv2

    height, width = pixels.shape[:2]
    scale = min(max_width / width, max_height / height, 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
