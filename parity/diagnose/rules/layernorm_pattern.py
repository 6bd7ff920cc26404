"""A layer normalisation in parts, which TensorRT cannot keep in float32 as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.diagnose.certainty import SHOWN, certainty_of
from parity.diagnose.model_facts import ModelFacts
from parity.diagnose.row_facts import RowFacts, engine_of, is_failed, is_sick, magnitude
from parity.diagnose.trial import try_keeping
from parity.diagnosis import Diagnosis
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import NodeProto

    from parity.diagnose.evidence import Evidence
    from parity.layer_table import LayerRow

CAUSE = "layernorm-pattern"
_OPSET = 17
"""Since which LayerNormalization is an operator."""
_BEHIND = frozenset({"Add", "Sqrt", "Div", "Reciprocal", "Mul", "Pow"})
_MEAN = "ReduceMean"


@dataclass(frozen=True, slots=True)
class Norm:
    """One normalisation in parts: its nodes in order, and what its means are taken over."""

    nodes: tuple[str, ...]
    axes: tuple[int, ...]


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return the normalisations in parts that error is born in."""
    if evidence.options.precision not in {Precision.FP16, Precision.BF16} or not is_failed(evidence):
        return ()
    facts, rows = ModelFacts(evidence.model), RowFacts(evidence.layers)
    norms = list(find_norms(facts))
    hit = [(row, norm) for row in rows.sources for norm in norms if set(row.nodes).intersection(norm.nodes)]
    if not hit or hit[0][0] is not rows.sources[0]:
        return ()
    return (_diagnosis(evidence, facts, hit, len(norms)),)


def find_norms(facts: ModelFacts) -> Iterator[Norm]:
    """Yield ReduceMean -> Sub -> Pow or Mul -> ReduceMean -> Add -> Sqrt -> Div, as far as it is there."""
    for variance in facts.nodes.values():
        square = facts.producers.get(variance.input[0]) if variance.op_type == _MEAN else None
        centred = _centred(facts, square) if square is not None else None
        if square is None or centred is None:
            continue
        behind = _following(facts, variance, centred.output[0])
        names = [*_means(facts, centred), centred.name, square.name, variance.name, *(node.name for node in behind)]
        yield Norm(tuple(dict.fromkeys(names)), _axes(facts, variance))


def _centred(facts: ModelFacts, square: NodeProto) -> NodeProto | None:
    """Return the Sub of a mean that a node squares; None where it does not."""
    squares_itself = square.op_type == "Mul" and len(set(square.input)) == 1
    if not squares_itself and not (square.op_type == "Pow" and _is_two(facts, square.input[1])):
        return None
    centred = facts.producers.get(square.input[0])
    return centred if centred is not None and centred.op_type == "Sub" and _means(facts, centred) else None


def _is_two(facts: ModelFacts, tensor: str) -> bool:
    values = facts.floats(tensor)
    return values is not None and bool((values == 2).all())


def _means(facts: ModelFacts, centred: NodeProto) -> list[str]:
    makers = (facts.producers.get(name) for name in centred.input)
    return [node.name for node in makers if node is not None and node.op_type == _MEAN]


def _following(facts: ModelFacts, variance: NodeProto, centred: str) -> list[NodeProto]:
    """Return the nodes behind the variance, up to the one that the centred values are divided in."""
    found: list[NodeProto] = []
    node = variance
    while len(readers := facts.readers.get(node.output[0], [])) == 1 and readers[0].op_type in _BEHIND:
        node = readers[0]
        found.append(node)
        if centred in node.input:
            break
    return found


def _axes(facts: ModelFacts, node: NodeProto) -> tuple[int, ...]:
    given = next((tuple(attribute.ints) for attribute in node.attribute if attribute.name == "axes"), ())
    return given or facts.integers(node.input[1] if len(node.input) > 1 else "")


def _diagnosis(evidence: Evidence, facts: ModelFacts, hit: list[tuple[LayerRow, Norm]], count: int) -> Diagnosis:
    row = hit[0][0]
    keep = tuple(dict.fromkeys(name for _, norm in hit for name in norm.nodes))
    trial = try_keeping(evidence, keep)
    # A layout that is not last on purpose: exporters write it in parts at any opset.
    moved = hit[0][1].axes not in {(-1,), ()}
    return Diagnosis(
        cause=CAUSE,
        title=f"A layer normalisation in parts loses its variance in {evidence.options.precision} at {row.layer}",
        certainty=certainty_of(SHOWN, trial.is_confirmed, is_specific=True),
        nodes=tuple(dict.fromkeys((*row.nodes, *keep))),
        evidence=(
            f"layer normalisations in the model as ReduceMean, Sub, Pow, ReduceMean, Add, Sqrt, Div: {count}",
            f"the model's opset is {facts.opset}; LayerNormalization is an operator since {_OPSET}",
            _at(row),
            *([f"its means are over axes {list(hit[0][1].axes)}"] if moved else []),
            *_warnings(evidence),
        ),
        probe="keep the normalisation's nodes at fp32, or export again with LayerNormalization as one operator",
        probe_result=trial.result,
        is_confirmed=trial.is_confirmed,
        remedy=_remedy(facts.opset, moved=moved),
        keep=keep,
    )


def _remedy(opset: int, *, moved: bool) -> str:
    if opset < _OPSET:
        again = f"export again with opset {_OPSET} or later, where TensorRT keeps LayerNormalization in float32 inside"
    else:
        again = "write it as LayerNormalization, which TensorRT keeps in float32 inside"
    axis = " over the last axis (transpose before and behind it)" if moved else ""
    return f"{again}{axis}; or keep its nodes at fp32"


def _at(row: LayerRow) -> str:
    if is_sick(row):
        return (
            f"{row.layer} is the first to give NaN or infinities, {row.nonfinite_candidate:,} of them, where the "
            f"reference reaches {magnitude(row):.4g}"
        )
    return f"{row.layer} leaves {row.inherited.sqnr_db:.1f} dB, where its precision allows {row.floor_db:.1f} dB"


def _warnings(evidence: Evidence) -> list[str]:
    engine = engine_of(evidence)
    told = [message.text for message in engine.messages if message.kind == "overflow-risk"] if engine else []
    return [f"TensorRT's builder said: {told[0]}"] if told else []
