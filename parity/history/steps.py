"""Where a figure stepped: a search for changes of level that outliers and a tie between neighbours do not set off.

Left and right of every place the medians of some runs are compared, over windows of several lengths, and the largest
difference is held against the noise of the series. The noise comes from differences of neighbours, to which a step
adds one each, and is widened where neighbours are alike. What a difference must exceed was taken from simulated noise.
A permutation test was tried and left: three runs behind a step are a rare order of any values, so that it would ask for
some twenty runs before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MIN_RUNS = 3
"""Runs at a level, at the least, at an end of the series; between other runs it takes five, or it was a blip."""

THRESHOLD = 6.0
"""In units of the noise of one run: simulated series of 8 to 200 runs stay below it in 99.5 of 100, normal or heavy-
tailed (Student's t with 3 degrees of freedom); ``tests/unit/test_history_steps.py`` counts false alarms anew."""

SMALLEST_SHARE = 1e-3
"""A change below this share of the level is no step, however quiet the series: figures of equal engines differ so."""

_WINDOWS = (5, 8, 12, 20, 40)
_NORMAL_MAD = 1.4826  # Standard deviations in a median absolute deviation of normal values.
_CLIP = 3.0
_MAX_OUTLIERS = 0.15  # Of differences; one run in 20 makes 0.1.
_MAX_MOVES = 2  # Of a figure that hardly ever moves: a blip's two, or two steps that are not found yet.
_LIKELY = 2.0  # In logarithms of likelihood, Laplace: where else a step may lie, at about 95 %.
_TIED_FROM = 30  # Fewer runs do not tell how alike neighbours are.
_MAX_TIE = 0.7


@dataclass(frozen=True, slots=True)
class Step:
    """A change of level.

    Attributes
    ----------
    position
        The index of the first value at the new level.
    last_before, first_after
        Indices between which the step lies for certain: what to bisect between.
    before, after
        Medians of the values up to the neighbouring steps.
    """

    position: int
    last_before: int
    first_after: int
    before: float
    after: float

    @property
    def change(self) -> float:
        """The share by which the level rose (0.1 for 10 %), or fell below 0; infinite from a level of 0."""
        if np.isinf(self.before):
            return float(-np.copysign(np.inf, self.before))
        difference = self.after - self.before
        return difference / abs(self.before) if self.before else float(np.copysign(np.inf, difference))


def find_steps(values: Sequence[float]) -> tuple[Step, ...]:
    """Return the steps of a series, in order.

    Parameters
    ----------
    values
        One for each run, in order; infinite ones count as far beyond all others, NaN is not allowed.

    Raises
    ------
    ValueError
        A value is NaN.
    """
    given = np.asarray(values, np.float64).reshape(-1)
    if np.isnan(given).any():
        raise ValueError("a value is NaN; leave out the runs that have no number")
    if given.size < 2 * MIN_RUNS:
        return ()
    series = _finite(given)
    splits = sorted(_split(series, 0, series.size))
    bounds = [0, *splits, series.size]
    # Halved, because a median of two adds them.
    levels = [2 * float(np.median(given[start:end] / 2)) for start, end in pairwise(bounds)]
    return tuple(
        Step(place, *_certain(series, bounds[number], place, bounds[number + 2]), *levels[number : number + 2])
        for number, place in enumerate(splits)
    )


def _finite(values: Floats) -> Floats:
    """Return values between -1 and 1, infinite ones at 10 beyond all others: squares of large numbers overflow."""
    finite = values[np.isfinite(values)]
    largest = float(np.abs(finite).max(initial=0.0)) or 1.0
    return np.where(np.isfinite(values), values / largest, np.sign(values) * 10)


def _split(series: Floats, start: int, end: int) -> list[int]:
    """Return the steps between two indices: the clearest one, then those on both sides of it."""
    part = series[start:end]
    if part.size < 2 * MIN_RUNS or np.ptp(part) == 0:
        return []
    found = _clearest(part)
    if not found.contrast:
        return []
    place = _settled(part, found)
    if not _stands_out(part, found, place):
        return []
    middle = start + place
    # Fewer runs than a level takes may be outliers: what they hide is looked for without them.
    if place < MIN_RUNS:
        return _split(series, middle, end)
    if place > part.size - MIN_RUNS:
        return _split(series, start, middle)
    return [*_split(series, start, middle), middle, *_split(series, middle, end)]


def _stands_out(part: Floats, found: _Contrast, place: int) -> bool:
    """Whether a contrast exceeds the noise, and more than equal engines differ by."""
    has_states = _has_states(part, place)
    contrast = min(found.contrast, _mean_contrast(part, found)) if has_states else found.contrast
    if contrast < THRESHOLD * _noise(part, place, has_states=has_states):
        return False
    return abs(found.after - found.before) > SMALLEST_SHARE * max(abs(found.before), abs(found.after))


@dataclass(frozen=True, slots=True)
class _Contrast:
    """Two medians around a place, each with the runs that it is taken of; ``contrast`` is their weighted difference."""

    contrast: float
    place: int
    before: float
    after: float
    runs_before: int
    runs_after: int


def _clearest(part: Floats) -> _Contrast:
    """Return the largest contrast."""
    before, runs_before, after, runs_after = _sides(part)
    # Every side before a place against every side behind it: (windows, windows, places).
    runs = runs_before[:, None] + runs_after
    weights = np.sqrt(runs_before[:, None] * runs_after / np.maximum(runs, 1))
    contrasts = np.nan_to_num(np.abs(after - before[:, None]) * weights)
    left, right, place = (int(index) for index in np.unravel_index(np.argmax(contrasts), contrasts.shape))
    sizes = int(runs_before[left, place]), int(runs_after[right, place])
    levels = float(before[left, place]), float(after[right, place])
    return _Contrast(float(contrasts[left, right, place]), place, *levels, *sizes)


def _sides(part: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the medians of windows before each place and how many runs each has, and the same behind each place.

    Each is of (windows, places); a median is NaN where its window does not fit. The last window is what is shorter than
    any other: all runs before the first places, or behind the last ones.
    """
    windows, count = [size for size in _WINDOWS if size <= part.size - MIN_RUNS], part.size
    before, after = np.full((2, len(windows) + 1, count + 1), np.nan)
    sizes = np.array([*windows, 0.0])[:, None] * np.ones(count + 1)
    runs_before, runs_after = sizes, sizes.copy()
    for row, window in enumerate(windows):
        # A window ends where the runs before a place do, and begins where those behind a place do.
        before[row, window:] = after[row, : count - window + 1] = np.median(sliding_window_view(part, window), axis=1)
    for size in range(MIN_RUNS, min(_WINDOWS)):
        runs_before[-1, size] = runs_after[-1, count - size] = size
        before[-1, size], after[-1, count - size] = np.median(part[:size]), np.median(part[count - size :])
    return before, runs_before, after, runs_after


def _noise(part: Floats, place: int, *, has_states: bool) -> float:
    """Return the standard deviation of one run, widened by how alike neighbours are; a step at ``place`` adds nothing.

    Of an autoregression the variance of differences over two runs is ``1 + tie`` times that over one, and that of a
    level's mean is wider by ``(1 + tie) / (1 - tie)``.
    """
    variance = _spread(_differences(part, place, 1), has_states=has_states) ** 2
    if not variance:
        return 0.0
    tie = 0.0
    if part.size >= _TIED_FROM:
        # The ratio itself is uncertain by some 1 / sqrt(n): below that neighbours count as free.
        over_two = _spread(_differences(part, place, 2), has_states=has_states)
        tie = over_two**2 / variance - 1 - 1 / np.sqrt(part.size)
    tie = float(np.clip(tie, 0.0, _MAX_TIE))
    return float(np.sqrt(variance / 2 * (1 + tie)) / (1 - tie))


def _differences(part: Floats, place: int, lag: int) -> Floats:
    """Return differences over ``lag`` runs, none across a place."""
    return np.concatenate([side[lag:] - side[:-lag] for side in (part[:place], part[place:]) if side.size > lag])


def _limit(differences: Floats) -> float:
    """Return what a difference may be without being that of an outlier."""
    return _CLIP * _NORMAL_MAD * float(np.median(np.abs(differences)))


def _spread(differences: Floats, *, has_states: bool) -> float:
    """Return the root mean square of differences, outliers clipped unless they are a state of the series."""
    limit = np.inf if has_states else _limit(differences)
    return float(np.sqrt(np.mean(np.square(np.clip(differences, -limit, limit)))))


def _has_states(part: Floats, place: int) -> bool:
    """Whether runs are far off too often for outliers: a clock with two states, a count that is 0 on most nights."""
    differences = _differences(part, place, 1)
    limit = _limit(differences)
    far = int(np.count_nonzero(np.abs(differences) > limit))
    return far > (_MAX_OUTLIERS * differences.size if limit else _MAX_MOVES)


def _mean_contrast(part: Floats, found: _Contrast) -> float:
    """Return a contrast by means: which of two states has more runs decides a median, and says little of the level."""
    before = part[found.place - found.runs_before : found.place]
    after = part[found.place : found.place + found.runs_after]
    weight = np.sqrt(before.size * after.size / (before.size + after.size))
    return float(abs(after.mean() - before.mean()) * weight)


def _costs(part: Floats, start: int, end: int, before: float, after: float) -> Floats:
    """Return, for each place from ``start`` to ``end``, how far the runs between lie from their side's level."""
    inside = part[start:end]
    as_before = np.concatenate([[0.0], np.cumsum(np.abs(inside - before))])
    as_after = np.concatenate([np.cumsum(np.abs(inside - after)[::-1])[::-1], [0.0]])
    costs: Floats = as_before + as_after
    return costs


def _settled(part: Floats, found: _Contrast) -> int:
    """Return where exactly a step lies: a window's median stays as it is while less than half of it lies beyond."""
    start, end = found.place - found.runs_before // 2, found.place + found.runs_after // 2
    return start + int(np.argmin(_costs(part, start, end, found.before, found.after)))


def _certain(series: Floats, start: int, place: int, end: int) -> tuple[int, int]:
    """Return the last index that surely lies before a step, and the first that surely lies behind it."""
    before, after = float(np.median(series[start:place])), float(np.median(series[place:end]))
    costs = _costs(series, start, end, before, after)
    deviation = costs.min() / (end - start)
    likely = np.flatnonzero(costs - costs.min() <= _LIKELY * deviation)
    last_before, first_after = start + max(int(likely[0]) - 1, 0), min(start + int(likely[-1]), end - 1)
    # Levels of a few runs may be nearer to each other elsewhere than where windows of runs differ most.
    return min(last_before, place - 1), max(first_after, place)
