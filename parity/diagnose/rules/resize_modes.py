"""Resize, GridSample and Pad in another mode than the model's: maps that are shifted, or wrong at their edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.diagnose.certainty import FITS, SHOWN, certainty_of
from parity.diagnose.facts import sqnr_db
from parity.diagnose.model_facts import ModelFacts
from parity.diagnose.resampling import RESAMPLING, answers_db, modes_of, other_modes
from parity.diagnose.row_facts import RowFacts, blamed_tensors, is_failed
from parity.diagnose.trial import decibels, worst_db
from parity.diagnosis import Diagnosis
from parity.errors import ParityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from onnx import NodeProto

    from parity.diagnose.evidence import Answers, Evidence

CAUSE = "resize-modes"
_NEARER_DB = 6.0
"""Twice as near the engine's answers as the model itself comes only by computing what the engine does."""
_PROBE = "compute the model with these operators in other modes in ONNX Runtime, and hold the engine's answers to it"
_REMEDY = (
    "export with a mode that this TensorRT computes alike (asymmetric with floor, half_pixel with linear), or write "
    "the resampling as a transposed convolution"
)


@dataclass(frozen=True, slots=True)
class Match:
    """The modes under which the model comes nearest to the engine: how near, and how near as it is, in dB."""

    modes: str
    found_db: float
    own_db: float


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return the resampling that the engine computes in another mode."""
    if not is_failed(evidence) or not blamed_tensors(evidence):
        return ()
    answers = tuple(evidence.probes.answers())
    found = []
    for nodes, sentences in _suspects(evidence, ModelFacts(evidence.model)):
        match = _match(evidence, nodes, answers)
        if match or sentences:
            found.append(_diagnosis(evidence, nodes, match, sentences))
    return tuple(found)


def _suspects(evidence: Evidence, facts: ModelFacts) -> Iterator[tuple[list[NodeProto], list[str]]]:
    """Yield the nodes of each operator that may be to blame, with what the engine's layers say against them.

    All of an operator where no layer of the engine was observed, else those that error is born in.
    """
    rows = RowFacts(evidence.layers)
    is_observed = any(row.observed_by != "rounded graph" for row in rows.rows)
    sources = {name: row for row in reversed(rows.sources) for name in row.nodes} if is_observed else {}
    for op_type in sorted(RESAMPLING):
        nodes = [node for node in facts.nodes.values() if node.op_type == op_type]
        born = [node for node in nodes if node.name in sources]
        told = [
            f"{node.name} ({op_type}) is left with {decibels(sources[node.name].inherited.sqnr_db)} in the engine"
            for node in born
        ]
        if chosen := (born if is_observed else nodes):
            yield chosen, told


def _match(evidence: Evidence, nodes: Sequence[NodeProto], answers: Sequence[Answers]) -> Match | None:
    """Return the modes under which the model comes nearest to the engine; None where none comes nearer than its own."""
    own_db = _own_db(answers)
    names, tried = {node.name for node in nodes}, []
    for modes in other_modes(nodes[0]):
        try:
            found_db = answers_db(evidence.model, answers, names, modes)
        except ParityError:
            # Not every combination is defined for every node.
            continue
        tried.append(Match(_text(modes), found_db, own_db))
    near = [match for match in tried if match.found_db > own_db and match.found_db - own_db >= _NEARER_DB]
    return max(near, key=lambda match: match.found_db, default=None)


def _own_db(answers: Sequence[Answers]) -> float:
    return worst_db(
        {
            (one.number, name): sqnr_db(one.candidate[name], array)
            for one in answers
            for name, array in one.reference.items()
        }
    )


def _text(modes: dict[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in modes.items())


def _diagnosis(evidence: Evidence, nodes: Sequence[NodeProto], match: Match | None, told: Sequence[str]) -> Diagnosis:
    first, edge = nodes[0], _edge_sentences(evidence)
    what = f"computes as with {match.modes}" if match else "is resampled otherwise than the model asks for"
    return Diagnosis(
        cause=CAUSE,
        title=f"{first.name} ({first.op_type}) {what}",
        certainty=certainty_of(SHOWN if edge else FITS, True if match else None, is_specific=match is not None),
        nodes=tuple(node.name for node in nodes),
        evidence=(*told, f"the model asks for {_text(modes_of(first))}", *edge),
        probe=_PROBE,
        probe_result=_result(match),
        is_confirmed=True if match else None,
        remedy=_REMEDY,
    )


def _result(match: Match | None) -> str:
    if match is None:
        return "the engine's answers are those of no other mode"
    found, own = decibels(match.found_db), decibels(match.own_db)
    return f"the engine's answers lie at {found} to the model with {match.modes}, at {own} to the model as it is"


def _edge_sentences(evidence: Evidence) -> Iterable[str]:
    """Return that the worst element lies on the edge of its map, where it does."""
    for one in blamed_tensors(evidence):
        worst = one.difference.worst_absolute if one.difference else None
        if worst is None or len(one.shape) < 4:
            continue
        places = zip(worst.index[-2:], one.shape[-2:], strict=True)
        if any(place in {0, size - 1} for place, size in places):
            return (f"the worst element of {one.output} lies on the edge of its map, at {worst.index}",)
    return ()
