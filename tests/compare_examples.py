"""Two tolerances, numbers to compare and the measuring of a pair."""

from __future__ import annotations

import numpy as np

from parity.compare import compare_tensors
from parity.tolerance import Precision, Tolerance

EXACT = Tolerance(rtol=0.0, atol=0.0, reason="exact")
LOOSE = Tolerance(rtol=1e-3, atol=1e-3, reason="a test")


def measure(actual, expected, tolerance=LOOSE, precision=Precision.FP32, **options):
    return compare_tensors(actual, expected, tolerance=tolerance, precision=precision, **options)


def normal(count, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(count).astype(dtype)
