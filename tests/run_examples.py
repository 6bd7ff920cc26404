"""Runs for the report tests, built by hand so that no test depends on a runtime."""

from __future__ import annotations

import math
from dataclasses import replace

from parity.difference import Element, Side, TensorDifference
from parity.results import CaseRecord, Environment, ModelRecord, Outcome, Run, TensorOutcome, run_to_json
from parity.tolerance import Tolerance
from parity.verdict import Verdict

SIDE = Side(minimum=-3.0, maximum=4.0, rms=1.5, nan_count=0, inf_count=0)

DIFFERENCE = TensorDifference(
    element_count=2000,
    mismatch_count=12,
    nonfinite_mismatch_count=1,
    worst_absolute=Element(feed=3, index=(0, 7), actual=1.25, expected=1.0, difference=0.25, allowed=0.02),
    worst_relative=Element(feed=1, index=(0, 2), actual=0.2, expected=0.1, difference=1.0, allowed=0.011),
    headroom=math.inf,
    mean_absolute=0.004,
    rms=0.009,
    bias=-0.001,
    p50_absolute=0.003,
    p99_absolute=0.05,
    p999_absolute=0.2,
    percentile_bin_error=0.01,
    sqnr_db=31.47,
    cosine=0.9996,
    max_ulp=310.0,
    actual=SIDE,
    expected=SIDE,
    first_nonfinite=Element(feed=2, index=(4, 1), actual=math.nan, expected=0.5, difference=math.nan, allowed=0.0),
)

TENSOR = TensorOutcome(
    output="logits",
    shape=(8, 250),
    dtype="float32",
    verdict=Verdict.FAIL,
    reasons=("12 elements miss the bound",),
    tolerance=Tolerance(rtol=0.01, atol=0.02, reason="default for fp16"),
    difference=DIFFERENCE,
    noise_floor_db=73.7,
)

GOOD_TENSOR = replace(
    TENSOR,
    verdict=Verdict.PASS,
    reasons=(),
    difference=replace(
        DIFFERENCE,
        mismatch_count=0,
        nonfinite_mismatch_count=0,
        worst_absolute=None,
        worst_relative=None,
        headroom=0.2,
        sqnr_db=math.inf,
    ),
)

FAILING = Outcome(
    case="shapes",
    variant="fp16@onnxruntime",
    precision="fp16",
    check="outputs",
    verdict=Verdict.FAIL,
    headline="logits: 12 of 2,000 elements miss the bound",
    message="Output logits is not close to its reference\nMismatched elements: 12 / 2000 (0.6 %)",
    tensors=(TENSOR,),
    model=ModelRecord(
        reference_sha256="ab" * 32, node_count=60, nodes_changed=41, folded_node_count=9, rounding="fused"
    ),
    feed_count=4,
    failing_feed="shapes-fp16-outputs.npz",
    replay="parity run cases/shapes --variant fp16 --feed reports/r/shapes-fp16-outputs.npz",
    duration_s=1.5,
)
PASSING = replace(
    FAILING, variant="fp32@onnxruntime", precision="fp32", verdict=Verdict.PASS, headline="all outputs agree",
    message="", tensors=(GOOD_TENSOR,), model=None, failing_feed=None, replay=None,
)  # fmt: skip
BROKEN = replace(
    FAILING, variant="int8@onnxruntime", precision="int8", verdict=Verdict.ERROR, headline="model.onnx: is empty",
    message="model.onnx: is empty; export the model again", tensors=(), model=None, failing_feed=None, replay=None,
)  # fmt: skip
UNDECIDED = replace(BROKEN, variant="bf16@onnxruntime", verdict=Verdict.INCONCLUSIVE, headline="reference is constant")
SKIPPED = replace(BROKEN, variant="fp8@onnxruntime", verdict=Verdict.SKIPPED, headline="not selected", message="")

ENVIRONMENT = Environment(
    python="3.11.9", platform="Linux", processor="x86_64", core_count=2, packages={"onnxruntime": "1.31.1"}
)


def make_run(*outcomes: Outcome, is_complete: bool = True) -> Run:
    """Return a finished run with these outcomes, in this order."""
    cases = tuple(CaseRecord(name, "a case", "aa", "bb", "cc", 4) for name in {outcome.case for outcome in outcomes})
    return Run(
        name="nightly",
        created="2026-01-02T03:04:05+00:00",
        command=("parity", "run"),
        environment=ENVIRONMENT,
        cases=cases,
        outcomes=outcomes,
        is_complete=is_complete,
    )


EVERYTHING = make_run(PASSING, SKIPPED, UNDECIDED, BROKEN, FAILING)


def save(run: Run, folder) -> None:
    """Write a run's ``run.json``."""
    (folder / "run.json").write_text(run_to_json(run), encoding="utf-8")


def attack_everywhere(run: Run, attack: str) -> Run:
    """Return the run with every free string of it, at any depth, replaced by ``attack`` and a number."""
    from dataclasses import fields, is_dataclass
    from enum import Enum
    from itertools import count

    numbers = count()

    def poison(value):
        if isinstance(value, Enum) or (not isinstance(value, (str, tuple, dict, list)) and not is_dataclass(value)):
            return value
        if isinstance(value, str):
            return f"{attack}{next(numbers)}"
        if is_dataclass(value):
            return replace(value, **{field.name: poison(getattr(value, field.name)) for field in fields(value)})
        if isinstance(value, dict):
            return {poison(key): poison(item) for key, item in value.items()}
        return type(value)(poison(item) for item in value)

    return poison(run)
