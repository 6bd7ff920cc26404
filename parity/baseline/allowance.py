"""How far a figure may move before it counts as changed, by what it is; each with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from parity.agreement import Better
from parity.detect.figures import SPECS
from parity.run_figures import Kind, better_of
from parity.slowdown import FACTOR

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a figure may move by: ``absolute + relative * |accepted|``.

    Attributes
    ----------
    is_one_sided
        Whether only getting worse counts; else a change either way does, because it shows that something else is
        judged than was accepted.
    is_judged
        Whether it counts at all; what does not is shown.
    """

    kind: Kind
    unit: str
    better: Better
    absolute: float = 0.0
    relative: float = 0.0
    is_one_sided: bool = False
    is_judged: bool = True
    reason: str = ""

    def allows(self, old: float, new: float) -> bool:
        """Whether a value lies where noise may have taken it, on either side."""
        if old == new or (math.isnan(old) and math.isnan(new)):
            return True
        if math.isinf(old) or math.isinf(new):
            # A share of infinity would allow whatever comes.
            return False
        return abs(new - old) <= self.absolute + self.relative * abs(old)

    def __str__(self) -> str:
        if not self.is_judged:
            return "not judged"
        parts = [f"{self.absolute:g}{f' {self.unit}' if self.unit != 'share' else ''}"] if self.absolute else []
        parts += [f"{self.relative:.0%}"] if self.relative else []
        return "±" + (" + ".join(parts) or "0")


_TACTICS = "an engine that is built again chooses other tactics, which round in another order"
_WORST = "one element decides it, and another tactic makes another one the worst"
_SMALL = "half a percent: smaller ones come and go with a borderline result"
_CHANGED = "what was judged is another thing"

_CLOSENESS = {
    "sqnr_db": Allowance(Kind.CLOSENESS, "dB", Better.HIGHER, absolute=1.0, reason=_TACTICS),
    "headroom": Allowance(Kind.CLOSENESS, "share", Better.LOWER, absolute=0.01, relative=0.25, reason=_WORST),
    "mismatch_count": Allowance(Kind.CLOSENESS, "count", Better.LOWER, absolute=1.0, relative=0.1, reason=_TACTICS),
    "nonfinite_mismatch_count": Allowance(
        Kind.CLOSENESS, "count", Better.LOWER, reason="a non-finite element is none of rounding"
    ),
}
_CENSUS = {
    "share": Allowance(
        Kind.CENSUS, "share", Better.HIGHER, absolute=0.05, reason="tactics decide which layers are fused and counted"
    )
}
_ENGINE = {
    "size_bytes": Allowance(
        Kind.SIZE,
        "bytes",
        Better.LOWER,
        relative=0.1,
        is_one_sided=True,
        reason="tactics bring weights in their own layout",
    ),
    "device_memory_bytes": Allowance(
        Kind.MEMORY, "bytes", Better.LOWER, relative=0.1, is_one_sided=True, reason="tactics need their own workspace"
    ),
    "build_s": Allowance(
        Kind.BUILD,
        "s",
        Better.LOWER,
        relative=0.5,
        is_one_sided=True,
        is_judged=False,
        reason="a timing cache or a busy host decides it",
    ),
}
LATENCY = Allowance(
    Kind.LATENCY,
    "ms",
    Better.LOWER,
    relative=FACTOR,
    is_one_sided=True,
    reason="and beyond what separately started measurements differ by",
)
_OF_CHECK = {"census": _CENSUS, "engine": _ENGINE, "latency": {"median_ms": LATENCY}}

_EXTREMES = ("_min", "_max", "_p99", "_p5")


def allowance_of(check: str, name: str, overrides: Mapping[str, float] | None = None) -> Allowance:
    """Return what a figure may move by.

    Parameters
    ----------
    check
        The check that gave it; ``engine`` for an engine's own.
    overrides
        Of the case file: by a figure's name what takes the place of the leading part, ``relative`` where there is one.
    """
    found = _OF_CHECK.get(check, {}).get(name) or _CLOSENESS.get(name) or _decoded(name)
    value = (overrides or {}).get(name)
    if value is None:
        return found
    part = {"relative": value} if found.relative else {"absolute": value}
    return replace(found, **part, is_judged=True, reason="the case file's")  # type: ignore[arg-type]


def _decoded(name: str) -> Allowance:
    spec = SPECS.get(name)
    unit = spec.unit if spec else ""
    kind = Kind.ACCURACY if name.startswith(("true_", "accuracy_")) else Kind.AGREEMENT
    bare = Allowance(kind, unit, better_of(name), reason=_SMALL)
    if name == "image_count":
        return replace(bare, reason=_CHANGED)
    if unit == "count":
        return replace(bare, absolute=1.0, relative=0.01)
    if unit == "px":
        return replace(bare, absolute=0.1, relative=0.25, reason=_WORST)
    if name.endswith(_EXTREMES):
        return replace(bare, absolute=0.02, reason=_WORST)
    return replace(bare, absolute=0.005)
