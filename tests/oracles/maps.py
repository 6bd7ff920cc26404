"""Random raw maps of heads with anchors, which the oracles of YOLOv3, v4 and v5 decode."""

from __future__ import annotations

import numpy as np

from tests.oracles.making import CLASSES, INPUT

STRIDES = (8, 16, 32)
ANCHORS = (
    ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)),
    ((30.0, 61.0), (62.0, 45.0), (59.0, 50.0)),
    ((56.0, 40.0), (76.0, 58.0), (83.0, 66.0)),
)
"""Width and height in tensor pixels; the largest are smaller than YOLOv3's, to suit a small tensor."""

_SURE_SHARE = 0.12


def draw_maps(rng: np.random.Generator, images: int) -> list[np.ndarray]:
    """Return a map for each stride, (images, 3 * (5 + CLASSES), h, w) float32, where one anchor in eight is sure.

    Places in the outermost rows and columns never are: their boxes might lie in the padding alone.
    """
    return [_draw_map(rng, images, INPUT[0] // stride, INPUT[1] // stride) for stride in STRIDES]


def _draw_map(rng: np.random.Generator, images: int, height: int, width: int) -> np.ndarray:
    values = rng.normal(0, 0.7, (images, 3, 5 + CLASSES, height, width))
    rim = max(1, round(0.2 * min(height, width)))
    inner = np.s_[..., rim : height - rim, rim : width - rim]
    values[:, :, 4] = rng.normal(-9, 0.5, values[:, :, 4].shape)
    sure = rng.uniform(size=values[:, :, 4][inner].shape) < _SURE_SHARE
    values[:, :, 4][inner] = np.where(sure, rng.normal(1, 1.5, sure.shape), -9)
    values[:, :, 5:] = rng.normal(-1, 2, values[:, :, 5:].shape)
    return values.reshape(images, -1, height, width).astype(np.float32)
