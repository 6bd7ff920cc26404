"""Two sides joined by case and variant: what changed, what is new, and what is gone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parity.baseline.changes import Direction, changes_of
from parity.baseline.machine import family_of, variant_key
from parity.baseline.model import VariantFigures
from parity.baseline.slow_layers import SlowLayers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from parity.baseline.changes import Change
    from parity.baseline.measured import Key
    from parity.baseline.sides import Side

REGRESSION, COULD_NOT_COMPARE = 1, 2


@dataclass(frozen=True, slots=True)
class Pair:
    """A variant on both sides.

    Attributes
    ----------
    old, new
        Its labels, empty where a side does not have it.
    not_looked_at
        Checks of the old side that the new one did not make.
    notes
        What keeps figures from meaning the same on both sides.
    broken
        What the new side could not judge although the old one did, a sentence each.
    """

    case: str
    old: str
    new: str
    changes: tuple[Change, ...] = ()
    slow: SlowLayers = field(default_factory=lambda: SlowLayers((), were_timed=False))
    not_looked_at: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Such as ``fp16@tensorrt-8.6``, or ``fp16@tensorrt-8.6 -> tensorrt-10.16``."""
        if not self.old or not self.new or self.old == self.new:
            return self.new or self.old
        return f"{self.old} -> {self.new.rpartition('@')[2]}"

    @property
    def direction(self) -> Direction:
        """Whether a side lacks it, else the worst that happened to it."""
        if not self.old or not self.new:
            return Direction.NEW if self.new else Direction.GONE
        found = {change.direction for change in self.changes if change.is_significant}
        return next((direction for direction in _WORST_FIRST if direction in found), Direction.EQUAL)

    @property
    def is_regression(self) -> bool:
        """Whether it got worse, or cannot be seen any more."""
        return self.direction is Direction.GONE or any(change.is_regression for change in self.changes)


_WORST_FIRST = (
    *(Direction.WORSE, Direction.GONE, Direction.INCOMPARABLE, Direction.CHANGED, Direction.BETTER, Direction.NEW),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that two sides have, joined; regressions first."""

    base: Side
    new: Side
    pairs: tuple[Pair, ...]

    @property
    def compared(self) -> tuple[Pair, ...]:
        """The variants that have a figure on both sides."""
        return tuple(pair for pair in self.pairs if any(_is_compared(change) for change in pair.changes))

    @property
    def is_broken(self) -> bool:
        """Whether the new side was interrupted, or could not judge what the old one did."""
        return not self.new.is_complete or any(pair.broken for pair in self.pairs)

    @property
    def exit_code(self) -> int:
        """0: nothing got worse; 1: something did, or is gone; 2: nothing could be compared, or something is broken."""
        if self.is_broken or not self.compared:
            return COULD_NOT_COMPARE
        return REGRESSION if any(pair.is_regression for pair in self.pairs) else 0


def _is_compared(change: Change) -> bool:
    return change.direction not in {Direction.NEW, Direction.GONE, Direction.INCOMPARABLE}


def compare_sides(base: Side, new: Side, *, across: bool = False) -> Comparison:
    """Join two sides and compare every figure by the default tolerances.

    Variants are joined by case and label; then by what the labels say without a release of TensorRT, where that leaves
    no choice; and with ``across`` by their names alone, whatever executed them.
    """
    joined = _join(list(base.variants), list(new.variants), across=across)
    pairs = [_pair(base, new, old_key, new_key) for old_key, new_key in joined]
    return Comparison(base, new, tuple(sorted(pairs, key=lambda pair: not pair.is_regression)))


def _join(old: list[Key], new: list[Key], *, across: bool) -> list[tuple[Key | None, Key | None]]:
    joined: list[tuple[Key | None, Key | None]] = []
    for name_of in (_exact, _by_family, *((_by_name,) if across else ())):
        found = [(a, b) for a in old if (b := _only_partner(a, old, new, name_of)) is not None]
        joined += found
        old = [key for key in old if key not in {a for a, _ in found}]
        new = [key for key in new if key not in {b for _, b in found}]
    return [*joined, *((key, None) for key in old), *((None, key) for key in new)]


def _only_partner(key: Key, old: Iterable[Key], new: Iterable[Key], name_of: Callable[[Key], Key]) -> Key | None:
    partners = [other for other in new if name_of(other) == name_of(key)]
    rivals = [other for other in old if name_of(other) == name_of(key)]
    return partners[0] if len(partners) == len(rivals) == 1 else None


def _exact(key: Key) -> Key:
    return key


def _by_family(key: Key) -> Key:
    return key[0], variant_key(key[1])


def _by_name(key: Key) -> Key:
    return key[0], key[1].rpartition("@")[0]


def _pair(base: Side, new: Side, old_key: Key | None, new_key: Key | None) -> Pair:
    broken = _broken(base, new, old_key, new_key) if old_key else ()
    if old_key is None or new_key is None:
        case = (old_key or new_key or ("", ""))[0]
        return Pair(case, old_key[1] if old_key else "", new_key[1] if new_key else "", broken=broken)
    before, after = base.variants[old_key], new.variants[new_key]
    made = new.checks.get(new_key, frozenset())
    if family_of(old_key[1]) != family_of(new_key[1]):
        # A runtime does not make another one's checks.
        made &= base.checks.get(old_key, frozenset())
        after = _only(after, made)
    changes = changes_of(before, after, made)
    return Pair(
        case=old_key[0],
        old=old_key[1],
        new=new_key[1],
        changes=changes,
        slow=SlowLayers.between(before.layers, after.layers),
        not_looked_at=tuple(sorted(base.checks.get(old_key, frozenset()) - made)),
        notes=(*_differences(base, new, old_key[0], changes), *_noises(base, new, old_key, new_key)),
        broken=broken,
    )


def _broken(base: Side, new: Side, old_key: Key, new_key: Key | None) -> tuple[str, ...]:
    """Return what could not be judged of a variant, or of its whole case, that the old side judged."""
    case, made = old_key[0], base.checks.get(old_key, frozenset())
    # A variant without a figure has no partner; what stopped it stands under the label that it had.
    keys = [new_key] if new_key else [key for key in new.broken if key[1] and _by_family(key) == _by_family(old_key)]
    of_variant = [(check, why) for key in keys for check, why in new.broken.get(key, {}).items() if check in made]
    return tuple(f"{check}: {why}" for check, why in (*of_variant, *new.broken.get((case, ""), {}).items()))


def _only(variant: VariantFigures, checks: frozenset[str]) -> VariantFigures:
    figures = {check: found for check, found in variant.figures.items() if check in checks}
    return VariantFigures(figures, variant.latency if "latency" in checks else {}, variant.layers)


def _differences(base: Side, new: Side, case: str, changes: Iterable[Change]) -> Iterable[str]:
    before, after = base.models.get(case), new.models.get(case)
    if before != after:
        yield f"the model differs: sha256 {_short(before)}, now {_short(after)}"
    if not any(_is_compared(change) and change.check not in _OF_NO_FEEDS for change in changes):
        return
    if told := _other(base.feeds.get(case), new.feeds.get(case)):
        yield f"the feeds differ: {told}; figures of other inputs say little about each other"
    if told := _other(base.case_files.get(case), new.case_files.get(case)):
        yield f"the case file differs: {told}; where its tolerances do, headroom and mismatches mean something else"


_OF_NO_FEEDS = frozenset({"latency", "engine"})


def _other(before: str | None, after: str | None) -> str:
    """Say how two hashes differ; nothing where one is not known."""
    return f"sha256 {_short(before)}, now {_short(after)}" if before and after and before != after else ""


def _short(sha256: str | None) -> str:
    return (sha256 or "unknown")[:12]


def _noises(base: Side, new: Side, old_key: Key, new_key: Key) -> Iterable[str]:
    for side, name, key in ((base, "base", old_key), (new, "new", new_key)):
        for told in side.disturbed.get(key, ()):
            yield f"latency was disturbed on the {name} side: {told}"
