"""What a history tells of a case: its figures over time, where they stepped, and what else changed there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parity.agreement import Better
    from parity.history.steps import Step


@dataclass(frozen=True, slots=True)
class Visit:
    """A run that judged the case.

    Attributes
    ----------
    number
        The order in which runs were appended.
    commit
        The hash; empty where it is not known.
    facts
        Versions and hardware by name, and hashes of what was judged.
    """

    number: int
    name: str
    created: str
    commit: str
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Point:
    """A figure's value in one run; ``samples`` are medians of blocks of readings, of a latency."""

    visit: Visit
    value: float
    samples: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Marked:
    """A step of a series.

    Attributes
    ----------
    step
        Its positions count the points of the series that have a number.
    at
        The first run at the new level.
    good, bad
        The runs to bisect between.
    changed
        What differs between those two beside the commit: ``driver 550.54.15 to 560.35.03``.
    is_worse
        None where neither way is better.
    """

    step: Step
    at: Visit
    good: Visit
    bad: Visit
    changed: tuple[str, ...]
    is_worse: bool | None


@dataclass(frozen=True, slots=True)
class Series:
    """One figure of one variant on one machine, in the order of its runs."""

    machine: str
    variant: str
    check: str
    subject: str
    name: str
    unit: str
    better: Better
    points: tuple[Point, ...]
    steps: tuple[Marked, ...] = ()

    @property
    def label(self) -> str:
        """What it is, for a line of text."""
        return " ".join(part for part in (self.variant, self.check, self.subject, self.name) if part)


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdicts of one check of a variant, in the order of its runs."""

    variant: str
    check: str
    verdicts: tuple[tuple[Visit, str], ...]


@dataclass(frozen=True, slots=True)
class History:
    """A case over time.

    Attributes
    ----------
    run_count
        Runs of the case in the file, shown or not.
    notes
        What a reader should know of the file: clocks that disagree with the order of arrival.
    """

    case: str
    run_count: int
    series: tuple[Series, ...]
    judged: tuple[Judged, ...]
    notes: tuple[str, ...] = field(default=())
