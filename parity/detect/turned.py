"""Turned boxes, given by their corners: how far they overlap, and how far their corners moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Booleans = NDArray[np.bool_]
    Floats = NDArray[np.float64]


def turned_overlaps(first: Floats, second: Floats) -> Floats:
    """Return the IoU of each turned box of ``first`` with the same row of ``second``, 0 to 1.

    Both are (n, 4, 2) corners in order around the box, in either direction. The intersection is exact: one box is cut
    by the four sides of the other (Sutherland and Hodgman). Pairs whose enclosing boxes do not meet are not looked at.
    """
    result = np.zeros(len(first))
    meet = _enclosures_meet(first, second)
    # Coordinates from a corner of the pair's own keep their digits in the products.
    origin = first[meet, :1]
    one, other = _counterclockwise(first[meet] - origin), _counterclockwise(second[meet] - origin)
    common = one
    for side in range(4):
        common = _cut(common, other[:, side], other[:, (side + 1) % 4])
    shared = _areas(common)
    whole = _areas(one) + _areas(other) - shared
    result[meet] = np.clip(np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0), 0.0, 1.0)
    return result


def turned_shifts(first: Floats, second: Floats) -> Floats:
    """Return (n,) how far the farthest corner moved, in the corners' unit.

    A box turned by a half is the same box with its corners counted from another one, and so is one turned by a quarter
    with its sides exchanged: of the four ways to count, the one with the smallest shift is taken.
    """
    ways = [_farthest(first, np.roll(second, start, axis=1)) for start in range(4)]
    least: Floats = np.min(ways, axis=0)
    return least


def _farthest(first: Floats, second: Floats) -> Floats:
    difference = second - first
    farthest: Floats = np.hypot(difference[..., 0], difference[..., 1]).max(axis=1)
    return farthest


def _enclosures_meet(first: Floats, second: Floats) -> Booleans:
    near = np.maximum(first.min(axis=1), second.min(axis=1))
    far = np.minimum(first.max(axis=1), second.max(axis=1))
    meet: Booleans = (near < far).all(axis=1)
    return meet


def _counterclockwise(corners: Floats) -> Floats:
    clockwise = _signed_areas(corners) < 0
    return np.where(clockwise[:, None, None], corners[:, ::-1], corners)


def _cut(polygons: Floats, begin: Floats, end: Floats) -> Floats:
    """Keep what lies left of a line: (n, k, 2) convex polygons, (n, 2) two points of each line -> (n, k + 1, 2).

    Polygons with fewer corners repeat their first one.
    """
    count, corners = polygons.shape[:2]
    along = (end - begin)[:, None]
    offset = polygons - begin[:, None]
    left = along[..., 0] * offset[..., 1] - along[..., 1] * offset[..., 0]
    following = np.roll(left, -1, axis=1)
    inside = left >= 0
    crosses = inside != (following >= 0)
    part = np.divide(left, left - following, out=np.zeros_like(left), where=crosses)
    crossings = polygons + part[..., None] * (np.roll(polygons, -1, axis=1) - polygons)
    points = np.stack([polygons, crossings], axis=2).reshape(count, 2 * corners, 2)
    kept = np.stack([inside, crosses], axis=2).reshape(count, 2 * corners)
    # A line cuts a convex polygon twice at most, and takes a corner where it does: one more corner is all there can be.
    order = np.argsort(~kept, axis=1, kind="stable")[:, : corners + 1]
    points, kept = np.take_along_axis(points, order[..., None], axis=1), np.take_along_axis(kept, order, axis=1)
    return np.where(kept[..., None], points, points[:, :1])


def _areas(polygons: Floats) -> Floats:
    return np.abs(_signed_areas(polygons))


def _signed_areas(polygons: Floats) -> Floats:
    following = np.roll(polygons, -1, axis=1)
    products = polygons[..., 0] * following[..., 1] - polygons[..., 1] * following[..., 0]
    areas: Floats = 0.5 * products.sum(axis=1)
    return areas
