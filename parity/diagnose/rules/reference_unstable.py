"""A reference that does not agree with itself: too few digits, random numbers, or a model left in training mode."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from parity.diagnose.certainty import CONFIRMED, SPECIFIC
from parity.diagnose.row_facts import RowFacts, failed_tensors, is_failed
from parity.diagnose.trial import decibels, worst_db
from parity.diagnosis import Diagnosis
from parity.precision.names import drawing_nodes, training_nodes
from parity.tolerance import Precision

if TYPE_CHECKING:
    from parity.diagnose.evidence import Evidence
    from parity.difference import TensorDifference

CAUSE = "reference-unstable"
_REMEDY = (
    "the model computes small differences of large numbers even in float32: mend it there, judge on inputs on which "
    "the reference is sure, or record a reference in float64"
)
_REMEDY_OF_DRAWING = (
    "make the numbers that it draws an input, or export the model without them: what is drawn anew in each run cannot "
    "be compared"
)
_REMEDY_OF_TRAINING = (
    "export the model after model.eval(), with training=TrainingMode.EVAL in torch.onnx.export: TensorRT's parser "
    "refuses training mode, or takes the recorded mean and variance instead"
)
_ALIKE_DB = 10.0
"""A variant so much worse than the reference's own spread has a further cause."""
_SOUND_DB = 100.0
"""Above it, float32 in two orders of summation is another matter than any variant's failure."""


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Compare ONNX Runtime with itself, with and without graph optimisations, and with the variant."""
    compared = [one for one in failed_tensors(evidence) if one.difference]
    if not is_failed(evidence) or not compared:
        return ()
    # The forecast of fp32 is the same model under all graph optimisations, the reference runs without.
    spread = worst_db(evidence.probes.outputs(precision=Precision.FP32, keep=()))
    found = worst_db({one.output: _level_db(one.difference) for one in compared if one.difference})
    if math.isnan(spread) or spread > _SOUND_DB or found < spread - _ALIKE_DB:
        return ()
    drawing, training = drawing_nodes(evidence.model), training_nodes(evidence.model)
    rows = RowFacts(evidence.layers).sources if evidence.options.precision is Precision.FP32 else ()
    at = [f"{row.layer} ({', '.join(row.operators)}) is left with {decibels(row.inherited.sqnr_db)}" for row in rows]
    title, remedy = "The reference is as far from itself as the variant is from it", _REMEDY
    if training:
        title, remedy = "The model normalises by each batch, as in training, which no engine does", _REMEDY_OF_TRAINING
        at = [f"{node.name} ({node.op_type}) has training_mode = 1" for node in training]
    if drawing:
        remedy = _REMEDY_OF_DRAWING
        title = "The model draws random numbers, so that no two runs of it agree"
        at = [f"{node.name} ({node.op_type}) draws anew in each run" for node in drawing]
    return (
        Diagnosis(
            cause=CAUSE,
            title=title,
            certainty=CONFIRMED + SPECIFIC,
            nodes=tuple(node.name for node in drawing or training)
            or tuple(dict.fromkeys(name for row in rows for name in row.nodes)),
            evidence=(
                f"ONNX Runtime with graph optimisations and without, both in float32, differ by {decibels(spread)}",
                f"the variant and the reference differ by {decibels(found)}",
                *at[:3],
            ),
            probe="run the reference with and without graph optimisations, and compare the two",
            probe_result=f"they differ by {decibels(spread)}",
            is_confirmed=True,
            remedy=remedy,
        ),
    )


def _level_db(difference: TensorDifference) -> float:
    """Return the SQNR in dB; minus infinity where NaN and infinities differ, which an average over the rest hides."""
    return -math.inf if difference.nonfinite_mismatch_count else difference.sqnr_db
