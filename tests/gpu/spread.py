"""Whether one of two loops, run in turn, gives medians that vary more than the other one's.

Both loops meet the same clocks and heat in each round, so their medians are pairs. Were they equally noisy, it would
not matter which loop a median of a pair came from: a permutation test exchanges them, and asks how often the spreads
differ as much by that alone. It assumes no distribution, so that one slow round of either loop, which may be
anybody's, is no finding. What the events' clock cannot resolve is no spread of anybody's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

RESOLUTION_MS = 0.5e-3
"""Of CUDA's events: "around 0.5 microseconds" (CUDA Runtime API, cudaEventElapsedTime)."""
ROUNDS = 36
"""Pairs of medians: with so many, three times the noise is found in more than 95 of 100 comparisons."""
LEVEL = 0.001
"""How often two loops that are equally noisy are taken for such that are not."""

_EXCHANGES = 9999


@dataclass(frozen=True, slots=True)
class Spreads:
    """Standard deviations of two loops' medians, as shares of the medians.

    Attributes
    ----------
    resolution
        The clock's, as a share.
    chance
        How often chance alone would show the first loop's spread so much larger.
    """

    own: float
    other: float
    resolution: float
    chance: float

    @property
    def is_noisier(self) -> bool:
        """Whether the first loop's spread is larger by more than chance and resolution."""
        return self.own > np.hypot(self.other, self.resolution) and self.chance < LEVEL


def compare_spreads(own_ms: Sequence[float], other_ms: Sequence[float]) -> Spreads:
    """Compare the medians of two loops, a pair for each round, in ms."""
    own, other = (np.log(np.asarray(medians, np.float64)) for medians in (own_ms, other_ms))
    resolution = RESOLUTION_MS / float(np.exp(other.mean()))
    chance = _chance(own - own.mean(), other - other.mean())
    return Spreads(float(own.std(ddof=1)), float(other.std(ddof=1)), resolution, chance)


def _chance(own: np.ndarray, other: np.ndarray) -> float:
    """Return the share of exchanges within pairs that show the first one's spread as much larger, or more.

    Both sides have mean 0, so the means of exchanged sides add up to 0: an exchange does nothing but turn the sign of
    what its pair adds to the difference of variances.
    """
    parts = own**2 - other**2
    # Rounding alone makes equal spreads differ.
    found = _signs(len(parts)) @ parts >= parts.sum() - 1e-9 * np.abs(parts).sum()
    return float((1 + found.sum()) / (1 + _EXCHANGES))


@cache
def _signs(count: int) -> np.ndarray:
    return np.random.default_rng(0).choice((-1.0, 1.0), (_EXCHANGES, count))
