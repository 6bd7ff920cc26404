"""Two sides of one variant, figure by figure: what changed, which way, and whether by more than noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from parity.agreement import Better
from parity.baseline.allowance import LATENCY, Allowance, allowance_of
from parity.slowdown import Slowdown, compare

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from parity.baseline.model import LatencySeries, VariantFigures


class Direction(StrEnum):
    """Which way a figure went."""

    EQUAL = "equal"
    BETTER = "better"
    WORSE = "worse"
    CHANGED = "changed"
    """Neither way is better."""
    NEW = "new"
    GONE = "gone"
    INCOMPARABLE = "incomparable"
    """The two are measured in different ways."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure on both sides.

    Attributes
    ----------
    old, new
        None where that side lacks it.
    is_significant
        Whether it moved by more than is allowed.
    allowed
        What it may move by, in words.
    is_one_sided, is_judged
        As ``parity.baseline.allowance.Allowance``.
    slowdown
        Of a latency: how it was judged.
    """

    check: str
    subject: str
    name: str
    old: float | None
    new: float | None
    direction: Direction
    is_significant: bool
    allowed: str
    unit: str = ""
    is_one_sided: bool = False
    is_judged: bool = True
    slowdown: Slowdown | None = None

    @property
    def place(self) -> str:
        """Such as ``outputs logits sqnr_db``."""
        return " ".join(part for part in (self.check, self.subject, self.name) if part)

    @property
    def is_regression(self) -> bool:
        """Whether it got worse, or cannot be seen any more."""
        return self.is_significant and self.direction in {Direction.WORSE, Direction.GONE}

    @property
    def leaves_baseline(self) -> bool:
        """Whether it is not what was accepted."""
        if self.direction is Direction.BETTER:
            return self.is_significant and not self.is_one_sided
        return self.is_significant and self.direction is not Direction.EQUAL

    @property
    def size(self) -> float:
        """How far it moved, as a share of the old value: for sorting."""
        if self.old is None or self.new is None:
            return math.inf
        if self.old == self.new:
            return 0.0
        share = abs(self.new - self.old) / abs(self.old) if self.old else math.inf
        return math.inf if math.isnan(share) else share


def changes_of(
    old: VariantFigures,
    new: VariantFigures,
    checks: Collection[str],
    overrides: Mapping[str, float] | None = None,
) -> tuple[Change, ...]:
    """Return every figure that either side has, in the order of checks, subjects and names.

    Parameters
    ----------
    checks
        What the new side measured: a figure of another check is not gone, it was not looked at, and is left out.
    overrides
        As ``parity.baseline.allowance.allowance_of``.
    """
    return (*_figures(old, new, checks, overrides), *_latencies(old, new, checks, overrides))


def _figures(
    old: VariantFigures, new: VariantFigures, checks: Collection[str], overrides: Mapping[str, float] | None
) -> Iterator[Change]:
    before, after = dict(_flat(old)), dict(_flat(new))
    for check, subject, name in sorted(before.keys() | after.keys()):
        key = check, subject, name
        if check in checks or key in after:
            allowance = allowance_of(check, name, overrides)
            yield change_of(key, before.get(key), after.get(key), allowance)


def _flat(variant: VariantFigures) -> Iterator[tuple[tuple[str, str, str], float]]:
    for check, subjects in variant.figures.items():
        for subject, values in subjects.items():
            for name, value in values.items():
                yield (check, subject, name), value


def change_of(key: tuple[str, str, str], old: float | None, new: float | None, allowance: Allowance) -> Change:
    """Return what became of one figure; at least one side has it."""
    if old is None or new is None:
        direction, is_significant = Direction.NEW if old is None else Direction.GONE, allowance.is_judged
    else:
        direction = _direction(old, new, allowance.better)
        is_significant = allowance.is_judged and not allowance.allows(old, new)
    return Change(
        *key,
        old=old,
        new=new,
        direction=direction,
        is_significant=is_significant,
        allowed=str(allowance),
        unit=allowance.unit,
        is_one_sided=allowance.is_one_sided,
        is_judged=allowance.is_judged,
    )


def _direction(old: float, new: float, better: Better) -> Direction:
    if old == new or (math.isnan(old) and math.isnan(new)):
        return Direction.EQUAL
    if better is Better.NEITHER or math.isnan(old):
        return Direction.CHANGED
    if math.isnan(new):
        return Direction.WORSE
    return Direction.BETTER if (new > old) == (better is Better.HIGHER) else Direction.WORSE


def _latencies(
    old: VariantFigures, new: VariantFigures, checks: Collection[str], overrides: Mapping[str, float] | None
) -> Iterator[Change]:
    factor = allowance_of("latency", "median_ms", overrides).relative
    for size in sorted(old.latency.keys() | new.latency.keys()):
        if "latency" in checks or size in new.latency:
            yield latency_change(size, old.latency.get(size), new.latency.get(size), factor)


def latency_change(size: int, old: LatencySeries | None, new: LatencySeries | None, factor: float) -> Change:
    """Return what became of the latency at one batch size; at least one side has it."""
    key = "latency", f"batch {size}", "median_ms"
    values = median_of(old), median_of(new)
    if old is None or new is None:
        return change_of(key, *values, LATENCY)
    if old.mode != new.mode:
        told = f"{_mode(old)} against {_mode(new)}"
        return Change(*key, *values, Direction.INCOMPARABLE, is_significant=True, allowed=told, unit="ms")
    slowdown = compare(old.all_ms, new.all_ms, factor)
    return Change(
        *key,
        *values,
        direction=_direction(1.0, slowdown.ratio, Better.LOWER),
        is_significant=slowdown.is_slower or slowdown.is_faster,
        allowed=allowed_slowdown(slowdown),
        unit="ms",
        is_one_sided=True,
        slowdown=slowdown,
    )


def allowed_slowdown(slowdown: Slowdown) -> str:
    """Return what a latency may be slower by, in words: the factor, or the noise where that is larger."""
    if slowdown.factor >= slowdown.noise:
        return f"+{slowdown.factor:.1%}"
    guess = " assumed" if slowdown.is_guess else ""
    return f"+{slowdown.noise:.1%} (noise{guess})"


def _mode(series: LatencySeries) -> str:
    graph = "with" if series.cuda_graph else "without"
    return f"{series.clock} time {graph} CUDA graph, streams: {series.streams}"


def median_of(series: LatencySeries | None) -> float | None:
    """Return the geometric mean of the medians of a series' measurements, in ms."""
    from statistics import geometric_mean, median

    return None if series is None else geometric_mean([median(blocks) for blocks in series.all_ms])
