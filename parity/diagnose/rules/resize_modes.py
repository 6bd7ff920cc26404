"""Resize, GridSample and Pad in another mode than the model's: maps that are shifted, or wrong at their edges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from parity.diagnose.certainty import FITS, SHOWN, certainty_of
from parity.diagnose.model_facts import ModelFacts
from parity.diagnose.resampling import RESAMPLING, layer_db, model_db, modes_of, other_modes
from parity.diagnose.row_facts import RowFacts, blamed_tensors, is_failed
from parity.diagnose.trial import decibels, worst_db
from parity.diagnosis import Diagnosis
from parity.errors import ParityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from onnx import NodeProto

    from parity.diagnose.evidence import Evidence

CAUSE = "resize-modes"
_NEAR_DB = 1.5
"""Two figures of one wrong mode: what a precision adds to it, and other feeds, are below."""
_PROBE = "compute the layer, or the model, with other modes in ONNX Runtime, and compare the error with the engine's"
_REMEDY = (
    "export with a mode that this TensorRT computes alike (asymmetric with floor, half_pixel with linear), or write "
    "the resampling as a transposed convolution"
)


@dataclass(frozen=True, slots=True)
class Match:
    """The modes that explain an error: what they would leave, beside what is left, in dB."""

    modes: str
    expected_db: float
    found_db: float


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return the resampling whose error in another mode is the engine's."""
    if not is_failed(evidence) or not blamed_tensors(evidence):
        return ()
    facts = ModelFacts(evidence.model)
    observed = [row for row in RowFacts(evidence.layers).rows if row.observed_by != "rounded graph"]
    if observed:
        return _in_layers(evidence, facts)
    return _in_outputs(evidence, facts)


def _in_layers(evidence: Evidence, facts: ModelFacts) -> tuple[Diagnosis, ...]:
    """Look where the engine's layers show that error is born."""
    found = []
    for row in RowFacts(evidence.layers).sources:
        for node in facts.named(row.nodes):
            if node.op_type in RESAMPLING:
                left = (row.injected or row.inherited).sqnr_db
                match = _match(node, left, partial(layer_db, evidence, facts, node))
                told = f"{node.name} ({node.op_type}) is left with {decibels(row.inherited.sqnr_db)} in the engine"
                found.append(_diagnosis(evidence, [node], match, told))
    return tuple(found[:3])


def _in_outputs(evidence: Evidence, facts: ModelFacts) -> tuple[Diagnosis, ...]:
    """Try other modes for all nodes of an operator, where no layer of the engine was observed."""
    found = []
    for op_type in sorted(RESAMPLING):
        nodes = [node for node in facts.nodes.values() if node.op_type == op_type]
        if not nodes:
            continue
        left = worst_db({one.output: one.difference.sqnr_db for one in blamed_tensors(evidence) if one.difference})
        match = _match(nodes[0], left, partial(model_db, evidence, op_type))
        if match:
            told = f"the worst output is left with {decibels(left)} in the engine"
            found.append(_diagnosis(evidence, nodes, match, told))
    return tuple(found)


def _match(node: NodeProto, found_db: float, error_of: Callable[[dict[str, object]], float]) -> Match | None:
    """Return the modes whose error is nearest to what was found; None where none is near."""
    tried = []
    for modes in other_modes(node):
        try:
            tried.append(Match(_text(modes), error_of(modes), found_db))
        except ParityError:
            # Not every combination is defined for every node.
            continue
    near = [match for match in tried if abs(match.expected_db - found_db) <= _NEAR_DB]
    return min(near, key=lambda match: abs(match.expected_db - found_db), default=None)


def _text(modes: dict[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in modes.items())


def _diagnosis(evidence: Evidence, nodes: list[NodeProto], match: Match | None, told: str) -> Diagnosis:
    first, edge = nodes[0], _edge_sentences(evidence)
    what = f"computes as with {match.modes}" if match else "is resampled otherwise than the model asks for"
    return Diagnosis(
        cause=CAUSE,
        title=f"{first.name} ({first.op_type}) {what}",
        certainty=certainty_of(SHOWN if edge else FITS, True if match else None, is_specific=match is not None),
        nodes=tuple(node.name for node in nodes),
        evidence=(told, f"the model asks for {_text(modes_of(first))}", *edge),
        probe=_PROBE,
        probe_result=_result(match),
        is_confirmed=True if match else None,
        remedy=_REMEDY,
    )


def _result(match: Match | None) -> str:
    if match is None:
        return "no other mode gives this error"
    return f"{match.modes} would leave {decibels(match.expected_db)}, and {decibels(match.found_db)} is left"


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
