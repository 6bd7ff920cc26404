"""Digits that half does not have: large terms that cancel, large magnitudes, and long sums; in fp16 and in bf16."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from parity.diagnose.certainty import FITS, SHOWN, certainty_of
from parity.diagnose.model_facts import PRODUCTS, ModelFacts
from parity.diagnose.row_facts import RowFacts, is_failed, is_sick, magnitude
from parity.diagnose.trial import Trial, decibels, try_keeping, try_options
from parity.diagnose.widening import keep_what_reaches
from parity.diagnosis import Diagnosis
from parity.layers.floor import noise_floor_db
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onnx import NodeProto

    from parity.diagnose.evidence import Evidence
    from parity.layer_table import LayerRow

CAUSE = "fp16-accumulation"
# Terms so many times larger than what is left of them cost log2 of it in bits, of the 11 or 8 that half has.
_CANCELS = 16.0
_DEEP = 512
"""Terms in a sum behind which an engine's half accumulator is far below the format's own floor."""
_TRIES = 3
_PROBE = (
    "keep the nodes from where the values grow large to where they cancel at fp32; bf16, which has fewer digits, must "
    "be no better"
)
_REMEDY = (
    "keep these nodes at fp32 (bf16 does not help), or take the large part away before it is rounded: subtract means "
    "early, shift a bias behind the subtraction, sum in parts, take whole turns off an angle, compute indices in int64"
)
_STEEP = 0.05
"""An error in an exponent is a relative error of what is raised: 5 % and more."""
_PERIODIC = frozenset({"Cos", "Sin", "Tan"})
_WHOLE = frozenset({TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8, TensorProto.INT8})
_TURNS, _COUNTS = "takes the sine or cosine of", "makes whole numbers of"
_COARSE = {_TURNS: _STEEP, _COUNTS: 0.5}
"""Steps of the format that count: in rad, and where rounding to the nearest already gives the next whole number."""
_DIGITS = {Precision.FP16: 11, Precision.BF16: 8}
_SUMS = frozenset({
    "Add", "Sub", "Sum", "Mean", "ReduceMean", "ReduceSum", "GlobalAveragePool", "AveragePool", "LayerNormalization",
    "InstanceNormalization", "BatchNormalization",
})  # fmt: skip
_STEEP_OPERATORS = frozenset({"Exp", "Softmax", "LogSoftmax"})


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return the place where a finite error grows beyond its precision, and what it comes of."""
    if evidence.options.precision not in _DIGITS or not is_failed(evidence):
        return ()
    facts, rows = ModelFacts(evidence.model), RowFacts(evidence.layers)
    digits = _DIGITS[evidence.options.precision]
    finite = [row for row in rows.sources if not (is_sick(row) or rows.behind_sick(row))]
    told = [(row, reasons) for row in finite if (reasons := _reasons(evidence, facts, rows, row, digits))]
    return (_diagnosis(evidence, facts, rows, told),) if told else ()


def _reasons(evidence: Evidence, facts: ModelFacts, rows: RowFacts, row: LayerRow, digits: int) -> list[str]:
    """Return what makes a row lose digits, each a sentence; empty where nothing does."""
    term, left = largest_term(facts, rows, row), magnitude(row)
    step = ulp(term, digits)
    found = []
    if left and term / left >= _CANCELS:
        found.append(
            f"terms of up to {term:.4g} leave {left:.4g} at {row.layer}: they cancel, and one step of the format at "
            f"that magnitude is {step:.3g}"
        )
    # What is far below zero, as a mask is, leaves nothing of itself behind.
    reading = max((abs(one.reference_range[1]) for one in rows.inputs(row)), default=0.0)
    if _STEEP_OPERATORS.intersection(row.operators) and ulp(reading, digits) >= _STEEP:
        found.append(
            f"{row.layer} raises e to values of up to {reading:.4g}, where one step of the format is "
            f"{ulp(reading, digits):.3g}"
        )
    found += [
        f"{name} {verb} values of up to {reach:.4g}, where one step of the format is {ulp(reach, digits):.3g}"
        for name, verb, reach in _coarse_readings(evidence, facts, row)
        if ulp(reach, digits) >= _COARSE[verb]
    ]
    if _is_half_sum(row):
        found.append(f"{row.layer} sums {row.reduction_depth} terms, more than a half accumulator keeps apart")
    return found


def _coarse_readings(evidence: Evidence, facts: ModelFacts, row: LayerRow) -> Iterator[tuple[str, str, float]]:
    """Yield nodes that need an absolute precision of what they read: what they do, and its largest magnitude."""
    for node in facts.named(row.nodes):
        verb = _TURNS if node.op_type in _PERIODIC else _COUNTS if _gives_whole_numbers(node) else ""
        if verb and node.input[0] in facts.producers:
            low, high = evidence.probes.ranges([node.input[0]])[node.input[0]]
            reach = max(abs(low), abs(high))
            if math.isfinite(reach):
                yield node.name, verb, reach


def _gives_whole_numbers(node: NodeProto) -> bool:
    return node.op_type == "Cast" and any(one.name == "to" and one.i in _WHOLE for one in node.attribute)


def largest_term(facts: ModelFacts, rows: RowFacts, row: LayerRow) -> float:
    """Return the largest magnitude that a row adds up, as far as it can be told; 0 where it adds nothing up."""
    reading = max(map(magnitude, rows.inputs(row)), default=0.0)
    largest = reading if _SUMS.intersection(row.operators) else 0.0
    for node in facts.named(row.nodes):
        constants = facts.constant_inputs([node.name]).values()
        held = max((_largest(values) for values in constants), default=0.0)
        if node.op_type in PRODUCTS and constants:
            largest = max(largest, reading * _largest(next(iter(constants))))
        elif node.op_type in _SUMS:
            largest = max(largest, held)
    return largest


def _largest(values: np.ndarray) -> float:
    finite = np.abs(values[np.isfinite(values)].astype(np.float64))
    return float(finite.max(initial=0.0))


def ulp(value: float, digits: int) -> float:
    """Return the step between neighbours of a binary format with so many significant bits at a magnitude."""
    return float(2.0 ** (math.frexp(value)[1] - digits)) if value else 0.0


def _is_half_sum(row: LayerRow) -> bool:
    """Whether an engine's layer lies where sums in half lie; a rounded graph sums in float32."""
    if row.observed_by == "rounded graph" or row.injected is None or row.reduction_depth < _DEEP:
        return False
    return row.injected.sqnr_db <= noise_floor_db(Precision.FP16, row.reduction_depth, sums_in_half=True)


def _keep_and_try(
    evidence: Evidence, facts: ModelFacts, rows: RowFacts, places: Sequence[LayerRow]
) -> tuple[tuple[str, ...], Trial]:
    """Return the smallest of a few growing sets of nodes that mends, and what came of keeping it.

    What is cancelled carries the roundings of all that it is made of, so the set may have to reach further back than
    the large values do.
    """
    row = places[0]
    left, term = magnitude(row), largest_term(facts, rows, row)
    # Halfway in bits between what is added up and what is left of it.
    large = math.sqrt(term * left) if term > left else left
    inside = rows.upstream([row], lambda other: magnitude(other) > large)
    for _ in range(_TRIES):
        keep = facts.with_inner(dict.fromkeys(name for one in inside for name in one.nodes))
        trial = try_keeping(evidence, keep)
        if trial.is_confirmed is not False:
            break
        first = [other for one in inside for other in rows.inputs(one)]
        inside = rows.upstream([*inside, *first], lambda _: False)
    if trial.is_confirmed is False:
        # What is left of large terms carries what everything before them lost as well, and other such places hide it.
        wider = keep_what_reaches(evidence, facts, rows, places)
        return wider if wider[1].is_confirmed else (keep, trial)
    if trial.is_confirmed and row is not rows.sources[0] and _mends_without(evidence, keep, row):
        return keep, Trial(trial.result, is_confirmed=False)
    return keep, trial


def _mends_without(evidence: Evidence, keep: tuple[str, ...], row: LayerRow) -> bool:
    """Whether the nodes around a row mend as much without it: a worse place reads what they give."""
    rest = tuple(name for name in keep if name not in row.nodes)
    return bool(rest) and try_keeping(evidence, rest).is_confirmed is True


def _diagnosis(
    evidence: Evidence, facts: ModelFacts, rows: RowFacts, told: Sequence[tuple[LayerRow, Sequence[str]]]
) -> Diagnosis:
    row, reasons = told[0]
    keep, trial = _keep_and_try(evidence, facts, rows, [place for place, _ in told])
    seen = SHOWN if "cancel" in reasons[0] else FITS
    precision = evidence.options.precision
    return Diagnosis(
        cause=CAUSE,
        title=f"{row.layer} ({', '.join(row.operators)}) needs more digits than {precision} has",
        certainty=certainty_of(seen, trial.is_confirmed),
        nodes=row.nodes,
        evidence=(
            *reasons,
            f"{decibels(_worst_input(rows, row))} reaches it, {decibels(row.inherited.sqnr_db)} leaves it, all finite",
            *([f"its sums have {row.reduction_depth} terms"] if row.reduction_depth > 1 else []),
            *_in_bf16(evidence),
        ),
        probe=_PROBE,
        probe_result=trial.result,
        is_confirmed=trial.is_confirmed,
        remedy=_REMEDY,
        keep=keep,
    )


def _worst_input(rows: RowFacts, row: LayerRow) -> float:
    return min((one.inherited.sqnr_db for one in rows.inputs(row)), default=math.inf)


def _in_bf16(evidence: Evidence) -> list[str]:
    if evidence.options.precision is not Precision.FP16:
        return []
    result = try_options(evidence, "in bf16", precision=Precision.BF16).result
    return [result] if result else []
