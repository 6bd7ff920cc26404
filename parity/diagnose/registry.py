"""The rules of diagnosis, one file each in ``parity/diagnose/rules/``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.diagnose.rules import (
    fp16_accumulation,
    fp16_overflow,
    fusion_or_tactic,
    infinite_constants,
    int64_clamp,
    layernorm_pattern,
    precision_not_applied,
    reference_unstable,
    resize_modes,
    tf32,
    underflow,
)

if TYPE_CHECKING:
    from parity.diagnose.evidence import Rule

RULES: tuple[Rule, ...] = (
    precision_not_applied.find,
    fusion_or_tactic.find,
    int64_clamp.find,
    resize_modes.find,
    fp16_overflow.find,
    infinite_constants.find,
    layernorm_pattern.find,
    fp16_accumulation.find,
    underflow.find,
    tf32.find,
    reference_unstable.find,
)
"""In the order in which they are asked: those that make no probes come first, since time may run out."""
