"""Figures that runs gave for a while and give no more: their newest value is an old one."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from parity.history.steps import MIN_RUNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from parity.history.model import Series


def absence_notes(series: Sequence[Series]) -> Iterator[str]:
    """Yield a sentence for each variant of a machine that lacks figures in the newest runs there.

    Not every run measures everything: a figure is missed where it was out of sight for twice as long as ever before.
    """
    seen: defaultdict[str, set[int]] = defaultdict(set)
    for one in series:
        seen[one.machine].update(point.visit.number for point in one.points)
    places = {machine: {number: place for place, number in enumerate(sorted(runs))} for machine, runs in seen.items()}
    missed: defaultdict[tuple[str, str, int], list[Series]] = defaultdict(list)
    for one in series:
        if count := _missed(one, places[one.machine]):
            missed[one.machine, one.variant, count].append(one)
    for (machine, _, count), found in missed.items():
        first, last = found[0], found[0].points[-1].visit
        more = f" and {len(found) - 1} more of this variant" if len(found) > 1 else ""
        yield (
            f"{first.label}{more}: not in the newest {count} runs on {machine}; the latest is of {last.name} "
            f"({last.created})"
        )


def _missed(one: Series, places: Mapping[int, int]) -> int:
    """Return how many of a machine's runs came behind a series' last; 0 where that is nothing unusual."""
    own = [places[point.visit.number] for point in one.points]
    if len(own) < MIN_RUNS:
        return 0
    gap, behind = max(later - earlier for earlier, later in pairwise(own)), len(places) - 1 - own[-1]
    return behind if behind > 2 * gap else 0
