"""Sums whose terms, or whose total, may leave the range of float64."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(slots=True)
class WideSum:
    """A running sum ``mantissa * 2**exponent`` with float64's precision and no bound on its range.

    Squares of values around 1e200 overflow float64 and squares of values around 1e-200 vanish. Their blocks are
    scaled by a power of two before they are squared, and the power is kept here.
    """

    mantissa: float = 0.0
    exponent: int = 0

    def add(self, value: float, exponent: int = 0) -> None:
        """Add ``value * 2**exponent``; ``value`` is finite."""
        if value == 0.0:
            return
        mantissa, own = math.frexp(value)
        own += exponent
        if self.mantissa == 0.0:
            self.mantissa, self.exponent = mantissa, own
            return
        top = max(self.exponent, own)
        total = math.ldexp(self.mantissa, self.exponent - top) + math.ldexp(mantissa, own - top)
        self.mantissa, shift = math.frexp(total)
        self.exponent = top + shift

    def merge(self, other: WideSum) -> None:
        """Add another sum."""
        self.add(other.mantissa, other.exponent)

    def over(self, count: int) -> float:
        """Return the sum divided by ``count``; infinite where that exceeds float64."""
        return _scaled(self.mantissa / count, self.exponent)

    def root_over(self, count: int) -> float:
        """Return the square root of the sum divided by ``count``."""
        half, odd = divmod(self.exponent, 2)
        return _scaled(math.sqrt(self.mantissa * (1 + odd) / count), half)

    def log2(self) -> float:
        """Return the binary logarithm of a positive sum."""
        return math.log2(self.mantissa) + self.exponent


def cosine(product: WideSum, first: WideSum, second: WideSum) -> float:
    """Return ``product / sqrt(first * second)``, NaN where a norm is zero."""
    if first.mantissa == 0.0 or second.mantissa == 0.0:
        return math.nan
    ratio = product.mantissa / math.sqrt(first.mantissa * second.mantissa)
    # The quotient of the norms is at most 1, so this power of two cannot overflow.
    return max(-1.0, min(1.0, ratio * math.exp2(product.exponent - (first.exponent + second.exponent) / 2)))


def decibels(signal: WideSum, noise: WideSum) -> float:
    """Return ``10 log10(signal / noise)`` of two sums of squares; infinite without noise, NaN without signal."""
    if signal.mantissa == 0.0:
        return math.nan
    if noise.mantissa == 0.0:
        return math.inf
    return 10.0 * math.log10(2.0) * (signal.log2() - noise.log2())


def _scaled(mantissa: float, exponent: int) -> float:
    try:
        return math.ldexp(mantissa, exponent)
    except OverflowError:
        return math.copysign(math.inf, mantissa)
