"""Precisions, their noise floors, and the default tolerance of each with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Precision(StrEnum):
    """What the arithmetic of a variant is rounded to."""

    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    FP8 = "fp8"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far an output may be from its reference, and why.

    The bound on every element is NumPy's, ``|actual - expected| <= atol + rtol * |expected|``, where expected is the
    reference. Two further gates may be added to it.

    Attributes
    ----------
    rtol, atol
        The two numbers of the bound.
    reason
        Why these numbers; shown beside every verdict.
    atol_unit
        ``"absolute"``: atol is in the output's own unit. ``"rms"``: atol is multiplied by the root mean square of the
        reference (the finite elements of the judged slice, over all feeds), so that one default serves logits up to
        40 and embeddings around 0.01.
    mismatch_fraction
        The share of elements (0 to 1) that may miss the bound. Non-finite mismatches are never excused.
    min_sqnr_db
        If given, the signal to quantization noise ratio must reach it as well.
    judged
        ``"decoded"``: what the output decodes to is judged in place of its elements, which are asked for structure and
        finiteness alone. For rows that change places: detections sorted by score.
    """

    rtol: float
    atol: float
    reason: str
    atol_unit: Literal["absolute", "rms"] = "absolute"
    mismatch_fraction: float = 0.0
    min_sqnr_db: float | None = None
    judged: Literal["bound", "decoded"] = "bound"

    @property
    def is_bound(self) -> bool:
        """Whether elements are judged, not what they decode to."""
        return self.judged == "bound"

    def absolute(self, reference_rms: float) -> Tolerance:
        """Return the same tolerance with atol in the output's own unit."""
        if self.atol_unit == "absolute":
            return self
        return Tolerance(
            rtol=self.rtol,
            atol=self.atol * reference_rms,
            reason=self.reason,
            mismatch_fraction=self.mismatch_fraction,
            min_sqnr_db=self.min_sqnr_db,
        )


def judged_by_decoding(reason: str) -> Tolerance:
    """Return the tolerance of an output that is judged by what it decodes to."""
    return Tolerance(rtol=0.0, atol=math.inf, reason=reason, judged="decoded")


# One rounding of N(0, 1) data or one product with exact accumulation, measured: the signal to noise ratio that the
# format alone allows. A whole network lies below its floor by what its depth adds; a single layer far below it is
# damaged, not rounded. FP32: 24-bit significand, 20·log10(2^24) + 1.76 + 4.8 dB less the measured excess of TF32's
# 11 bits, kept to a round figure. TF32: one product of N(0, 1) data, 64 to 4096 terms, activations toward zero and
# weights to nearest; with both to nearest it would be 70.6, with both toward zero 62.3. FP8: E4M3, 3-bit mantissa.
NOISE_FLOOR_DB: dict[Precision, float] = {
    Precision.FP32: 152.0,
    Precision.TF32: 66.7,
    Precision.FP16: 73.7,
    Precision.BF16: 55.6,
    Precision.INT8: 38.9,
    Precision.FP8: 31.5,
}

DEFAULT_TOLERANCE: dict[Precision, Tolerance] = {
    Precision.FP32: Tolerance(
        rtol=1e-3, atol=1e-4, atol_unit="rms", reason="default for fp32: another order of the same float32 sums"
    ),
    Precision.TF32: Tolerance(
        rtol=1e-2, atol=1e-2, atol_unit="rms", reason="default for tf32: 10-bit mantissas in products"
    ),
    Precision.FP16: Tolerance(
        rtol=1e-2, atol=2e-2, atol_unit="rms", reason="default for fp16: 10-bit mantissas, some 20 layers deep"
    ),
    Precision.BF16: Tolerance(
        rtol=5e-2, atol=1e-1, atol_unit="rms", reason="default for bf16: 7-bit mantissas, 8 times fp16's step"
    ),
    Precision.INT8: Tolerance(
        rtol=1e-1, atol=5e-1, atol_unit="rms", min_sqnr_db=15.0, reason="default for int8: 255 levels a tensor"
    ),
    Precision.FP8: Tolerance(
        rtol=1e-1, atol=6e-1, atol_unit="rms", min_sqnr_db=12.0, reason="default for fp8: 3-bit mantissas"
    ),
}

WHOLE_NUMBERS = Tolerance(
    rtol=0.0, atol=0.5, reason="default for whole numbers: a class, an index or a count that differs is another one"
)
"""The default where elements name or count something, at every precision: class 12 is not nearly class 13.

Half a step rather than none: equal all the same, and how far apart two that differ are can still be told.
"""

# Narrower ones are quantized values, such as the pixels of an image, which a rounding moves by a step.
_WHOLE_NUMBERS = frozenset({"int32", "int64", "uint32", "uint64"})


def default_tolerance(precision: Precision, dtype: str) -> Tolerance:
    """Return what judges an output of a dtype, by its name, where nobody gave a tolerance."""
    return WHOLE_NUMBERS if dtype in _WHOLE_NUMBERS else DEFAULT_TOLERANCE[precision]
