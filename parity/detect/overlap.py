"""Which boxes belong to one group, and how far they overlap, many pairs at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

PAIR_LIMIT = 1 << 18
"""How many pairs are looked at together; more leave the processor's cache and gain nothing."""


def common_pairs(first: Integers, second: Integers) -> Iterator[tuple[Integers, Integers]]:
    """Yield all pairs of rows that lie in one group, some at a time.

    Parameters
    ----------
    first, second
        (n,) and (m,), the group of each row; ``second`` ascends.

    Returns
    -------
    Row numbers of ``first`` and of ``second``, of one length; both ascend within a row of ``first``, and all pairs of
    such a row come together.
    """
    begin = np.searchsorted(second, first, "left")
    counts = np.searchsorted(second, first, "right") - begin
    ends = np.cumsum(counts)
    start = 0
    while start < len(first):
        done = int(ends[start - 1]) if start else 0
        # One row at the least: its pairs may be more than the limit.
        stop = max(int(np.searchsorted(ends, done + PAIR_LIMIT, "right")), start + 1)
        part = counts[start:stop]
        rows = np.repeat(np.arange(start, stop), part)
        within = np.arange(len(rows)) - np.repeat(ends[start:stop] - part - done, part)
        yield rows, within + np.repeat(begin[start:stop], part)
        start = stop


def overlaps(first: Floats, second: Floats, is_crowd: NDArray[np.bool_] | None = None) -> Floats:
    """Return the IoU of each row of ``first`` with the same row of ``second``, 0 to 1.

    Both are (n, 4), x1 y1 x2 y2. Where ``is_crowd`` says so, the overlap is measured on the first box's area alone.
    Width and height are rounded once and added to the near corner again, as COCO's tools do, whose boxes are x, y,
    width, height: so a box whose IoU is exactly a threshold falls on the same side of it.
    """
    (first_area, first_near, first_far), (second_area, second_near, second_far) = _parts(first), _parts(second)
    shared = np.maximum(np.minimum(first_far, second_far) - np.maximum(first_near, second_near), 0.0)
    common = shared[0] * shared[1]
    whole = first_area + second_area - common
    if is_crowd is not None:
        whole = np.where(is_crowd, first_area, whole)
    ious = np.zeros(len(common))
    np.divide(common, whole, out=ious, where=common > 0)
    return ious


def _parts(boxes: Floats) -> tuple[Floats, Floats, Floats]:
    near = boxes[:, :2].T
    sizes = boxes[:, 2:].T - near
    return sizes[0] * sizes[1], near, near + sizes
