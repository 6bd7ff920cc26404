"""What one pass over two tensors counts; tallies of parts merge into the tally of the whole."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parity.difference import Element, Side, TensorDifference
from parity.fill import fill_levels
from parity.percentiles import BIN_ERROR, ErrorHistogram
from parity.widesum import WideSum, cosine, decibels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parity.sums import Wide


@dataclass(slots=True)
class SideTally:
    """What was seen of one side; extremes and squares over its finite elements."""

    minimum: float = math.inf
    maximum: float = -math.inf
    finite_count: int = 0
    nan_count: int = 0
    inf_count: int = 0
    squares: WideSum = field(default_factory=WideSum)

    def add(self, count: int, extremes: tuple[float, float], square: tuple[float, int]) -> None:
        """Add finite elements: how many, the smallest and largest, and ``square[0] * 2**square[1]`` of squares."""
        self.finite_count += count
        self.minimum = min(self.minimum, extremes[0])
        self.maximum = max(self.maximum, extremes[1])
        self.squares.add(*square)

    def merge(self, other: SideTally) -> None:
        """Add what another tally saw."""
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        self.finite_count += other.finite_count
        self.nan_count += other.nan_count
        self.inf_count += other.inf_count
        self.squares.merge(other.squares)

    @property
    def peak(self) -> float:
        """The largest magnitude, 0.0 where nothing is finite."""
        return max(-self.minimum, self.maximum) if self.finite_count else 0.0

    def side(self) -> Side:
        """Return the figures of this side."""
        if not self.finite_count:
            return Side(0.0, 0.0, 0.0, self.nan_count, self.inf_count)
        rms = self.squares.root_over(self.finite_count)
        return Side(self.minimum, self.maximum, rms, self.nan_count, self.inf_count)


@dataclass(slots=True)
class PairTally:
    """Sums over elements that are finite on both sides."""

    expected: SideTally = field(default_factory=SideTally)
    actual_squares: WideSum = field(default_factory=WideSum)
    products: WideSum = field(default_factory=WideSum)
    noise: WideSum = field(default_factory=WideSum)

    @classmethod
    def of(cls, parts: Iterable[PairTally]) -> PairTally:
        """Return the sums over several parts."""
        total = cls()
        for part in parts:
            total.merge(part)
        return total

    def add(
        self, count: int, extremes: tuple[float, float], squares: tuple[Wide, Wide], product: Wide, noise: Wide
    ) -> None:
        """Add elements: the reference's extremes, the squares of both sides (actual first), products and errors."""
        self.expected.add(count, extremes, squares[1])
        self.actual_squares.add(*squares[0])
        self.products.add(*product)
        self.noise.add(*noise)

    def merge(self, other: PairTally) -> None:
        """Add what another tally summed up."""
        self.expected.merge(other.expected)
        for part in ("actual_squares", "products", "noise"):
            getattr(self, part).merge(getattr(other, part))

    @property
    def sqnr_db(self) -> float:
        """Signal over noise."""
        return decibels(self.expected.squares, self.noise)

    @property
    def cosine(self) -> float:
        """Cosine similarity."""
        return cosine(self.products, self.actual_squares, self.expected.squares)


@dataclass(slots=True)
class Tally:
    """Running figures of a comparison.

    The sums are over elements that are finite on both sides, those of ``pairs`` by the reference's level
    (``parity.fill``); ``ulp`` is the largest error in units of the judged precision's last place at the reference, for
    precisions that have an exponent; ``histogram`` takes up to 4 MiB, and is None where nobody asks for percentiles.
    """

    element_count: int = 0
    mismatch_count: int = 0
    nonfinite_mismatch_count: int = 0
    worst_absolute: Element | None = None
    worst_relative: Element | None = None
    first_nonfinite: Element | None = None
    headroom: float = 0.0
    ulp: float = 0.0
    absolute: WideSum = field(default_factory=WideSum)
    signed: WideSum = field(default_factory=WideSum)
    pairs: dict[int, PairTally] = field(default_factory=dict)
    histogram: ErrorHistogram | None = field(default_factory=ErrorHistogram)
    actual: SideTally = field(default_factory=SideTally)
    expected: SideTally = field(default_factory=SideTally)

    @property
    def worst(self) -> float:
        """The largest absolute error so far."""
        return self.worst_absolute.difference if self.worst_absolute else 0.0

    @property
    def worst_ratio(self) -> float:
        """The largest relative error so far."""
        return self.worst_relative.difference if self.worst_relative else 0.0

    @property
    def fill(self) -> frozenset[int]:
        """The levels of values that fill masked places, known when all values were seen."""
        return fill_levels({level: pairs.expected for level, pairs in self.pairs.items()})

    @property
    def unmasked(self) -> PairTally:
        """The sums without values that fill masked places."""
        fill = self.fill
        return PairTally.of(pairs for level, pairs in self.pairs.items() if level not in fill)

    def level(self, level: int) -> PairTally:
        """Return the tally of a level, which is begun where it is not there."""
        return self.pairs.setdefault(level, PairTally())

    def note_nonfinite(self, element: Element) -> None:
        """Remember the first element that is non-finite on one side only."""
        self.first_nonfinite = _earlier(self.first_nonfinite, element)

    def merge(self, other: Tally) -> None:
        """Add what another tally counted; of equal extremes the first element of the tensors stays."""
        for count in ("element_count", "mismatch_count", "nonfinite_mismatch_count"):
            setattr(self, count, getattr(self, count) + getattr(other, count))
        self.absolute.merge(other.absolute)
        self.signed.merge(other.signed)
        for level, pairs in other.pairs.items():
            self.level(level).merge(pairs)
        self.headroom = max(self.headroom, other.headroom)
        self.ulp = max(self.ulp, other.ulp)
        self.worst_absolute = _larger(self.worst_absolute, other.worst_absolute)
        self.worst_relative = _larger(self.worst_relative, other.worst_relative)
        self.first_nonfinite = _earlier(self.first_nonfinite, other.first_nonfinite)
        if self.histogram is not None and other.histogram is not None:
            self.histogram.merge(other.histogram)
        self.actual.merge(other.actual)
        self.expected.merge(other.expected)

    def _percentiles(self) -> list[float]:
        if self.histogram is None:
            return [math.nan] * 3
        return self.histogram.percentiles((500, 990, 999), self.worst)

    def difference(self, max_ulp: float) -> TensorDifference:
        """Return the figures of everything counted."""
        whole, rest = PairTally.of(self.pairs.values()), self.unmasked
        count = whole.expected.finite_count
        p50, p99, p999 = self._percentiles()
        return TensorDifference(
            element_count=self.element_count,
            mismatch_count=self.mismatch_count,
            nonfinite_mismatch_count=self.nonfinite_mismatch_count,
            worst_absolute=self.worst_absolute,
            worst_relative=self.worst_relative,
            headroom=self.headroom,
            mean_absolute=self.absolute.over(count) if count else math.nan,
            rms=whole.noise.root_over(count) if count else math.nan,
            bias=self.signed.over(count) if count else math.nan,
            p50_absolute=p50,
            p99_absolute=p99,
            p999_absolute=p999,
            percentile_bin_error=BIN_ERROR,
            sqnr_db=_lower(whole.sqnr_db, rest.sqnr_db),
            cosine=_lower(whole.cosine, rest.cosine),
            max_ulp=max_ulp,
            actual=self.actual.side(),
            expected=self.expected.side(),
            first_nonfinite=self.first_nonfinite,
            octaves=self.histogram.octaves() if self.histogram is not None else (),
            fill_count=sum(self.pairs[level].expected.finite_count for level in self.fill),
        )


def _lower(whole: float, rest: float) -> float:
    """Return the lower figure: fill values drown what is wrong beside them, and left out what is wrong in them."""
    return rest if rest < whole else whole


def _place(element: Element) -> tuple[int, tuple[int, ...]]:
    return element.feed, element.index


def _larger(first: Element | None, second: Element | None) -> Element | None:
    if first is None or second is None:
        return first or second
    if first.difference == second.difference:
        return min(first, second, key=_place)
    return first if first.difference > second.difference else second


def _earlier(first: Element | None, second: Element | None) -> Element | None:
    return min((element for element in (first, second) if element is not None), key=_place, default=None)
