"""Pictures of decoded results: the original image with what both sides say of it. Drawing only, no files.

>>> import numpy as np
>>> from parity.decoded import Detections
>>> from parity.overlay import View, draw
>>> found = Detections(np.array([[4.0, 4.0, 40.0, 30.0]]), np.array([0.9]), np.array([0]))
>>> draw(np.zeros((64, 64, 3), np.uint8), found, found, View(class_names=("cat",))).dtype
dtype('uint8')
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.decoded import Classification, Detections, LabelMap, Lanes
from parity.errors import StructureError
from parity.overlay.canvas import open_canvas
from parity.overlay.detections import draw_detections
from parity.overlay.label_maps import draw_label_maps
from parity.overlay.lanes import draw_lanes
from parity.overlay.legend import with_legend
from parity.overlay.tags import short_name
from parity.overlay.top_classes import draw_top_classes
from parity.overlay.view import Side, View

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from parity.decoded import Decoded
    from parity.overlay.canvas import Canvas
    from parity.overlay.legend import Entry

__all__ = ["Side", "View", "draw", "has_sides"]

_MAX_CAPTION = 120
_PLAIN = View()


def draw(
    image: NDArray[np.uint8], reference: Decoded, candidate: Decoded, view: View = _PLAIN, caption: str = ""
) -> NDArray[np.uint8]:
    """Return a picture of what both sides say of an image, with a legend below.

    Parameters
    ----------
    image
        (h, w, 3) uint8, BGR; or (h, w), grey. It is not changed.
    reference, candidate
        Results of one kind, in pixels of this image.
    caption
        A line above the legend.

    Returns
    -------
    (h', w', 3) uint8, BGR. Small images are enlarged up to 8 times, of large ones the longest side becomes 1600.

    Raises
    ------
    StructureError
        Not an image, or results of two kinds or shapes.
    """
    canvas, entries = _drawn(open_canvas(image), reference, candidate, view)
    return with_legend(canvas, entries, short_name(caption, _MAX_CAPTION))


def has_sides(decoded: Decoded) -> bool:
    """Whether one side can be drawn alone: results that lie on the image, not beside it."""
    return isinstance(decoded, Detections | Lanes)


def _drawn(canvas: Canvas, reference: Decoded, candidate: Decoded, view: View) -> tuple[Canvas, list[Entry]]:
    if isinstance(reference, Detections) and isinstance(candidate, Detections):
        return canvas, draw_detections(canvas, reference, candidate, view)
    if isinstance(reference, Lanes) and isinstance(candidate, Lanes):
        return canvas, draw_lanes(canvas, reference, candidate, view.side)
    if isinstance(reference, LabelMap) and isinstance(candidate, LabelMap):
        return draw_label_maps(canvas, reference, candidate, view.class_names)
    if isinstance(reference, Classification) and isinstance(candidate, Classification):
        return draw_top_classes(canvas, reference, candidate, view.class_names)
    kinds = f"{type(reference).__name__} and {type(candidate).__name__}"
    raise StructureError(f"picture: found {kinds}; expected results of one kind on both sides")
