"""Scales that do not fit their tensors: values beyond the grid, an outlier channel, or few levels in use."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from parity.diagnose.certainty import SHOWN, certainty_of
from parity.diagnose.trial import try_keeping
from parity.diagnosis import Diagnosis
from parity.layers.points import SAME_ELEMENTS
from parity.options import CalibrationMethod
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from parity.diagnose.evidence import Evidence
    from parity.layer_table import LayerRow, Quantized

CAUSE = "int8-scale"
_SATURATED_SHARE = 0.005
_FEW_BINS = 0.1
_FEW_LEVELS = 8.0
"""A channel whose largest value is fewer steps than this keeps three bits at most."""
_HARM_DB = 6.0
_ROUNDING_STEPS = 1 / math.sqrt(12)
_CLIPPED_STEPS = 3 * _ROUNDING_STEPS
"""What is cut off errs by far more than rounding does: of few values, if they are far beyond the grid.

One value of a pooled vector, cut off because few feeds calibrate a sound network, doubles the error of all.
"""
_BEYOND = 1.1
_LESSER = 10.0
"""What is so many times less severe than the worst is no part of the same cause."""
_LOCAL = 5
"""More tensors than these have one reason outside of the model: the calibration."""


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A tensor with a scale that does not fit.

    Attributes
    ----------
    severity
        Higher is worse, 1 is where telling begins.
    is_cut
        Whether values lie beyond the grid, and not too few of its levels are used.
    """

    row: LayerRow
    grid: Quantized
    reason: str
    severity: float
    is_cut: bool = False


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Name the tensors whose scale is wrong, with what they lose by it."""
    if evidence.options.precision is not Precision.INT8 or evidence.layers is None:
        return ()
    found = [suspect for row in evidence.layers.rows if (suspect := _suspect(evidence, row)) is not None]
    if not found:
        return ()
    ranked = sorted(found, key=lambda one: -one.severity)
    suspects = [one for one in ranked if one.severity >= ranked[0].severity / _LESSER]
    beyond = _beyond_calibration(evidence, suspects[:_LOCAL])
    # A tensor that is reshaped on its way has one grid, and a row for each form of it.
    count = len({one.grid.scale for one in suspects})
    keep = _readers(evidence, suspects) if count <= _LOCAL else ()
    return (_diagnosis(evidence, suspects, beyond, keep),)


def _suspect(evidence: Evidence, row: LayerRow) -> _Suspect | None:
    """Return what is worst of a row's scale; None where it fits."""
    if row.quantized is None:
        return None
    found = (_Suspect(row, row.quantized, *told) for told in _misfits(evidence, row, row.quantized))
    return max(found, key=lambda one: one.severity, default=None)


def _misfits(evidence: Evidence, row: LayerRow, grid: Quantized) -> Iterator[tuple[str, float, bool]]:
    """Yield each reason why a scale does not fit, with its severity and whether it cuts off values."""
    if _is_saturated(grid):
        reason = f"{grid.saturation_share:.2%} of its values lie beyond the grid"
        yield reason, max(grid.saturation_share / _SATURATED_SHARE, grid.rmse_steps / _CLIPPED_STEPS), True
    levels = _median_levels(evidence, row.tensor, grid.scale) if _may_harm(evidence, row) else math.inf
    if levels < _FEW_LEVELS:
        reason = f"half of its channels reach no more than {levels:.2g} of 127 steps, another takes the grid"
        yield reason, 10 * _FEW_LEVELS / max(levels, 0.01), False
    if grid.used_bin_share < _FEW_BINS:
        yield f"{grid.used_bin_share:.1%} of the levels are in use", _FEW_BINS / max(grid.used_bin_share, 1e-3), False


def _is_saturated(grid: Quantized) -> bool:
    clips = grid.saturation_share > 0 and grid.rmse_steps > _CLIPPED_STEPS
    return clips or grid.saturation_share > _SATURATED_SHARE


def _may_harm(evidence: Evidence, row: LayerRow) -> bool:
    """Whether what reads a tensor is farther from its floor than rounding brings it; looking at values is not cheap."""
    rows = evidence.layers.rows if evidence.layers else ()
    distances = [other.distance_db for other in rows if row.tensor in other.inputs]
    return not distances or any(distance is None or distance > _HARM_DB for distance in distances)


def _median_levels(evidence: Evidence, tensor: str, scale: float) -> float:
    """Return how many steps the largest value of the median channel is; infinity where there are no channels."""
    largest: np.ndarray | None = None
    for values in evidence.probes.values(tensor):
        if values.ndim < 2:
            return math.inf
        # Feature maps have channels at axis 1, tokens and rows at the last one.
        axis = 1 if values.ndim > 3 else values.ndim - 1
        others = tuple(other for other in range(values.ndim) if other != axis)
        found = np.abs(values).max(axis=others, initial=0.0)
        largest = found if largest is None else np.maximum(largest, found)
    # A channel that is always 0 loses nothing.
    alive = largest[largest > 0] if largest is not None else np.empty(0)
    return float(np.median(alive)) / scale if alive.size > 1 else math.inf


def _beyond_calibration(evidence: Evidence, suspects: list[_Suspect]) -> tuple[str, ...]:
    """Return sentences on tensors that are larger in evaluation than calibration ever saw them."""
    saturated = [one.row.tensor for one in suspects if one.is_cut]
    if evidence.calibration is None or not saturated:
        return ()
    known, met = evidence.probes.ranges(saturated, calibration=True), evidence.probes.ranges(saturated)
    pairs = {name: (_largest(known, name), _largest(met, name)) for name in saturated}
    return tuple(
        f"{name} reaches {now:.3g} in evaluation and {then:.3g} in calibration, {now / then:.2g} times as much."
        for name, (then, now) in pairs.items()
        if 0 < _BEYOND * then < now
    )


def _largest(ranges: Mapping[str, tuple[float, float]], tensor: str) -> float:
    return max(abs(end) for end in ranges.get(tensor, (0.0, 0.0)))


def _readers(evidence: Evidence, suspects: list[_Suspect]) -> tuple[str, ...]:
    """Return the nodes that read the tensors: what reads in float32 needs no grid."""
    tensors = {one.row.tensor for one in suspects}
    found = []
    for node in evidence.model.graph.node:
        if node.op_type in SAME_ELEMENTS and node.input[0] in tensors:
            tensors.update(node.output)
        elif tensors.intersection(node.input):
            found.append(node.name)
    return tuple(found)


def _diagnosis(
    evidence: Evidence, suspects: list[_Suspect], beyond: tuple[str, ...], keep: tuple[str, ...]
) -> Diagnosis:
    worst = suspects[0]
    trial = try_keeping(evidence, keep)
    if trial.is_confirmed is False and worst.is_cut:
        # A calibration that saw too little cuts off outputs as well, whose grids no reader takes away.
        trial = replace(trial, is_confirmed=None)
    count = f" and {len(suspects) - 1} more tensors" if len(suspects) > 1 else ""
    return Diagnosis(
        cause=CAUSE,
        title=f"The INT8 scale of {worst.row.tensor}{count} does not fit: {worst.reason}.",
        certainty=certainty_of(SHOWN, trial.is_confirmed),
        nodes=tuple(dict.fromkeys((*worst.row.nodes[-1:], *keep))),
        evidence=(*(_sentence(one) for one in suspects[:_LOCAL]), *beyond),
        probe="Keep the nodes that read these tensors in float32." if keep else "Calibrate on the evaluation feeds.",
        probe_result=trial.result,
        is_confirmed=trial.is_confirmed,
        remedy=_remedy(evidence, worst, is_beyond=bool(beyond)),
        keep=() if trial.is_confirmed is False else keep,
    )


def _sentence(suspect: _Suspect) -> str:
    grid = suspect.grid
    return (
        f"{suspect.row.tensor}: {suspect.reason}; scale {grid.scale:.3g}, {grid.used_bin_share:.1%} of the levels in "
        f"use, error of {grid.rmse_steps:.3g} steps ({_ROUNDING_STEPS:.3f} where rounding alone errs)."
    )


def _remedy(evidence: Evidence, worst: _Suspect, *, is_beyond: bool) -> str:
    if is_beyond:
        return "Calibrate on more images, drawn and preprocessed as those of evaluation are."
    if worst.is_cut:
        if evidence.options.calibration.method is CalibrationMethod.MIN_MAX:
            return "Check that calibration and typed model belong together: min-max calibration cuts off nothing."
        return "Calibrate by minmax, or by a higher percentile: this method cuts off what these tensors need."
    return "Keep the readers of these tensors in float32 or half, equalise the channels, or calibrate by percentile."
