"""Whether one of two loops, run in turn, gives medians that vary more than the other one's.

Both loops meet the same clocks and heat in each round, so their medians are pairs. Two paired spreads are compared by
Pitman's and Morgan's test: where both variances are equal, sum and difference of a pair do not correlate. What the
events' clock cannot resolve is no spread of anybody's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

RESOLUTION_MS = 0.5e-3
"""Of CUDA's events: "around 0.5 microseconds" (CUDA Runtime API, cudaEventElapsedTime)."""
ROUNDS = 36
"""Pairs of medians: with so many, three times the noise is found in more than 95 of 100 comparisons."""
LEVEL = 0.001
"""How often two loops that are equally noisy are taken for such that are not."""


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
    """Compare the medians of two loops, a pair for each round, in ms; at least three rounds."""
    own, other = (np.log(np.asarray(medians, np.float64)) for medians in (own_ms, other_ms))
    resolution = RESOLUTION_MS / float(np.exp(other.mean()))
    return Spreads(float(own.std(ddof=1)), float(other.std(ddof=1)), resolution, _chance(own + other, own - other))


def _chance(sums: np.ndarray, differences: np.ndarray) -> float:
    if not sums.std() or not differences.std():
        return 1.0
    return float(stats.pearsonr(sums, differences, alternative="greater").pvalue)
