"""Sums over a block of finite float64 values; OpenCV takes one pass where NumPy takes two or an array in between."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]

Wide = tuple[float, int]
"""``value * 2**exponent``."""

# Squares and products of magnitudes in this range, and sums of a block of them, stay clear of both ends of float64.
_SAFE_LOW, _SAFE_HIGH = 2.0**-500, 2.0**490

# OpenBLAS starts threads of its own for vectors of more than 10000 elements; rows stay below.
_DOT_ROW = 4096

# Up to this ratio of two sums of squares, the product that is derived from them is as exact as they are.
_COMPARABLE = 16.0


class Normal(NamedTuple):
    """``values * 2**exponent``; the values can be squared, multiplied and summed within float64."""

    values: Doubles
    exponent: int

    def total(self) -> Wide:
        """Return the sum."""
        return float(np.add.reduce(self.values)), self.exponent

    def magnitudes(self) -> Wide:
        """Return the sum of the magnitudes."""
        import cv2

        return cv2.norm(self.values, cv2.NORM_L1), self.exponent

    def squares(self) -> Wide:
        """Return the sum of the squares."""
        import cv2

        return cv2.norm(self.values, cv2.NORM_L2SQR), 2 * self.exponent

    def dot(self, other: Normal) -> Wide:
        """Return the sum of the products with as many other values."""
        whole = self.values.size - self.values.size % _DOT_ROW
        rows = np.vecdot(self.values[:whole].reshape(-1, _DOT_ROW), other.values[:whole].reshape(-1, _DOT_ROW))
        total = rows.sum() + self.values[whole:].dot(other.values[whole:])
        return float(total), self.exponent + other.exponent


def normal(values: Doubles, magnitude: float) -> Normal:
    """Take a power of two from values whose largest magnitude is outside the safe range."""
    if magnitude == 0.0 or _SAFE_LOW < magnitude < _SAFE_HIGH:
        return Normal(values, 0)
    exponent = math.frexp(magnitude)[1]
    return Normal(np.ldexp(values, -exponent), exponent)


def peak(values: Doubles) -> float:
    """Return the largest magnitude, infinite where a value is; no value is NaN."""
    import cv2

    return cv2.norm(values, cv2.NORM_INF)


def derived_product(first: Wide, second: Wide, noise: Wide) -> Wide | None:
    """Return ``a.b`` from ``a.a``, ``b.b`` and ``(a - b).(a - b)``; None where too many digits would cancel."""
    is_comparable = max(first[0], second[0]) <= _COMPARABLE * min(first[0], second[0])
    if first[1] or second[1] or noise[1] or not is_comparable:
        return None
    return (first[0] + second[0] - noise[0]) / 2.0, 0
