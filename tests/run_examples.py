"""Runs for the report tests, built by hand so that no test depends on a runtime."""

from __future__ import annotations

import math
from dataclasses import replace

from parity.difference import Element, Side, TensorDifference
from parity.results import (
    BuildMessage,
    CaseRecord,
    Census,
    CensusRow,
    Distance,
    EngineRecord,
    Environment,
    Invariant,
    ModelRecord,
    Outcome,
    Run,
    TensorOutcome,
    Triangulation,
    WorkerRecord,
)
from parity.run_file import run_to_json
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


def _engine_outcome(check: str, verdict: Verdict, headline: str, **fields) -> Outcome:
    plain = Outcome(
        "shapes", "fp16@tensorrt-8.6", "fp16", check, verdict, headline, feed_count=4, duration_s=2.0, engine=ENGINE
    )
    return replace(plain, **fields)


ENGINE = EngineRecord(
    sha256="cd" * 32,
    size_bytes=5 * 2**20,
    source="built",
    typing="weak",
    flags=("FP16", "OBEY_PRECISION_CONSTRAINTS"),
    build_s=12.34,
    bindings=("images: float32 (-1, 3, 32, 32)", "logits: float32 (-1, 8)"),
    profile_count=2,
    device_memory_bytes=3 * 2**20,
    messages=(BuildMessage("warning", "subnormal-weights", "weights have subnormal values", 3),),
    metadata={"stride": "32"},
    notes=("the timing cache was new",),
)
TRIANGULATED = replace(
    TENSOR,
    triangulation=Triangulation(Distance(60.25, 0.01), Distance(31.5, 0.2), Distance(31.47, 0.25, 1), True),
    unwritten_count=2,
)
JUDGED_ENGINE = _engine_outcome(
    "outputs", Verdict.FAIL, "logits: 12 of 2,000 elements miss the bound", message="The engine adds this: 31.5 dB",
    tensors=(TRIANGULATED,),
)  # fmt: skip
CENSUS = _engine_outcome(
    "census", Verdict.FAIL, "fp16 runs 2 of 12 arithmetic layers (16.7 %)", message="fp16 was asked and runs 2 of 12",
    census=Census(
        "fp16",
        (
            CensusRow("fp32", 14, 1.25, 10, 1.125), CensusRow("fp16", 2, None, 2, None),
            CensusRow("none", 1, 0.5, 0, None),
        ),
        2 / 12, 0.0, 0.5,
    ),
)  # fmt: skip
INVARIANTS = _engine_outcome(
    "invariants", Verdict.PASS, "2 hold, 1 do not apply",
    invariants=(
        Invariant("same feed twice", Verdict.PASS, "equal bit for bit", 0.0, math.inf),
        Invariant("permuted rows", Verdict.PASS, "5 elements differ, 61.0 dB above the floor", 0.001, 61.04, 43.7),
        Invariant("profile corners", Verdict.SKIPPED, "no input is dynamic"),
    ),
)  # fmt: skip
WORKER = WorkerRecord(
    name="tensorrt-8.6", python="3.10.12", packages={"tensorrt": "8.6.1", "pycuda": "2024.1"}, gpu="NVIDIA H200",
    compute_capability="9.0", memory_bytes=141 * 2**30, driver="580.1", cuda="13.0",
    capabilities={"fp16_flag": True, "strongly_typed": False},
)  # fmt: skip
ENGINES = replace(
    make_run(PASSING, INVARIANTS, JUDGED_ENGINE, CENSUS), environment=replace(ENVIRONMENT, workers=(WORKER,))
)
