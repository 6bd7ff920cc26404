"""The scale that all rules put their certainty on, so that causes of different rules can be ranked."""

from __future__ import annotations

CONFIRMED = 0.9
"""The probe was made, and without the cause the error is gone."""
SHOWN = 0.7
"""The cause is seen at the very place where the error is born; its probe was not made, or cannot tell."""
FITS = 0.5
"""The figures are what this cause gives; other causes give them as well."""
POSSIBLE = 0.3
"""What can do such harm is there; nothing shows that it did."""
REFUTED = 0.1
"""The probe was made, and without the cause the error is still there."""
SPECIFIC = 0.05
"""On top, for a cause that explains another one: its remedy mends more."""


def certainty_of(seen: float, is_confirmed: bool | None, *, is_specific: bool = False) -> float:
    """Return the certainty of a cause that was ``seen`` so far, after its probe; None is a probe that cannot tell."""
    chosen = seen if is_confirmed is None else CONFIRMED if is_confirmed else REFUTED
    return chosen + (SPECIFIC if is_specific else 0.0)
