"""Rounding to whole numbers, comparisons and choices that fall on the other side by a small error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.diagnose.certainty import FITS, certainty_of
from parity.diagnose.facts import failed_outputs
from parity.diagnose.model_facts import ModelFacts
from parity.diagnose.rerun import run_each
from parity.diagnose.row_facts import RowFacts, is_failed
from parity.diagnose.steps import is_step, where_it_jumps
from parity.diagnose.trial import percent
from parity.diagnose.widening import keep_what_reaches
from parity.diagnosis import Diagnosis
from parity.layers.walk import Walk
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import NodeProto

    from parity.diagnose.evidence import Evidence
    from parity.diagnose.rerun import Passage, Rerun
    from parity.layer_table import LayerRow

CAUSE = "crossed-step"
_PLACES = 6
"""Rows that are looked at, the worst first."""
_PROBE = (
    "run the node alone in float32 on what it reads, exact and with the error that reaches it, and count what falls "
    "elsewhere; and keep it at fp32 with what makes the values that it reads"
)
_REMEDY = (
    "move the step away from where the values lie (half a step for whole numbers, another threshold for a comparison), "
    "judge by what is decoded, where near ties may change places, or keep these nodes at {precision}"
)


@dataclass(frozen=True, slots=True)
class _Crossing:
    """A node that falls on another step, what it became of which error, and the rows that hand it its values."""

    node: NodeProto
    passage: Passage
    is_by_rounding: bool
    rows: tuple[LayerRow, ...]


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return the nodes that jump where error is born, and that a small error carries over their steps."""
    if evidence.options.precision is Precision.FP32 or not is_failed(evidence):
        return ()
    facts, rows = ModelFacts(evidence.model), RowFacts(evidence.layers)
    steps = list(_steps(evidence, facts, rows))
    reruns = run_each(evidence, (node for node, _ in steps))
    seen = ((reruns[node.name], near) for node, near in steps if node.name in reruns)
    found = [crossing for rerun, near in seen if (crossing := _crossing(rerun, near))]
    # What reads a value that has jumped jumps with it.
    first = [crossing for crossing in found if crossing.is_by_rounding] or found
    return (_diagnosis(evidence, facts, rows, first),) if first else ()


def _steps(evidence: Evidence, facts: ModelFacts, rows: RowFacts) -> Iterator[tuple[NodeProto, tuple[LayerRow, ...]]]:
    """Yield the nodes that jump in rows where finite error is born, and before failed outputs that have no row."""
    for row in rows.sources[:_PLACES]:
        if not rows.behind_sick(row):
            yield from ((node, (row,)) for node in facts.named(row.nodes) if is_step(node))
    walk = Walk(evidence.model.graph)
    for output in failed_outputs(evidence):
        if rows.rows and output not in rows.by_tensor:
            between = walk.between([output], rows.by_tensor)
            near = tuple(rows.by_tensor[name] for name in between.reads if name in rows.by_tensor)
            yield from ((node, near) for node in between.nodes if is_step(node))


def _crossing(rerun: Rerun, near: tuple[LayerRow, ...]) -> _Crossing | None:
    for passage, is_by_rounding in ((rerun.rounded, True), (rerun.handed, False)):
        if passage.moved:
            return _Crossing(rerun.node, passage, is_by_rounding, near)
    return None


def _diagnosis(evidence: Evidence, facts: ModelFacts, rows: RowFacts, found: list[_Crossing]) -> Diagnosis:
    first = found[0]
    near = {row.position: row for crossing in found for row in crossing.rows}
    keep, trial = keep_what_reaches(evidence, facts, rows, [near[place] for place in sorted(near)])
    nodes = tuple(dict.fromkeys(crossing.node.name for crossing in found))
    return Diagnosis(
        cause=CAUSE,
        title=(
            f"{first.node.name} ({first.node.op_type}) jumps to another value for {first.passage.moved:,} of "
            f"{first.passage.count:,} elements by a small error in what it reads"
        ),
        certainty=certainty_of(FITS, trial.is_confirmed),
        nodes=nodes,
        evidence=tuple(_sentence(evidence, crossing) for crossing in found[:3]),
        probe=_PROBE,
        probe_result=trial.result,
        is_confirmed=trial.is_confirmed,
        remedy=_REMEDY.format(precision=evidence.options.keep_precision),
        keep=tuple(dict.fromkeys((*keep, *nodes))),
    )


def _sentence(evidence: Evidence, crossing: _Crossing) -> str:
    node, passage = crossing.node, crossing.passage
    what = f"what it reads, rounded once to {evidence.options.precision}"
    what = what if crossing.is_by_rounding else "what reaches it"
    return (
        f"{node.name}: {node.op_type} {where_it_jumps(node)}; run alone in float32 on {what} (an error of "
        f"{percent(passage.error_in)}), it gives another value for {passage.moved:,} of {passage.count:,} elements"
    )
