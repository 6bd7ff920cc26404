"""What several rules read out of the outcomes of a variant."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Collection

    from parity.diagnose.evidence import Evidence
    from parity.results import Invariant, TensorOutcome


def broken_laws(evidence: Evidence, names: Collection[str]) -> tuple[Invariant, ...]:
    """Return the invariants of these names that do not hold."""
    return tuple(law for law in _laws(evidence) if law.name in names and law.verdict is Verdict.FAIL)


def held_laws(evidence: Evidence, names: Collection[str]) -> tuple[Invariant, ...]:
    """Return the invariants of these names that were seen to hold."""
    return tuple(law for law in _laws(evidence) if law.name in names and law.verdict is Verdict.PASS)


def _laws(evidence: Evidence) -> tuple[Invariant, ...]:
    outcome = evidence.outcomes.get("invariants")
    return outcome.invariants if outcome else ()


def law_sentences(laws: Collection[Invariant]) -> tuple[str, ...]:
    """Return what was found of each law, as sentences."""
    return tuple(f"Invariant '{law.name}': {law.detail}." for law in laws)


def judged_tensors(evidence: Evidence, verdict: Verdict | None = None) -> tuple[TensorOutcome, ...]:
    """Return the judged outputs, or those of one verdict."""
    outcome = evidence.outcomes.get("outputs")
    tensors = outcome.tensors if outcome else ()
    return tuple(tensor for tensor in tensors if verdict is None or tensor.verdict is verdict)


def failed_outputs(evidence: Evidence) -> tuple[str, ...]:
    """Return the names of the outputs that fail, without their slices."""
    failed = judged_tensors(evidence, Verdict.FAIL)
    return tuple(dict.fromkeys(tensor.output.partition("[")[0] for tensor in failed))


def figure_values(evidence: Evidence) -> dict[str, float]:
    """Return the figures of decoded results that were measured, by name."""
    outcome = evidence.outcomes.get("decoded")
    figures = outcome.decoded.figures if outcome and outcome.decoded else ()
    return {one.figure.name: one.figure.value for one in figures if one.figure.value is not None}


def sqnr_db(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the SQNR in dB of one tensor.

    Minus infinity where shapes differ or other elements are NaN or infinite; infinity where nothing differs; NaN where
    the expected tensor is zero, or holds no finite element.
    """
    if actual.shape != expected.shape:
        return -math.inf
    with np.errstate(invalid="ignore"):
        left, right = actual.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(right)
    if not np.array_equal(finite, np.isfinite(left)):
        return -math.inf
    signal = float(np.linalg.norm(right[finite]))
    if signal == 0.0:
        return math.nan
    noise = float(np.linalg.norm(left[finite] - right[finite]))
    return 20 * math.log10(signal / noise) if noise else math.inf
