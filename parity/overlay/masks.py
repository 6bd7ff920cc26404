"""Where masks lie in their image.

Masks come at their decoder's resolution, in the frame of the image or in that of a letterboxed input tensor. Which of
them is not told, but it can be seen: in the right frame masks lie in their boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parity.decoded import Detections

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """``image = mask * scale + offset``; both are (2,) float64, x and y, in continuous pixels."""

    scale: Floats
    offset: Floats


def find_frame(detections: Detections, size: Floats) -> Frame:
    """Return the frame in which masks lie in their boxes: stretched, letterboxed in the middle, or at the upper left.

    Parameters
    ----------
    detections
        Some with masks.
    size
        (2,) width and height of the image in pixels.
    """
    assert detections.masks is not None
    grid = np.array(detections.masks.shape[:0:-1], np.float64)
    row, y, x = np.nonzero(detections.masks)
    points = np.stack([x, y], axis=1) + 0.5
    boxes = detections.boxes[row]
    # Equal shares, as of no mask at all, choose the first.
    return max(_frames(grid, size), key=lambda frame: _share_inside(points * frame.scale + frame.offset, boxes))


def contours(mask: NDArray[np.bool_], frame: Frame) -> list[Floats]:
    """Return the outer contours of a mask as closed paths, each (n, 2) in continuous image pixels."""
    import cv2

    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    closed = (np.concatenate([contour, contour[:1]]).reshape(-1, 2) for contour in found)
    return [(path + 0.5) * frame.scale + frame.offset for path in closed]


def _frames(grid: Floats, size: Floats) -> tuple[Frame, Frame, Frame]:
    stretched = size / grid
    uniform = np.full(2, stretched.max())
    return (
        Frame(stretched, np.zeros(2)),
        Frame(uniform, (size - grid * uniform) / 2),
        Frame(uniform, np.zeros(2)),
    )


def _share_inside(points: Floats, boxes: Floats) -> float:
    """Return the share of points, (n, 2), that lie in their boxes, (n, 4)."""
    inside = ((points >= boxes[:, :2]) & (points <= boxes[:, 2:])).all(axis=1)
    return float(np.count_nonzero(inside)) / max(len(points), 1)
