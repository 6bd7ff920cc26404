"""An engine that is whole steps of the INT8 grid away from its forecast: two legal roundings of one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper

from parity.diagnose.certainty import CONFIRMED
from parity.diagnose.facts import failed_outputs
from parity.diagnosis import Diagnosis
from parity.layers.points import SAME_ELEMENTS
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import ModelProto

    from parity.diagnose.evidence import Evidence

CAUSE = "qdq-kernel-lsb"
_MOST_STEPS = 2
_OFF_GRID = 0.02
"""How far a whole number of steps may be missed: float32 leaves less."""


@dataclass(slots=True)
class _Steps:
    """How many elements of an output are how many steps away, by the steps' absolute number."""

    counts: np.ndarray
    is_whole: bool = True


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Say that what differs is the last bit of the output's grid, where it is nothing else."""
    if evidence.options.precision is not Precision.INT8:
        return ()
    scales = {name: scale for name in failed_outputs(evidence) if (scale := _scale_of(evidence.typed, name))}
    if not scales or len(scales) < len(failed_outputs(evidence)):
        return ()
    steps = _count_steps(evidence, scales)
    if not steps or not all(one.is_whole and one.counts[1:].any() for one in steps.values()):
        return ()
    return (
        Diagnosis(
            cause=CAUSE,
            title=f"The engine is at most {_MOST_STEPS} steps of the INT8 grid away from its forecast: harmless.",
            certainty=CONFIRMED,
            nodes=(),
            evidence=tuple(_sentence(name, scales[name], one) for name, one in steps.items()),
            probe="Divide the difference of engine and forecast by the output's scale: kernels differ by whole steps.",
            probe_result="All differences are whole steps.",
            is_confirmed=True,
            remedy=(
                "Allow two steps of the grid as atol of these outputs, or judge decoded results: a forecast simulates "
                "the kernel in float, the engine adds up integers and rounds once."
            ),
        ),
    )


def _count_steps(evidence: Evidence, scales: Mapping[str, float]) -> dict[str, _Steps]:
    found: dict[str, _Steps] = {}
    for answers in evidence.probes.answers():
        for name, scale in scales.items():
            if answers.rounded is None or name not in answers.rounded or name not in answers.candidate:
                return {}
            actual, expected = answers.candidate[name], answers.rounded[name]
            steps = found.setdefault(name, _Steps(np.zeros(_MOST_STEPS + 1, np.int64)))
            if actual.shape != expected.shape or not _add(steps, actual, expected, scale):
                steps.is_whole = False
    return found


def _add(steps: _Steps, actual: np.ndarray, expected: np.ndarray, scale: float) -> bool:
    """Count the steps of one feed; return whether they are whole and few."""
    distance = np.abs(actual.astype(np.float64) - expected.astype(np.float64)) / scale
    whole = np.rint(distance)
    if not (np.isfinite(distance).all() and whole.max(initial=0) <= _MOST_STEPS):
        return False
    steps.counts += np.bincount(whole.reshape(-1).astype(np.int64), minlength=_MOST_STEPS + 1)
    return bool(np.abs(distance - whole).max(initial=0) <= _OFF_GRID)


def _scale_of(model: ModelProto, output: str) -> float | None:
    """Return the scale of the DequantizeLinear that an output comes from; None where it comes from another node."""
    producers = {name: node for node in model.graph.node for name in node.output}
    node = producers.get(output)
    while node is not None and node.op_type in SAME_ELEMENTS:
        node = producers.get(node.input[0])
    if node is None or node.op_type != "DequantizeLinear":
        return None
    for tensor in model.graph.initializer:
        if tensor.name == node.input[1]:
            scale = numpy_helper.to_array(tensor)
            return float(scale.reshape(())) if scale.size == 1 else None
    return None


def _sentence(name: str, scale: float, steps: _Steps) -> str:
    total = int(steps.counts.sum())
    parts = ", ".join(
        f"{count / total:.2%} by {number}" for number, count in enumerate(steps.counts) if number and count
    )
    return f"{name}: {parts} steps of {scale:.3g}, all others by none."
