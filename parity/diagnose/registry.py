"""The rules of diagnosis, one file each in ``parity/diagnose/rules/``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parity.diagnose.evidence import Rule

RULES: tuple[Rule, ...] = ()
"""In the order in which they are asked: those that make no probes come first, since time may run out."""
