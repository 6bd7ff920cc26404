"""Values and weights too small for half, and weights too large for it, which builders clamp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.diagnose.certainty import POSSIBLE, SHOWN, certainty_of
from parity.diagnose.huge import LARGEST_HALF
from parity.diagnose.model_facts import PRODUCTS, ModelFacts
from parity.diagnose.row_facts import RowFacts, blamed_tensors, engine_of, is_failed, is_sick, magnitude
from parity.diagnose.trial import try_keeping
from parity.diagnose.vanishing import vanishing_places
from parity.diagnosis import Diagnosis
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parity.diagnose.evidence import Evidence
    from parity.diagnose.vanishing import Vanishing
    from parity.layer_table import LayerRow

CAUSE = "underflow"
_SMALLEST_NORMAL = 2.0**-14
_LOSES_DB = 40.0
"""Weights that rounding to half leaves so near what they were do not break a layer; sound ones lie at 74 dB."""
_PROBE = "keep the nodes that give or read these values at fp32, or run the variant in bf16, which has float32's range"
_REMEDY = "keep these nodes at fp32 (or bf16), or move a power of two between them, so that values lie near 1"
_REMEDY_OF_ZEROS = (
    "keep these nodes at fp32 (or bf16), or raise the epsilon to one that half holds (6.1e-5 and more); take "
    "LogSoftmax in place of the logarithm of a softmax"
)
_KINDS = frozenset({"subnormal-weights", "weights-clamped"})


@dataclass(frozen=True, slots=True)
class Smallness:
    """How many of a tensor's values half cannot hold, as shares of those that are not zero; SQNR behind rounding."""

    count: int
    flushed: float
    subnormal: float
    clamped: float
    sqnr_db: float

    def __str__(self) -> str:
        parts = ((self.flushed, "become 0"), (self.subnormal, "subnormal"), (self.clamped, "beyond 65504"))
        told = ", ".join(f"{100 * share:.3g} % {what}" for share, what in parts if share)
        return f"of {self.count:,} values, {told or 'none is out of range'}; rounding leaves {self.sqnr_db:.1f} dB"


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return tiny or clamped values at the places where an fp16 variant's error is born."""
    if evidence.options.precision is not Precision.FP16 or not is_failed(evidence):
        return ()
    facts, rows = ModelFacts(evidence.model), RowFacts(evidence.layers)
    finite = [row for row in rows.sources if not is_sick(row) and not rows.behind_sick(row)]
    found = [(row, told) for row in finite if (told := _told(evidence, facts, rows, row))]
    tiny = (_diagnosis(evidence, facts, rows, found),) if found else ()
    if tiny and tiny[0].is_confirmed is not False:
        return tiny
    zeros = _of_zeros(evidence, tuple(vanishing_places(evidence, facts, rows)))
    # Two causes of one name that both mend nothing say no more than one.
    is_better = zeros and (not tiny or zeros[0].is_confirmed is not False)
    return zeros if is_better else tiny or _from_builder(evidence)


def _is_tiny(row: LayerRow) -> bool:
    """Whether every value is too small for a normal half; zeros alone lose nothing."""
    return 0.0 < magnitude(row) < _SMALLEST_NORMAL


def smallness(arrays: Iterable[np.ndarray]) -> Smallness:
    """Count what rounding to half does to values, beyond losing digits."""
    values = np.concatenate([np.asarray(array, np.float64).ravel() for array in arrays])
    values = values[np.isfinite(values) & (values != 0)]
    sizes, total = np.abs(values), max(1, values.size)
    rounded = np.clip(values, -LARGEST_HALF, LARGEST_HALF).astype(np.float16).astype(np.float64)
    noise, signal = np.linalg.norm(values - rounded), np.linalg.norm(values)
    return Smallness(
        count=values.size,
        flushed=float(np.count_nonzero(rounded == 0) / total),
        subnormal=float(np.count_nonzero((sizes < _SMALLEST_NORMAL) & (rounded != 0)) / total),
        clamped=float(np.count_nonzero(sizes > LARGEST_HALF) / total),
        sqnr_db=float(20 * np.log10(signal / noise)) if noise and signal else np.inf,
    )


def _told(evidence: Evidence, facts: ModelFacts, rows: RowFacts, row: LayerRow) -> list[str]:
    """Return what is too small or clamped in a row and what it reads, each a sentence."""
    told = [
        f"{one.tensor} is tiny everywhere: {smallness(evidence.probes.values(one.tensor))}"
        for one in [row, *rows.inputs(row)]
        if _is_tiny(one)
    ]
    products = [node.name for node in facts.named(row.nodes) if node.op_type in PRODUCTS]
    for name, values in facts.constant_inputs(products).items():
        found = smallness([values])
        if found.sqnr_db < _LOSES_DB and (found.flushed or found.subnormal or found.clamped):
            told.append(f"the weights {name} of {row.layer} do not fit: {found}")
    return told


def _diagnosis(
    evidence: Evidence, facts: ModelFacts, rows: RowFacts, found: list[tuple[LayerRow, list[str]]]
) -> Diagnosis:
    first = found[0][0]
    island = rows.island([row for row, _ in found], _is_tiny)
    keep = facts.with_inner(island)
    trial = try_keeping(evidence, keep)
    return Diagnosis(
        cause=CAUSE,
        title=f"{first.layer} works with values that fp16 cannot hold",
        certainty=certainty_of(SHOWN, trial.is_confirmed),
        nodes=tuple(dict.fromkeys(name for row, _ in found for name in row.nodes)),
        evidence=(*dict.fromkeys(sentence for _, told in found[:3] for sentence in told), *_messages(evidence)),
        probe=_PROBE,
        probe_result=trial.result,
        is_confirmed=trial.is_confirmed,
        remedy=_REMEDY,
        keep=keep,
    )


def _of_zeros(evidence: Evidence, places: tuple[Vanishing, ...]) -> tuple[Diagnosis, ...]:
    """Return the places that divide by what became zero, as one cause."""
    if not places:
        return ()
    keep = ModelFacts(evidence.model).with_inner(name for place in places for name in place.nodes)
    trial = try_keeping(evidence, keep)
    return (
        Diagnosis(
            cause=CAUSE,
            title=f"{places[0].layer} what fp16 flushes to zero",
            certainty=certainty_of(SHOWN, trial.is_confirmed),
            nodes=tuple(dict.fromkeys(name for place in places for name in reversed(place.nodes))),
            evidence=tuple(dict.fromkeys(sentence for place in places[:3] for sentence in place.sentences)),
            probe=_PROBE,
            probe_result=trial.result,
            is_confirmed=trial.is_confirmed,
            remedy=_REMEDY_OF_ZEROS,
            keep=keep,
        ),
    )


def _from_builder(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return what TensorRT's builder warned of, where the engine is to blame and no layer shows why."""
    messages = _messages(evidence)
    if not messages or not blamed_tensors(evidence):
        return ()
    return (
        Diagnosis(
            cause=CAUSE,
            title="TensorRT's builder found weights that fp16 cannot hold",
            certainty=POSSIBLE,
            nodes=(),
            evidence=messages,
            probe=_PROBE,
            remedy=_REMEDY,
        ),
    )


def _messages(evidence: Evidence) -> tuple[str, ...]:
    engine = engine_of(evidence)
    told = [message for message in engine.messages if message.kind in _KINDS] if engine else []
    return tuple(f"TensorRT's builder said {one.count} times: {one.text}" for one in told[:2])
