"""Boxes that are not in tensor pixels: shares of the tensor or the image, or pixels of the original image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from parity.decode.dense import ImageSize  # noqa: TC001 - pydantic reads the annotation at run time
from parity.decode.settings import DetectionSettings
from parity.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from parity.decoded import Floats
    from parity.preprocess import Geometry


class ShareSettings(DetectionSettings):
    """What decoders share whose boxes are shares, 0 to 1."""

    input_size: ImageSize | None = None
    """Height and width of the input tensor that boxes are shares of; to be set where images are padded or cropped. If
    left out, boxes are shares of the image, which is the same where the image fills the tensor."""


def shares_to_tensor(boxes: ArrayLike, geometry: Geometry, input_size: Sequence[int] | None, decoder: str) -> Floats:
    """Return boxes in tensor pixels of shares of the tensor, or of the image if ``input_size`` is None.

    Parameters
    ----------
    boxes
        (..., 4), x1 y1 x2 y2.
    decoder
        Its name, for the message.

    Raises
    ------
    DecodeError
        The image has padding above or beside it or was cropped, and ``input_size`` is None. Padding to the right and
        below alone leaves no trace in a geometry.
    """
    shares = np.asarray(boxes, np.float64)
    if input_size is not None:
        height, width = input_size
        return shares * np.array([width, height, width, height], np.float64)
    if geometry.left or geometry.top:
        raise DecodeError(
            f"decoder {decoder!r}: places are shares, and the image does not fill the input tensor; set "
            "decode.input_size to the tensor's [height, width]"
        )
    width, height = geometry.original_width, geometry.original_height
    return image_to_tensor(shares * np.array([width, height, width, height], np.float64), geometry)


def image_to_tensor(boxes: ArrayLike, geometry: Geometry) -> Floats:
    """Return boxes, (..., 4) x1 y1 x2 y2 in original-image pixels, in tensor pixels."""
    with np.errstate(invalid="ignore", over="ignore"):  # damaged boxes are counted later, not warned of
        return geometry.to_tensor(boxes)
