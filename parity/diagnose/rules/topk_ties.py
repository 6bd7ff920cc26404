"""Operators that choose by order (TopK, ArgMax, NonMaxSuppression) among values that tie, or nearly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import helper

from parity.diagnose.certainty import CONFIRMED
from parity.diagnose.facts import failed_outputs, sqnr_db
from parity.diagnose.row_facts import RowFacts
from parity.diagnose.trial import HEALTHY_DB, decibels
from parity.diagnosis import Diagnosis
from parity.layers.walk import Walk
from parity.tolerance import NOISE_FLOOR_DB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import NodeProto

    from parity.diagnose.evidence import Answers, Evidence

CAUSE = "topk-ties"
_CHOOSERS = frozenset({"ArgMax", "ArgMin", "NonMaxSuppression", "TopK"})
_NEAR_DB = 25.0
"""Rows that are the same but for their order have at least this."""
_MARGIN_DB = 12.0
_STEPS = 16.0
"""How many times its own rounding a precision may turn around: an error grows on its way to the choice."""
_TIED_SHARE = 0.9
_MOST_ROWS = 1000
"""Rows that are matched with each other: more of them are places of a grid, not a choice."""


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Name the choosing node where an output differs by the order of what it chose, or by ties."""
    walk = Walk(evidence.model.graph)
    found = []
    for output in failed_outputs(evidence):
        upstream = [node for node in walk.between([output], ()).nodes if node.op_type in _CHOOSERS]
        if not upstream:
            continue
        sentence = _tied(evidence, upstream[-1], output) or _reordered(evidence, output)
        if sentence:
            found.append((upstream[-1], sentence))
    return (_diagnosis(found),) if found else ()


def _diagnosis(found: list[tuple[NodeProto, str]]) -> Diagnosis:
    nodes = tuple(dict.fromkeys(node.name for node, _ in found))
    kinds = ", ".join(dict.fromkeys(node.op_type for node, _ in found))
    return Diagnosis(
        cause=CAUSE,
        title=f"{kinds} chose among near ties, or in another order: the same things are there, in other places.",
        certainty=CONFIRMED,
        nodes=nodes,
        evidence=tuple(sentence for _, sentence in found),
        probe="Compare as sets: match rows by value, and look at the values that differing indices point to.",
        probe_result="The choices are the same, or as good, within the rounding of the precision.",
        is_confirmed=True,
        remedy=(
            "Judge these outputs by decoded results, which do not depend on order; no runtime promises an order among "
            "equals, and no precision brings one."
        ),
    )


def _tied(evidence: Evidence, node: NodeProto, output: str) -> str:
    """Return a sentence where an output of indices differs at ties alone; else an empty text."""
    is_index = node.op_type in {"ArgMax", "ArgMin"} or (node.op_type == "TopK" and output == node.output[1])
    if not is_index or output not in node.output or _is_damaged(evidence, node.input[0]):
        return ""
    gaps = [
        _gaps(node, values, answers.reference[output], answers.candidate[output])
        for values, answers in zip(evidence.probes.values(node.input[0]), evidence.probes.answers(), strict=False)
        if answers.candidate.get(output, np.empty(0)).shape == answers.reference[output].shape
    ]
    differing = np.concatenate(gaps) if gaps else np.empty(0)
    allowed = _STEPS * 10 ** (-NOISE_FLOOR_DB[evidence.options.precision] / 20)
    if not differing.size or float(np.mean(differing <= allowed)) < _TIED_SHARE:
        return ""
    return (
        f"{output}: {differing.size} indices differ; the values they point to differ by at most "
        f"{float(np.quantile(differing, _TIED_SHARE)):.2g} of the largest in {_TIED_SHARE:.0%} of them."
    )


def _is_damaged(evidence: Evidence, tensor: str) -> bool:
    """Whether what is chosen among is itself far from the reference: its order changes for that, ties or none."""
    row = RowFacts(evidence.layers).by_tensor.get(tensor)
    return row is not None and row.inherited.sqnr_db < NOISE_FLOOR_DB[evidence.options.precision] - HEALTHY_DB


def _gaps(node: NodeProto, values: np.ndarray, expected: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Return, of each index that differs, how far apart the two values are, as shares of the largest value."""
    attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    axis = attributes.get("axis", -1 if node.op_type == "TopK" else 0)
    if node.op_type != "TopK" and not attributes.get("keepdims", 1):
        expected, actual = np.expand_dims(expected, axis), np.expand_dims(actual, axis)
    inside = np.clip(actual, 0, values.shape[axis] - 1)
    pointed = [np.take_along_axis(values, which.astype(np.int64), axis) for which in (expected, inside)]
    distance = np.where(inside == actual, np.abs(pointed[0] - pointed[1]), np.inf)
    largest = float(np.max(np.abs(values), initial=0.0)) or 1.0
    gaps: np.ndarray = distance[expected != actual] / largest
    return gaps


def _reordered(evidence: Evidence, output: str) -> str:
    """Return a sentence where an output's rows are the reference's in another order; else an empty text."""
    for answers in evidence.probes.answers():
        for number, (expected, actual) in enumerate(_images(answers, output)):
            own, matched = sqnr_db(actual, expected), sqnr_db(_matched(actual, expected), expected)
            if matched >= _NEAR_DB and matched - own >= _MARGIN_DB:
                return (
                    f"{output}, row {number} of the batch: {decibels(own)} as it stands, {decibels(matched)} once its "
                    "rows are matched by value."
                )
    return ""


def _images(answers: Answers, output: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each image's rows, (rows, columns) of both sides."""
    expected, actual = answers.reference.get(output), answers.candidate.get(output)
    if expected is None or actual is None or expected.shape != actual.shape or expected.ndim not in {2, 3}:
        return
    if not 1 < expected.shape[1] <= _MOST_ROWS:
        return
    for left, right in zip(expected, actual, strict=True):
        yield left.reshape(len(left), -1).astype(np.float64), right.reshape(len(right), -1).astype(np.float64)


def _matched(actual: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the rows in the order in which they are nearest to those that are expected."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    if not (np.isfinite(actual).all() and np.isfinite(expected).all()):
        return actual
    rows: np.ndarray = actual[linear_sum_assignment(cdist(expected, actual))[1]]
    return rows
