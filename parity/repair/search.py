"""The search for a small set of nodes to keep: any predicate over sets of names, no model in it.

Sets grow along a ranking, doubling, until one passes; that one is then minimized by delta debugging (ddmin: Zeller and
Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002) to a set from which no node can be dropped. Where
few units do not pass, nor all of them together, the search soon ends.
Nothing is assumed of the predicate: one more node kept may make things worse.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING

from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Kept = frozenset[str]
"""Names of the nodes that are kept."""

NOTHING: Kept = frozenset()

_FEW = 8
"""Where so many units do not pass, all of them are tried: whether precision mends it at all is worth one try."""
_LAST_RESORT = 4
"""Where even all units together fail: how many are then left out, and tried alone."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of keeping a set of nodes.

    Attributes
    ----------
    severity
        The worst headroom: above 1 an element misses its bound, infinite where one is not finite.
    sqnr_db
        Of the worst output; NaN where it was not measured.
    is_whole
        Whether all feeds were judged; where not, a feed failed and the figures are of that feed alone.
    reason
        Why it does not pass.
    """

    verdict: Verdict
    severity: float
    sqnr_db: float = math.nan
    cost_s: float = 0.0
    is_whole: bool = True
    reason: str = ""

    @property
    def passes(self) -> bool:
        """Whether every check passes."""
        return self.verdict is Verdict.PASS


@dataclass(frozen=True, slots=True)
class Tried:
    """A set that was tried."""

    kept: Kept
    trial: Trial


@dataclass(frozen=True, slots=True)
class Budget:
    """When a search ends; None is no limit. A try that has begun is finished."""

    tries: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class SearchProgress:
    """How far a search is: ``best`` is the size of the smallest set that passes, None while there is none."""

    tries: int
    most_tries: int | None
    best: int | None
    seconds_left: float | None


class Ending(StrEnum):
    """How a search ended."""

    NOTHING_TO_MEND = "nothing to mend"
    """The empty set passes."""
    MENDED = "mended"
    NOT_FOUND = "not found"
    """No set that was tried passes, all nodes together among them."""
    BUDGET = "budget"
    """The budget ended before a set passed."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes
    ----------
    found
        The set that passes; None where none was found.
    is_minimal
        Whether each of the sets with one node less was tried and does not pass.
    is_exhaustive
        Whether every set there is was tried.
    front
        The sets than which no other has fewer nodes and is less severe, the smallest first.
    tries
        How many sets were tried.
    known
        How many sets that were met had been tried before, the empty one left out.
    """

    ending: Ending
    found: Tried | None
    is_minimal: bool
    is_exhaustive: bool
    front: tuple[Tried, ...]
    tries: int
    known: int
    elapsed_s: float


def search(
    units: Sequence[Kept],
    try_set: Callable[[Kept], Trial],
    budget: Budget | None = None,
    *,
    known: Mapping[Kept, Trial] | None = None,
    told: Callable[[SearchProgress], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> SearchResult:
    """Find a set of nodes that passes and from which no node can be dropped.

    Parameters
    ----------
    units
        Disjoint sets of nodes that are worth keeping together only, the most promising first.
    try_set
        Called at most once for a set.
    known
        Trials made before; they cost nothing.
    told
        Called after every try.
    clock
        Seconds since whenever.
    """
    tries = _Tries(try_set, budget or Budget(), dict(known or {}), told, clock)
    is_complete = True
    try:
        parts = _grow(tries, units)
        single = [frozenset({name}) for part in _minimize(tries, parts) for name in sorted(part)]
        _minimize(tries, single)
    except _SpentError:
        is_complete = False
    return tries.result(is_complete=is_complete, universe=_union(units))


class _SpentError(Exception):
    """The budget has ended."""


class _Tries:
    """What was tried, and what may still be."""

    def __init__(
        self,
        try_set: Callable[[Kept], Trial],
        budget: Budget,
        known: dict[Kept, Trial],
        told: Callable[[SearchProgress], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self._try_set = try_set
        self._budget = budget
        self._tried = known
        self._given = frozenset(known)
        self._known: frozenset[Kept] = frozenset()
        self._told = told
        self._clock = clock
        self._began = clock()
        self._count = 0
        self._best: Kept | None = None

    def passes(self, kept: Kept) -> bool:
        """Whether a set passes; every passing set that a search meets is smaller than the one before it."""
        is_new = kept not in self._tried
        if not is_new:
            self._known |= {kept} & self._given
        else:
            self._require_budget()
            self._tried[kept] = self._try_set(kept)
            self._count += 1
        if self._tried[kept].passes:
            self._best = kept
        if is_new and self._told is not None:
            self._told(self._progress())
        return self._tried[kept].passes

    def _require_budget(self) -> None:
        tries, left = self._budget.tries, self._seconds_left()
        if (tries is not None and self._count >= tries) or (left is not None and left <= 0.0):
            raise _SpentError

    def _seconds_left(self) -> float | None:
        seconds = self._budget.seconds
        return None if seconds is None else max(0.0, seconds - (self._clock() - self._began))

    def _progress(self) -> SearchProgress:
        best = None if self._best is None else len(self._best)
        return SearchProgress(self._count, self._budget.tries, best, self._seconds_left())

    def result(self, *, is_complete: bool, universe: Kept) -> SearchResult:
        """Return what was found by now."""
        best = self._best
        return SearchResult(
            ending=_ending(best, is_complete=is_complete),
            found=None if best is None else Tried(best, self._tried[best]),
            is_minimal=best is not None and is_complete,
            is_exhaustive=len(self._tried) == 2 ** len(universe),
            front=_front(Tried(kept, trial) for kept, trial in self._tried.items()),
            tries=self._count,
            known=len(self._known - {NOTHING}),
            elapsed_s=self._clock() - self._began,
        )


def _ending(best: Kept | None, *, is_complete: bool) -> Ending:
    if best is None:
        return Ending.NOT_FOUND if is_complete else Ending.BUDGET
    return Ending.MENDED if best else Ending.NOTHING_TO_MEND


def _grow(tries: _Tries, units: Sequence[Kept]) -> list[Kept]:
    """Return units that pass together; none where the empty set passes, or where nothing was found."""
    sizes = [0, *_doubling(len(units))]
    few = _first_passing(tries, [list(units[:count]) for count in sizes if count <= _FEW])
    if few is not None:
        return few
    if not tries.passes(_union(units)):
        return _first_passing(tries, _last_resort(units)) or []
    many = [list(units[:count]) for count in sizes if count > _FEW]
    return _first_passing(tries, many) or list(units)


def _doubling(count: int) -> Iterator[int]:
    """Yield 1, 2, 4, … below a count."""
    size = 1
    while size < count:
        yield size
        size *= 2


def _last_resort(units: Sequence[Kept]) -> Iterator[list[Kept]]:
    """Yield all units but one, and one alone, for the first few."""
    for place in range(min(len(units), _LAST_RESORT)):
        yield [*units[:place], *units[place + 1 :]]
        yield [units[place]]


def _minimize(tries: _Tries, parts: list[Kept]) -> list[Kept]:
    """Return parts of which none can be dropped; ``parts`` pass together, and none of them do not."""
    count = 2
    while len(parts) > 1:
        chunks = _split(parts, count)
        if (chunk := _first_passing(tries, chunks)) is not None:
            parts, count = chunk, 2
        elif (rest := _first_passing(tries, _complements(parts, chunks))) is not None:
            parts, count = rest, max(count - 1, 2)
        elif count == len(parts):
            break
        else:
            count = min(2 * count, len(parts))
    return parts


def _complements(parts: Sequence[Kept], chunks: Iterable[list[Kept]]) -> Iterator[list[Kept]]:
    return ([part for part in parts if part not in chunk] for chunk in chunks)


def _first_passing(tries: _Tries, candidates: Iterable[list[Kept]]) -> list[Kept] | None:
    return next((parts for parts in candidates if tries.passes(_union(parts))), None)


def _split(parts: Sequence[Kept], count: int) -> list[list[Kept]]:
    """Return neighbouring parts in ``count`` chunks of nearly one size."""
    ends = [len(parts) * number // count for number in range(count + 1)]
    return [list(parts[start:end]) for start, end in pairwise(ends)]


def _union(parts: Iterable[Kept]) -> Kept:
    return frozenset().union(*parts)


def _front(tried: Iterable[Tried]) -> tuple[Tried, ...]:
    """Return what nothing else beats in both the number of nodes and the severity."""
    front: list[Tried] = []
    for one in sorted(tried, key=lambda one: (len(one.kept), _badness(one.trial), sorted(one.kept))):
        if not front or _badness(one.trial) < _badness(front[-1].trial):
            front.append(one)
    return tuple(front)


def _badness(trial: Trial) -> tuple[bool, float]:
    # A check may fail although every element keeps its bound: a passing set is never the worse one.
    return not trial.passes, math.inf if math.isnan(trial.severity) else trial.severity
