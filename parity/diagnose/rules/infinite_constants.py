"""Masks of -1e9 or the lowest float32, and infinities: constants that a half format cannot hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.diagnose.certainty import SHOWN, certainty_of
from parity.diagnose.huge import LARGEST_BFLOAT16, LARGEST_HALF, huge_constants
from parity.diagnose.model_facts import PRODUCTS, ModelFacts
from parity.diagnose.row_facts import RowFacts, is_failed, magnitude
from parity.diagnose.trial import try_keeping
from parity.diagnosis import Diagnosis
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from parity.diagnose.evidence import Evidence
    from parity.layer_table import LayerRow

CAUSE = "infinite-constants"
_PROBE = (
    "replace the constants by a value within range (-1e4 hides a score from a softmax as well), or keep what reads "
    "them at fp32"
)
_REMEDY = (
    "export with a mask within range, -1e4 for fp16: builders clamp a larger one to -65504, and two of them, or one "
    "and a score, add up to -inf, whose softmax is NaN where a whole row is masked"
)
_PROBE_OF_A_FACTOR = "keep what reads the constants at fp32, or write them as two factors within range"
_REMEDY_OF_A_FACTOR = (
    "split the constant into two factors within range, or fold it into the weights beside it; builders clamp it to the "
    "largest number of the format"
)
_SCORES = frozenset({"ArgMax", "Exp", "LogSoftmax", "Softmax", "TopK"})
_LARGEST = {Precision.FP16: LARGEST_HALF, Precision.BF16: LARGEST_BFLOAT16}


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return the constants out of range that reach a place where error is born; those that do no harm are left out."""
    largest = _LARGEST.get(evidence.options.precision)
    if largest is None or not is_failed(evidence):
        return ()
    facts, rows = ModelFacts(evidence.model), RowFacts(evidence.layers)
    met = [(row, huge_constants(evidence, facts, rows, row, largest)) for row in rows.sources]
    hit = [(row, constants) for row, constants in met if constants]
    if not hit:
        return ()
    constants = {name: values for _, found in hit for name, values in found.items()}
    return (_diagnosis(evidence, facts, rows, [row for row, _ in hit], constants),)


def _diagnosis(
    evidence: Evidence,
    facts: ModelFacts,
    rows: RowFacts,
    hit: list[LayerRow],
    constants: Mapping[str, tuple[float, ...]],
) -> Diagnosis:
    largest = _LARGEST[evidence.options.precision]
    keep = facts.with_inner(dict.fromkeys((*rows.island(hit, lambda row: magnitude(row) > largest), *constants)))
    trial = try_keeping(evidence, keep)
    first, values = next(iter(constants.items()))
    precision = evidence.options.precision
    is_mask = _hides_scores(facts, constants)
    return Diagnosis(
        cause=CAUSE,
        title=f"{first} reads a constant of {values[0]:.4g}, which {precision} cannot hold",
        certainty=certainty_of(SHOWN, trial.is_confirmed, is_specific=is_mask),
        nodes=tuple(dict.fromkeys((*(name for row in hit for name in row.nodes), *constants))),
        evidence=(
            *(f"{name} reads {', '.join(f'{one:.4g}' for one in held)}; {precision} ends at {largest:.6g}"
              for name, held in constants.items()),
            *(_at(row) for row in hit[:3]),
        ),
        probe=_PROBE if is_mask else _PROBE_OF_A_FACTOR,
        probe_result=trial.result,
        is_confirmed=trial.is_confirmed,
        remedy=_REMEDY if is_mask else _REMEDY_OF_A_FACTOR,
        keep=keep,
    )  # fmt: skip


def _hides_scores(facts: ModelFacts, readers: Iterable[str]) -> bool:
    """Whether what nodes give reaches a choice among scores with no product between, as a mask does."""
    pending, seen = list(facts.named(readers)), set[str]()
    while pending:
        node = pending.pop()
        if node.op_type in _SCORES:
            return True
        if node.name not in seen and node.op_type not in PRODUCTS:
            seen.add(node.name)
            pending += [reader for tensor in node.output for reader in facts.readers.get(tensor, ())]
    return False


def _at(row: LayerRow) -> str:
    if row.nonfinite_candidate > row.nonfinite_reference:
        counts = f"{row.nonfinite_candidate:,} NaN or infinities, the reference {row.nonfinite_reference:,}"
        return f"{row.layer} gives {counts}"
    return f"the error is born at {row.layer}, {row.inherited.sqnr_db:.1f} dB behind it"
