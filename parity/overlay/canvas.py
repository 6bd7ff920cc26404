"""The picture that is drawn on: the image, scaled so that a reader can see into it, and colours that anybody can tell.

The colours are those of Okabe and Ito, "Color Universal Design" (2008), which every common kind of colour vision tells
apart; nothing rests on a colour alone, each kind of mark has a shape of its own as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.errors import StructureError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Pixels = NDArray[np.uint8]

Colour = tuple[int, int, int]
"""Blue, green, red, as OpenCV takes them."""

BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)
GREY: Colour = (150, 150, 150)
ORANGE: Colour = (0, 159, 230)
SKY_BLUE: Colour = (233, 180, 86)
GREEN: Colour = (115, 158, 0)
YELLOW: Colour = (66, 228, 240)
BLUE: Colour = (178, 114, 0)
VERMILLION: Colour = (0, 94, 213)
PURPLE: Colour = (167, 121, 204)

MAX_SIDE = 1600
"""Larger images are made smaller, to this longest side in pixels."""
_GOOD_SIDE = 960
_MAX_ENLARGEMENT = 8
_FIXED_POINT_BITS = 4
MAX_COORDINATE = 1e5
"""What lies farther outside comes nearer, in image pixels: OpenCV's fixed-point coordinates would overflow."""


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """A picture that grows line by line.

    Attributes
    ----------
    pixels
        (h, w, 3) uint8, BGR; drawn on in place.
    scale
        Picture pixels per image pixel.
    """

    pixels: Pixels
    scale: float

    @property
    def height(self) -> int:
        """In picture pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """In picture pixels."""
        return int(self.pixels.shape[1])

    def place(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return where points of the image lie in the picture, by continuous pixels on both sides; (n, 2).

        Points far outside come nearer, NaN stays.
        """
        kept = np.clip(np.asarray(points, np.float64), -MAX_COORDINATE, MAX_COORDINATE)
        return kept.reshape(-1, 2) * self.scale


def open_canvas(image: NDArray[np.uint8]) -> Canvas:
    """Return a canvas with a copy of an image: a small one is enlarged by a whole number, a large one made smaller.

    Parameters
    ----------
    image
        (h, w, 3) uint8, BGR; or (h, w), grey.

    Raises
    ------
    StructureError
        Not an image.
    """
    import cv2

    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)) or image.size == 0:
        raise StructureError(f"picture: found {image.dtype} {image.shape}; expected uint8 (height, width, 3), BGR")
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    scale = scale_for(*image.shape[:2])
    if scale == 1.0:
        return Canvas(image.copy(), scale)
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return Canvas(np.asarray(cv2.resize(image, size, interpolation=method), np.uint8), scale)


def scale_for(height: int, width: int) -> float:
    """Return by what an image of so many pixels is enlarged (a whole number) or made smaller."""
    longest = max(height, width)
    if longest > MAX_SIDE:
        return MAX_SIDE / longest
    return float(min(max(round(_GOOD_SIDE / longest), 1), _MAX_ENLARGEMENT))


def fixed_point(points: NDArray[np.float64]) -> tuple[NDArray[np.int32], int]:
    """Return continuous picture points as OpenCV's fixed-point ones, and their fractional bits.

    OpenCV counts from the centre of the first pixel, half a pixel from its edge.
    """
    return np.rint((points - 0.5) * (1 << _FIXED_POINT_BITS)).astype(np.int32), _FIXED_POINT_BITS
