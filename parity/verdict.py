"""The word that every judgement ends in."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What a check came to."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    """Degenerate data or an unstable measurement: neither agreement nor disagreement is shown."""
    ERROR = "error"
    """A crash or a missing part."""
    SKIPPED = "skipped"
    """Left out by the user's own selection."""
