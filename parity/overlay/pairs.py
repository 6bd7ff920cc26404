"""Which boxes of two sides belong together, for a picture of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parity.decoded import Detections

    Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Pairing:
    """Rows of the reference and of the candidate.

    Attributes
    ----------
    pairs
        (n, 2) int64: a row of each side; the classes differ where one flipped.
    iou
        (n,) float64, of the pairs.
    missed, extra
        (k,) int64: rows that the reference, or the candidate, has alone.
    """

    pairs: Rows
    iou: NDArray[np.float64]
    missed: Rows
    extra: Rows


def pair_up(reference: Detections, candidate: Detections, match_iou: float) -> Pairing:
    """Pair boxes of one class by the largest sum of IoU, then what is left whatever its class."""
    iou = _iou(reference.boxes, candidate.boxes)
    allowed = iou >= match_iou
    same = allowed & (reference.classes[:, None] == candidate.classes[None, :])
    first = _assign(np.where(same, iou, 0.0))
    free = allowed.copy()
    free[first[:, 0]] = False
    free[:, first[:, 1]] = False
    pairs = np.concatenate([first, _assign(np.where(free, iou, 0.0))])
    missed = np.setdiff1d(np.arange(len(reference)), pairs[:, 0])
    extra = np.setdiff1d(np.arange(len(candidate)), pairs[:, 1])
    return Pairing(pairs, iou[pairs[:, 0], pairs[:, 1]], missed, extra)


def _assign(gain: NDArray[np.float64]) -> Rows:
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(gain, maximize=True)
    kept = gain[rows, columns] > 0
    return np.stack([rows[kept], columns[kept]], axis=1).astype(np.int64)


def _iou(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, m) float64 of (n, 4) and (m, 4) boxes."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0))
