"""Where an image's pixels lie in the input tensor, so that boxes can be mapped back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Geometry:
    """The affine map of one image: ``x_tensor = x_image * scale_x + left``, and so for y.

    Coordinates are continuous pixels, 0 at the left and upper edge of the first pixel. A crop has a negative offset.

    Attributes
    ----------
    original_height, original_width
        The image as it was read, in pixels.
    scale_x, scale_y
        Tensor pixels per image pixel.
    left, top
        Where the image's upper left corner lies, in tensor pixels.
    """

    original_height: int
    original_width: int
    scale_x: float = 1.0
    scale_y: float = 1.0
    left: float = 0.0
    top: float = 0.0

    def scaled(self, scale_x: float, scale_y: float) -> Geometry:
        """Return the map followed by a scaling."""
        return replace(
            self,
            scale_x=self.scale_x * scale_x,
            scale_y=self.scale_y * scale_y,
            left=self.left * scale_x,
            top=self.top * scale_y,
        )

    def moved(self, left: float, top: float) -> Geometry:
        """Return the map followed by a shift in tensor pixels."""
        return replace(self, left=self.left + left, top=self.top + top)

    def to_image(self, boxes: ArrayLike) -> NDArray[np.float64]:
        """Map boxes from the tensor to the image; boxes are (n, 4), x1 y1 x2 y2, and are not clipped."""
        return (np.asarray(boxes, np.float64) - self._offset) / self._scale

    def to_tensor(self, boxes: ArrayLike) -> NDArray[np.float64]:
        """Map boxes from the image to the tensor; boxes are (n, 4), x1 y1 x2 y2."""
        return np.asarray(boxes, np.float64) * self._scale + self._offset

    @property
    def _offset(self) -> NDArray[np.float64]:
        return np.array([self.left, self.top, self.left, self.top])

    @property
    def _scale(self) -> NDArray[np.float64]:
        return np.array([self.scale_x, self.scale_y, self.scale_x, self.scale_y])
