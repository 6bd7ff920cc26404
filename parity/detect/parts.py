"""How far the masks and the keypoints of two detections agree, many pairs at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_PAIRED_SIGMAS = (0.025, 0.035, 0.079, 0.072, 0.062, 0.107, 0.087, 0.089)
COCO_SIGMAS = np.array([0.026, *np.repeat(_PAIRED_SIGMAS, 2)])
"""How far annotators differ on each of COCO's 17 points of a person, in shares of the person's size."""
OTHER_SIGMA = 0.05
"""The same for points of any other kind, of which nothing is known: the middle of COCO's."""
VISIBLE = 0.5
"""The visibility from which a point of the reference counts."""


def mask_overlaps(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Floats:
    """Return (n,) the IoU of each mask of ``first`` with the same row of ``second``, 1 where both are empty.

    Both are (n, h, w).
    """
    common = np.count_nonzero(first & second, axis=(1, 2)).astype(np.float64)
    whole = np.count_nonzero(first | second, axis=(1, 2))
    result: Floats = np.divide(common, whole, out=np.ones_like(common), where=whole > 0)
    return result


def keypoint_similarities(first: Floats, second: Floats, boxes: Floats) -> Floats:
    """Return (n,) COCO's object keypoint similarity of each row of ``first`` with the same row of ``second``, 0 to 1.

    ``exp(-d² / (2 (2 sigma)² area))``, averaged over the points that are visible in ``first``.

    Parameters
    ----------
    first, second
        (n, k, 3): x, y, visibility; ``first`` is the reference.
    boxes
        (n, 4) of the reference, whose area is the object's size.

    Returns
    -------
    NaN where the reference sees no point.
    """
    points = first.shape[1]
    sigmas = COCO_SIGMAS if points == len(COCO_SIGMAS) else np.full(points, OTHER_SIGMA)
    squares = ((first[..., :2] - second[..., :2]) ** 2).sum(axis=2)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    # COCO's guard against a box without area.
    scaled = squares / (2.0 * (2.0 * sigmas) ** 2 * (areas[:, None] + np.spacing(1.0)))
    seen = first[..., 2] >= VISIBLE
    total = np.where(seen, np.exp(-scaled), 0.0).sum(axis=1)
    count = seen.sum(axis=1)
    result: Floats = np.divide(total, count, out=np.full(len(first), np.nan), where=count > 0)
    return result
