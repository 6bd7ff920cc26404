"""Lanes of both sides on their image: points on row anchors, what moved joined, what only one side has marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from parity.errors import StructureError
from parity.overlay.canvas import GREEN, SKY_BLUE, VERMILLION, WHITE, YELLOW
from parity.overlay.legend import Entry
from parity.overlay.lines import Stroke, cross, disc, draw_paths, filled_square, ring
from parity.overlay.tags import Tag, place_tags

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parity.decoded import Lanes
    from parity.overlay.canvas import Canvas
    from parity.overlay.view import Side

_POINT_RADIUS = 3
_MARK_RADIUS = 4
_JOINED_SHIFT = 2.0
"""Points of one anchor that are farther apart than this, in picture pixels, are joined."""


def draw_lanes(canvas: Canvas, reference: Lanes, candidate: Lanes, side: Side) -> list[Entry]:
    """Draw the points of both sides and return what the marks mean.

    Both sides have the same lanes and anchors; lanes are told apart by their number, which stands at their lower end.

    Raises
    ------
    StructureError
        They have not.
    """
    if reference.points.shape != candidate.points.shape:
        shapes = f"{reference.points.shape} and {candidate.points.shape}"
        raise StructureError(f"picture: found lanes of {shapes}; expected the same lanes and anchors on both sides")
    first, second = _placed(canvas, reference), _placed(canvas, candidate)
    has_first, has_second = _is_point(first), _is_point(second)
    both, missed, extra = has_first & has_second, has_first & ~has_second, has_second & ~has_first
    _draw_lines(canvas, first, second, side)
    shift = np.linalg.norm(first - second, axis=2)
    moved = both & (np.nan_to_num(shift) > _JOINED_SHIFT)
    if side.has_reference and side.has_candidate:
        joins = [np.stack(pair) for pair in zip(first[moved], second[moved], strict=True)]
        draw_paths(canvas, joins, Stroke(YELLOW, 2))
    if side.has_reference:
        _draw_points(canvas, first, both, missed, is_candidate=False)
    if side.has_candidate:
        _draw_points(canvas, second, both, extra, is_candidate=True)
    place_tags(canvas, _tags(reference, candidate, first, second, side))
    return _legend(side, int(missed.sum()), int(extra.sum()), int(moved.sum()))


def _placed(canvas: Canvas, lanes: Lanes) -> NDArray[np.float64]:
    return canvas.place(lanes.points).reshape(lanes.points.shape)


def _is_point(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(points).all(axis=2), np.bool_)


def _draw_lines(canvas: Canvas, first: NDArray[np.float64], second: NDArray[np.float64], side: Side) -> None:
    if side.has_reference:
        draw_paths(canvas, [_present(lane) for lane in first], Stroke(WHITE))
    if side.has_candidate:
        draw_paths(canvas, [_present(lane) for lane in second], Stroke(WHITE, is_dashed=True))


def _present(lane: NDArray[np.float64]) -> NDArray[np.float64]:
    return lane[np.isfinite(lane).all(axis=1)]


def _draw_points(
    canvas: Canvas,
    points: NDArray[np.float64],
    both: NDArray[np.bool_],
    alone: NDArray[np.bool_],
    *,
    is_candidate: bool,
) -> None:
    for point in points[both]:
        (ring if is_candidate else disc)(canvas, point, _POINT_RADIUS, WHITE if is_candidate else GREEN)
    for point in points[alone]:
        if is_candidate:
            cross(canvas, point[None], _MARK_RADIUS, SKY_BLUE)
        else:
            filled_square(canvas, point[None], _MARK_RADIUS, VERMILLION)


def _tags(
    reference: Lanes, candidate: Lanes, first: NDArray[np.float64], second: NDArray[np.float64], side: Side
) -> list[Tag]:
    tags = []
    for number in range(len(first)):
        points = _present(second[number] if side is side.CANDIDATE else first[number])
        points = points if len(points) else _present(second[number])
        if len(points):
            text, differs = _told(number, reference, candidate, side)
            lowest = points[points[:, 1].argmax()]
            room = np.array([-1, -1, 1, 1]) * 3 * _MARK_RADIUS
            tags.append(Tag(text, np.tile(lowest, 2) + room, YELLOW if differs else GREEN))
    return tags


def _told(number: int, reference: Lanes, candidate: Lanes, side: Side) -> tuple[str, bool]:
    """Return a lane's number and attributes, and whether those differ."""
    told = [
        ", ".join(map(str, lanes.attributes[:, number])) for lanes in (reference, candidate) if lanes.attributes.size
    ]
    if not told:
        return f"lane {number}", False
    if told[0] == told[1] or side is not side.BOTH:
        return f"lane {number}: {told[side is side.CANDIDATE]}", False
    return f"lane {number}: {told[0]} -> {told[1]}", True


def _legend(side: Side, missed: int, extra: int, moved: int) -> list[Entry]:
    entries = []
    if side.has_reference:
        entries.append(Entry("reference", Stroke(WHITE), disc, GREEN))
    if side.has_candidate:
        entries.append(Entry("candidate", Stroke(WHITE, is_dashed=True), ring, WHITE))
    if side.has_reference:
        entries.append(Entry(f"missed points {missed}", None, filled_square, VERMILLION))
    if side.has_candidate:
        entries.append(Entry(f"extra points {extra}", None, cross, SKY_BLUE))
    if side is side.BOTH:
        entries.append(Entry(f"moved points {moved}", Stroke(YELLOW, 2)))
    return entries
