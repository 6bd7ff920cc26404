"""Layer reports for tests, built by hand so that no test depends on a runtime."""

from __future__ import annotations

import math
from dataclasses import replace

from parity.diagnosis import Diagnosis
from parity.layer_table import LayerError, LayerReport, LayerRow, Quantized, Role
from parity.results import Outcome
from parity.verdict import Verdict

ERROR = LayerError(sqnr_db=70.0, max_absolute=0.01, max_relative=0.02, cosine=0.9999)

BLANK = Outcome("shapes", "fp16@onnxruntime", "fp16", "layers", Verdict.ERROR, "")


def row(position: int, role: Role = Role.CLEAN, sqnr_db: float = 70.0, **fields: object) -> LayerRow:
    """Return a row that reads the one before it."""
    made = LayerRow(
        position=position,
        layer=f"/block/conv{position}",
        nodes=(f"/block/conv{position}",),
        operators=("Conv",),
        tensor=f"t{position}",
        inputs=(f"t{position - 1}",) if position else (),
        precision="fp16",
        shape=(1, 8, 4, 4),
        inherited=replace(ERROR, sqnr_db=sqnr_db),
        injected=ERROR,
        gain_db=1.0,
        floor_db=72.0,
        reduction_depth=9,
        nonfinite_reference=0,
        nonfinite_candidate=0,
        reference_range=(-1.0, 2.0),
        candidate_range=(-1.0, 2.0),
        role=role,
    )
    return replace(made, **fields)


SOURCE = row(1, Role.SOURCE, 20.0, injected=replace(ERROR, sqnr_db=21.0))
SICK = row(2, Role.SOURCE, 60.0, nonfinite_candidate=40)
AMPLIFIER = row(3, Role.AMPLIFIER, 5.0)
GRID = Quantized(scale=0.1, saturation_share=0.25, used_bin_share=0.5, rmse_steps=0.29)
FAILING = LayerReport(
    rows=(row(0, quantized=GRID, time_ms=0.5), SOURCE, SICK, AMPLIFIER, row(4, Role.VICTIM, math.inf)),
    sources=(2, 1, 3),
    coverage=0.9996,
    unobserved=tuple(f"/loop{number}: 2 tensors of the graphs inside it" for number in range(7)),
    notes=("observed on feed 0; no feed fails the forecast",),
)
AGREEING = LayerReport(rows=(row(0), row(1)), sources=(), coverage=1.0)

DIAGNOSIS = Diagnosis(
    cause="fp16-overflow",
    title="/block/conv2 leaves the half range",
    certainty=0.9,
    nodes=("/block/conv2",),
    evidence=("its largest value is 66803", "the largest half is 65504"),
    probe="run it with /block/conv2 at fp32",
    probe_result="70 dB on y",
    is_confirmed=True,
    remedy="keep /block/conv2 at fp32",
    keep=("/block/conv2",),
)
