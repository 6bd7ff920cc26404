"""Whether an engine really got slower: separately started measurements against each other.

The readings of one measurement share whatever its start decided: clocks, where memory lies, who else was there. However
many they are, their median is one draw. So a measurement counts as one number, the logarithm of its median, and what
such numbers of one engine differ by from start to start is the noise that a difference has to exceed. With few of them
their own standard deviation is a guess; it is held to a known one by a scaled inverse chi-squared prior, which makes
the limit that of Student's t with the prior's weight among its degrees of freedom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FACTOR = 0.05
"""A change of latency up to this share is none."""
PRIOR_SPREAD = 0.015
"""The standard deviation between starts that is assumed before one was seen, as a share.

Four starts of one engine on an H200 lay up to 4 % apart, which is what a standard deviation of 1.9 % gives; repeats in
one process lay within 0.3 %.
"""
PRIOR_WEIGHT = 4
"""How many differences between measurements the assumption is worth."""
FALSE_ALARM = 0.0025
"""How often noise alone may exceed its limit."""
_MAX_EXPONENT = 700.0


@dataclass(frozen=True, slots=True)
class Slowdown:
    """A latency against an earlier one.

    Attributes
    ----------
    ratio
        The new one over the old one, geometric means of medians: above 1 is slower.
    noise
        What the ratio may exceed 1 by without any change, as a share.
    spread
        The standard deviation between starts that ``noise`` rests on, as a share, the prior in it.
    old_count, new_count
        Separately started measurements.
    factor
        What the ratio may exceed 1 by although something changed, as a share.
    """

    ratio: float
    noise: float
    spread: float
    old_count: int
    new_count: int
    factor: float

    @property
    def allowed(self) -> float:
        """The larger of factor and noise, as a share."""
        return max(self.factor, self.noise)

    @property
    def exceeds_factor(self) -> bool:
        """Whether it is worth another measurement."""
        return self.ratio > 1.0 + self.factor

    @property
    def is_slower(self) -> bool:
        """Whether it is slower by more than both."""
        return self.ratio > 1.0 + self.allowed

    @property
    def is_faster(self) -> bool:
        """Whether it is faster by more than both."""
        return self.ratio < 1.0 / (1.0 + self.allowed)

    @property
    def is_guess(self) -> bool:
        """Whether no two measurements of one side show how far starts are apart."""
        return max(self.old_count, self.new_count) == 1


def compare(old: Sequence[Sequence[float]], new: Sequence[Sequence[float]], factor: float = FACTOR) -> Slowdown:
    """Compare measurements, each started anew and given by its readings or their block medians, in ms.

    Raises
    ------
    ValueError
        A side has no measurement, or one without a positive finite reading.
    """
    before, after = _log_medians(old), _log_medians(new)
    freedom = PRIOR_WEIGHT + before.size + after.size - 2
    squares = PRIOR_WEIGHT * PRIOR_SPREAD**2 + _squares(before) + _squares(after)
    spread = math.sqrt(squares / freedom)
    noise = _quantile(freedom) * spread * math.sqrt(1 / before.size + 1 / after.size)
    ratio = math.exp(_bounded(float(after.mean() - before.mean())))
    return Slowdown(ratio, math.expm1(_bounded(noise)), spread, before.size, after.size, factor)


def _bounded(exponent: float) -> float:
    """Return an exponent whose power is a number: files may hold readings as far apart as floats go."""
    return max(-_MAX_EXPONENT, min(exponent, _MAX_EXPONENT))


def _log_medians(measurements: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    if not measurements:
        raise ValueError("there is no measurement to compare; expected at least one on each side")
    for readings in measurements:
        if not len(readings) or not all(map(math.isfinite, readings)) or min(readings) <= 0.0:
            raise ValueError("a measurement has a reading that is no positive finite number, or none; expected ms")
    logarithms: NDArray[np.float64] = np.log([median(readings) for readings in measurements])
    return logarithms


def _squares(values: NDArray[np.float64]) -> float:
    return float(((values - values.mean()) ** 2).sum())


def _quantile(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1.0 - FALSE_ALARM))
