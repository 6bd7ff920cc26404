"""TF32 on one side: products with 10-bit mantissas in a variant that is compared with float32."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from parity.diagnose.certainty import FITS, SHOWN, certainty_of
from parity.diagnose.model_facts import PRODUCTS
from parity.diagnose.row_facts import RowFacts, engine_of, failed_tensors, is_failed
from parity.diagnose.trial import decibels, try_options, worst_db
from parity.diagnosis import Diagnosis
from parity.tolerance import NOISE_FLOOR_DB, Precision

if TYPE_CHECKING:
    from parity.diagnose.evidence import Evidence

CAUSE = "tf32"
_NEAR_DB = 12.0
"""How far engines lay from the forecast of TF32, and some more: docs/forecast.md has 2.5 dB above to 9.5 dB below."""
_FAR_DB = 110.0
"""float32 products in another order stay above it."""
_OFF = "switch TF32 off (`tf32 = false` for the variant; ONNX Runtime on CUDA: use_tf32=0)"


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return TF32 where the variant asked for it, and where an fp32 engine looks as if it ran in it."""
    if not is_failed(evidence) or any(
        one.difference and one.difference.nonfinite_mismatch_count for one in failed_tensors(evidence)
    ):
        return ()
    if evidence.options.precision is Precision.TF32:
        return (_asked(evidence),)
    return _unasked(evidence) if evidence.options.precision is Precision.FP32 else ()


def _asked(evidence: Evidence) -> Diagnosis:
    trial = try_options(evidence, "without TF32", precision=Precision.FP32)
    rows = RowFacts(evidence.layers).sources
    products = [row for row in rows if PRODUCTS.intersection(row.operators)]
    at = [
        f"{row.layer} is left with {decibels(row.inherited.sqnr_db)}, where a product of TF32 has {row.floor_db:.1f} dB"
        for row in products[:3]
    ]
    nodes = tuple(dict.fromkeys(name for row in products for name in row.nodes))
    return Diagnosis(
        cause=CAUSE,
        title=f"The 10-bit mantissas of TF32 are too short for {products[0].layer if products else 'these products'}",
        certainty=certainty_of(SHOWN, trial.is_confirmed),
        nodes=nodes,
        evidence=(_level(evidence), *at),
        probe="run the same model in fp32",
        probe_result=trial.result,
        is_confirmed=trial.is_confirmed,
        remedy="keep these products at fp32, switch TF32 off, or give the variant TF32's tolerance",
        keep=nodes,
    )


def _unasked(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Compare an fp32 engine with what TF32 would give."""
    engine, observed = engine_of(evidence), _observed_db(evidence)
    if engine is None or not observed < _FAR_DB:
        return ()
    shown = _shown(evidence)
    expected = worst_db(evidence.probes.outputs(precision=Precision.TF32))
    is_near = abs(expected - observed) < _NEAR_DB
    if not shown and not is_near:
        return ()
    # Worse by more than an engine of TF32 is: what else is wrong with it is not the products' doing.
    is_confirmed = False if observed <= expected - _NEAR_DB else True if shown and is_near else None
    return (
        Diagnosis(
            cause=CAUSE,
            title="The fp32 engine computes its products in TF32",
            certainty=certainty_of(SHOWN if shown else FITS, is_confirmed, is_specific=is_near),
            nodes=(),
            evidence=(_level(evidence), *shown),
            probe="build the engine without TF32; until then, compare with the forecast of TF32",
            probe_result=f"the forecast of TF32 has {decibels(expected)} in its worst output, the engine "
            f"{decibels(observed)}",
            is_confirmed=is_confirmed,
            remedy=_OFF,
        ),
    )


def _observed_db(evidence: Evidence) -> float:
    values = {one.output: one.difference.sqnr_db for one in failed_tensors(evidence) if one.difference}
    worst = worst_db(values)
    return math.inf if math.isnan(worst) else worst


def _shown(evidence: Evidence) -> tuple[str, ...]:
    """Return what names TF32: the precisions that the engine ran, or its builder's flags."""
    engine = engine_of(evidence)
    censuses = [outcome.census for outcome in evidence.outcomes.values() if outcome.census]
    counted = [row for census in censuses for row in census.rows if row.precision == Precision.TF32 and row.layer_count]
    flagged = engine is not None and "TF32" in engine.flags
    return (
        *(f"the engine runs {row.layer_count} layers in TF32, {row.arithmetic_count} of them products"
          for row in counted),
        *(["the builder had its TF32 flag set"] if flagged else []),
    )  # fmt: skip


def _level(evidence: Evidence) -> str:
    floor = NOISE_FLOOR_DB[Precision.TF32]
    return (
        f"the worst failing output has {decibels(_observed_db(evidence))}; one product in TF32 has {floor:.0f} dB, in "
        f"float32 {NOISE_FLOOR_DB[Precision.FP32]:.0f} dB"
    )
