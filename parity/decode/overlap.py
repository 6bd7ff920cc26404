"""How far boxes overlap: what non-maximum suppression asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from parity.decoded import Floats

_EPSILON = 1e-7
_FARTHEST = 100.0


def intersection_over_union(box: Floats, others: Floats) -> Floats:
    """Return the IoU of one box, (4,) x1 y1 x2 y2, with others, (n, 4). Two boxes without an area overlap by 0."""
    left, top, right, bottom = np.ascontiguousarray(others.T)
    width = np.minimum(box[2], right) - np.maximum(box[0], left)
    height = np.minimum(box[3], bottom) - np.maximum(box[1], top)
    inside: Floats = np.maximum(width, 0) * np.maximum(height, 0)
    union = (box[2] - box[0]) * (box[3] - box[1]) + (right - left) * (bottom - top) - inside
    overlap: Floats = np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)
    return overlap


def probabilistic_overlap(box: Floats, others: Floats) -> Floats:
    """Return the ProbIoU of one turned box, (5,) cx cy w h angle, with others, (n, 5); angles in radians.

    Boxes are taken as normal distributions; it is 1 less their Hellinger distance (https://arxiv.org/abs/2106.06072),
    with the small constants of Ultralytics' ``batch_probiou``, whose families are trained with it.
    """
    (a, b, c), (others_a, others_b, others_c) = _covariance(box), _covariance(others)
    sum_a, sum_b, sum_c = a + others_a, b + others_b, c + others_c
    dx, dy = others[:, 0] - box[0], others[:, 1] - box[1]
    determinant = sum_a * sum_b - sum_c**2
    apart = (sum_a * dy**2 + sum_b * dx**2 - 2 * sum_c * dx * dy) / (determinant + _EPSILON) / 4
    spread = 4 * np.sqrt(np.clip(a * b - c**2, 0, None) * np.clip(others_a * others_b - others_c**2, 0, None))
    unlike = np.log(determinant / (spread + _EPSILON) + _EPSILON) / 2
    distance = np.clip(apart + unlike, _EPSILON, _FARTHEST)
    overlap: Floats = 1 - np.sqrt(1 - np.exp(-distance) + _EPSILON)
    return overlap


def _covariance(boxes: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the variances along x and y and the covariance of boxes, (..., 5), taken as uniform over each."""
    along, across = boxes[..., 2] ** 2 / 12, boxes[..., 3] ** 2 / 12
    cos, sin = np.cos(boxes[..., 4]), np.sin(boxes[..., 4])
    return along * cos**2 + across * sin**2, along * sin**2 + across * cos**2, (along - across) * cos * sin
