"""Lines and marks. OpenCV draws no dashes, so dashed lines are drawn piece by piece.

Coordinates are continuous pixels of the picture. Whatever is not finite is left out, whatever lies outside is cut off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.overlay.canvas import BLACK, fixed_point

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from parity.overlay.canvas import Canvas, Colour

    Points = NDArray[np.float64]
    Lengths = NDArray[np.floating]

# Picture pixels, of a line without width. The ends of a line are round and take half its width of a gap each.
_DASH, _GAP = 7.0, 5.0
_GROWTH = 2.5
_HALO = 2
_MAX_DASHES = 2000
"""A path that would take more is drawn with longer ones: no detection costs more than this."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """How a line looks: ``width`` in picture pixels; with a ``halo``, dark on both sides, it is seen on any ground."""

    colour: Colour
    width: int = 1
    is_dashed: bool = False
    has_halo: bool = True


def draw_paths(canvas: Canvas, paths: Sequence[Points], stroke: Stroke) -> None:
    """Draw open paths, each (n, 2)."""
    import cv2

    finite = [path for path in paths if len(path) > 1 and np.isfinite(path).all()]
    pieces = [piece for path in finite for piece in dashes(path, stroke.width)] if stroke.is_dashed else finite
    fixed = [fixed_point(piece) for piece in pieces]
    if not fixed:
        return
    lines, shift = [points for points, _ in fixed], fixed[0][1]
    passes = [(BLACK, stroke.width + _HALO)] if stroke.has_halo else []
    for colour, width in (*passes, (stroke.colour, stroke.width)):
        cv2.polylines(
            canvas.pixels, lines, isClosed=False, color=colour, thickness=width, lineType=cv2.LINE_AA, shift=shift
        )


def draw_outline(canvas: Canvas, corners: Points, stroke: Stroke) -> None:
    """Draw a closed polygon, (n, 2). Of a dashed one every edge begins and ends with a dash, so that corners show."""
    closed = np.concatenate([corners, corners[:1]])
    if stroke.is_dashed:
        draw_paths(canvas, [closed[edge : edge + 2] for edge in range(len(corners))], stroke)
    else:
        draw_paths(canvas, [closed], stroke)


def dashes(path: Points, width: int = 1) -> list[Points]:
    """Cut a path into dashes of equal length, with one at each end; (n, 2) to pieces of at least two points."""
    dash, gap = _DASH + _GROWTH * width, _GAP + _GROWTH * width
    reached = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    total = float(reached[-1])
    count = int(min(max(round((total + gap) / (dash + gap)), 1), _MAX_DASHES))
    stretch = total / (count * dash + (count - 1) * gap)
    starts = np.arange(count) * (dash + gap) * stretch
    return _parts(path, reached, starts, starts + dash * stretch)


def _parts(path: Points, reached: Lengths, starts: Lengths, ends: Lengths) -> list[Points]:
    """Return the parts of a path between lengths along it, (m,) to (m,), their bends included."""
    first, last = reached.searchsorted(starts, "right").tolist(), reached.searchsorted(ends, "left").tolist()
    bends = reached.tolist()
    parts = [
        [start, *bends[after:before], end]
        for start, end, after, before in zip(starts.tolist(), ends.tolist(), first, last, strict=True)
    ]
    at = np.concatenate(parts)
    points = np.stack([np.interp(at, reached, path[:, axis]) for axis in (0, 1)], axis=1)
    return np.split(points, np.cumsum([len(part) for part in parts[:-1]]))


def filled_square(canvas: Canvas, centre: Points, radius: int, colour: Colour) -> None:
    """Mark a point with a filled square: something that the candidate misses."""
    _filled(canvas, centre + radius * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]), colour)


def filled_diamond(canvas: Canvas, centre: Points, radius: int, colour: Colour) -> None:
    """Mark a point with a filled diamond: something that changed its class."""
    _filled(canvas, centre + radius * np.array([[0, -1], [1, 0], [0, 1], [-1, 0]]), colour)


def cross(canvas: Canvas, centre: Points, radius: int, colour: Colour) -> None:
    """Mark a point with a diagonal cross: something that the candidate alone has."""
    arms = [centre + radius * np.array([[-1, -1], [1, 1]]), centre + radius * np.array([[-1, 1], [1, -1]])]
    draw_paths(canvas, arms, Stroke(colour, max(radius // 3, 2)))


def disc(canvas: Canvas, centre: Points, radius: int, colour: Colour) -> None:
    """Mark a point with a filled disc: a point of the reference."""
    _circle(canvas, centre, radius + 1, BLACK, -1)
    _circle(canvas, centre, radius, colour, -1)


def ring(canvas: Canvas, centre: Points, radius: int, colour: Colour) -> None:
    """Mark a point with a ring: a point of the candidate."""
    _circle(canvas, centre, radius, BLACK, 3)
    _circle(canvas, centre, radius, colour, 1)


def _filled(canvas: Canvas, corners: Points, colour: Colour) -> None:
    import cv2

    if not np.isfinite(corners).all():
        return
    points, shift = fixed_point(corners)
    cv2.fillPoly(canvas.pixels, [points], color=colour, lineType=cv2.LINE_AA, shift=shift)
    cv2.polylines(canvas.pixels, [points], isClosed=True, color=BLACK, thickness=1, lineType=cv2.LINE_AA, shift=shift)


def _circle(canvas: Canvas, centre: Points, radius: int, colour: Colour, thickness: int) -> None:
    import cv2

    if not np.isfinite(centre).all():
        return
    points, shift = fixed_point(centre.reshape(2))
    middle = (int(points[0]), int(points[1]))
    cv2.circle(canvas.pixels, middle, radius << shift, colour, thickness, lineType=cv2.LINE_AA, shift=shift)
