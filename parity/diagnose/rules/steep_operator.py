"""Operators that are steep where they are: they make an error many times as large, or give NaN and infinities of it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from parity.diagnose.certainty import SHOWN, certainty_of
from parity.diagnose.model_facts import ModelFacts
from parity.diagnose.rerun import run_each
from parity.diagnose.row_facts import RowFacts, is_failed, is_sick
from parity.diagnose.steep_words import nearest, words_of
from parity.diagnose.steps import is_step
from parity.diagnose.trial import decibels, percent, rounded_number
from parity.diagnose.widening import keep_what_reaches
from parity.diagnosis import Diagnosis
from parity.layer_table import Role
from parity.layers.points import SAME_ELEMENTS
from parity.precision.names import all_nodes
from parity.precision.scope import subgraphs
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import NodeProto

    from parity.diagnose.evidence import Evidence
    from parity.diagnose.rerun import Rerun
    from parity.layer_table import LayerRow

CAUSE = "steep-operator"
_STEEP = 4.0
"""Twelve dB: what a layer of a healthy network loses at most."""
_NODES = 16
"""Nodes that are looked at, the worst rows' first: three angles are three rows, and a fused layer has many nodes."""
_PROBE = (
    "run the node alone in float32 on what it reads, exact and with an error; and keep it at fp32 with what makes the "
    "values that it reads"
)


@dataclass(frozen=True, slots=True)
class _Place:
    """A row, and the node in it that makes the error largest."""

    row: LayerRow
    rerun: Rerun

    @property
    def node(self) -> NodeProto:
        return self.rerun.node


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return the places where error grows because an operator is steep at the values that it reads."""
    if evidence.options.precision is Precision.FP32 or not is_failed(evidence):
        return ()
    facts, rows = ModelFacts(evidence.model), RowFacts(evidence.layers)
    places = tuple(_places(evidence, facts, rows))
    return (_diagnosis(evidence, facts, rows, places),) if places else ()


def _places(evidence: Evidence, facts: ModelFacts, rows: RowFacts) -> Iterator[_Place]:
    made = [row for row in rows.sources if not rows.behind_sick(row)]
    nodes = (node for row in made for node in facts.named(row.nodes) if _is_looked_at(node))
    reruns = run_each(evidence, islice(nodes, _NODES))
    for row in made:
        found = [reruns[name] for name in row.nodes if name in reruns and _is_steep(reruns[name], row)]
        if found:
            yield _Place(row, max(found, key=lambda one: (one.handed.lost, one.worse.amplification)))


def _is_looked_at(node: NodeProto) -> bool:
    return node.op_type not in SAME_ELEMENTS and not is_step(node)


def _is_steep(rerun: Rerun, row: LayerRow) -> bool:
    if is_sick(row):
        return bool(_lost(rerun))
    return rerun.worse.amplification >= _STEEP or _is_inside(rerun, row)


def _is_inside(rerun: Rerun, row: LayerRow) -> bool:
    """Whether the error is born in a graph that the node holds, whose tensors are not observed."""
    # An engine may have computed the node wrongly altogether; a forecast only rounds.
    is_forecast = row.observed_by == "rounded graph"
    is_born = row.role is Role.SOURCE and rerun.worse.amplification < _STEEP
    return is_forecast and is_born and any(True for _ in subgraphs(rerun.node))


def _lost(rerun: Rerun) -> int:
    return rerun.handed.lost or rerun.rounded.lost


def _diagnosis(evidence: Evidence, facts: ModelFacts, rows: RowFacts, places: tuple[_Place, ...]) -> Diagnosis:
    # Before the trials, which may take what is left of the time.
    sentences = tuple(sentence for place in places[:3] for sentence in _sentences(evidence, place))
    keep, trial = keep_what_reaches(evidence, facts, rows, [place.row for place in places])
    words = words_of(places[0].node.op_type)
    return Diagnosis(
        cause=CAUSE,
        title=_title(places[0]),
        certainty=certainty_of(SHOWN, trial.is_confirmed),
        nodes=tuple(dict.fromkeys(place.node.name for place in places)),
        evidence=sentences,
        probe=_PROBE,
        probe_result=trial.result,
        is_confirmed=trial.is_confirmed,
        remedy=f"keep these nodes at {evidence.options.keep_precision}, or {words.rewrite}",
        keep=keep,
    )


def _title(place: _Place) -> str:
    layer = f"{place.node.name} ({place.node.op_type})"
    if is_sick(place.row):
        return f"{layer} gives NaN or infinities because of an error in what it reads"
    if _is_inside(place.rerun, place.row):
        return f"{layer} turns the roundings inside of it into a large error"
    return f"{layer} makes the error of what it reads {rounded_number(place.rerun.worse.amplification)} times as large"


def _sentences(evidence: Evidence, place: _Place) -> Iterator[str]:
    node, rerun = place.node, place.rerun
    words = words_of(node.op_type)
    places = words.edges if is_sick(place.row) else (*words.edges, *words.zeros)
    near = nearest(places, evidence.probes.values(node.input[words.position])) if places else ""
    yield f"{node.name}: {node.op_type} {words.why}{f'; it reads values {near}' if near else ''}"
    if is_sick(place.row):
        yield (
            f"run alone in float32 on what the forecast hands to it, {node.name} gives {_lost(rerun):,} elements that "
            "are NaN or beyond the format; on what the reference has there, it gives numbers"
        )
        return
    if _is_inside(rerun, place.row) and place.row.injected is not None:
        kinds = ", ".join(dict.fromkeys(inner.op_type for graph in subgraphs(node) for inner in all_nodes(graph)))
        yield f"on exact inputs it gives {decibels(place.row.injected.sqnr_db)}; inside of it are {kinds}"
        return
    is_by_rounding = rerun.rounded.amplification >= _STEEP
    passage = rerun.rounded if is_by_rounding else rerun.handed
    what = f"what it reads, rounded once to {evidence.options.precision}" if is_by_rounding else "what reaches it"
    yield (
        f"run alone in float32 on {what} (an error of {percent(passage.error_in)}), {node.name} errs by "
        f"{percent(passage.error_out)}: an amplification of {rounded_number(passage.amplification)}; "
        f"{decibels(place.row.inherited.sqnr_db)} leaves it"
    )
