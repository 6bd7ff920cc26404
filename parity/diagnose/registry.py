"""The rules of diagnosis, one file each in ``parity/diagnose/rules/``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.diagnose.rules import (
    batch_or_profile,
    calibration_preprocessing,
    crossed_step,
    fp16_accumulation,
    fp16_overflow,
    fusion_or_tactic,
    infinite_constants,
    int8_scale,
    int64_clamp,
    io_dtype_or_order,
    layernorm_pattern,
    layout_or_decoder,
    nms_caps,
    precision_not_applied,
    preprocess_drift,
    qdq_kernel_lsb,
    reference_unstable,
    resize_modes,
    stale_buffer,
    steep_operator,
    tf32,
    threshold_flips,
    topk_ties,
    underflow,
    unstable_build,
    unstable_run,
)

if TYPE_CHECKING:
    from parity.diagnose.evidence import Rule

GENERAL: tuple[Rule, ...] = (crossed_step.find, steep_operator.find)
"""What holds wherever an error grows: asked last, where more specific causes leave something to be explained."""
RULES: tuple[Rule, ...] = (
    precision_not_applied.find,
    unstable_run.find,
    stale_buffer.find,
    threshold_flips.find,
    nms_caps.find,
    topk_ties.find,
    qdq_kernel_lsb.find,
    fusion_or_tactic.find,
    int64_clamp.find,
    resize_modes.find,
    batch_or_profile.find,
    io_dtype_or_order.find,
    calibration_preprocessing.find,
    fp16_overflow.find,
    infinite_constants.find,
    layernorm_pattern.find,
    fp16_accumulation.find,
    underflow.find,
    int8_scale.find,
    tf32.find,
    reference_unstable.find,
    layout_or_decoder.find,
    preprocess_drift.find,
    unstable_build.find,
    *GENERAL,
)
"""In the order in which they are asked: those that make no probes first, since time may run out; builds come late."""
