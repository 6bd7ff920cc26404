"""Resize, GridSample and Pad in another mode than the model's: maps that are shifted, or wrong at their edges."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from parity.backends import get_backend
from parity.diagnose.certainty import FITS, SHOWN, certainty_of
from parity.diagnose.model_facts import ModelFacts
from parity.diagnose.row_facts import RowFacts, blamed_tensors, is_failed
from parity.diagnose.trial import decibels
from parity.diagnosis import Diagnosis
from parity.errors import ParityError
from parity.options import SessionOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from parity.diagnose.evidence import Evidence
    from parity.layer_table import LayerRow

CAUSE = "resize-modes"
_NEAR_DB = 1.5
"""Two figures of one wrong mode, over the same feeds: what precision adds is far below it."""
_MODES: Mapping[str, Mapping[str, tuple[object, ...]]] = {
    "Resize": {
        "coordinate_transformation_mode": ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"),
        "nearest_mode": ("round_prefer_floor", "floor", "ceil", "round_prefer_ceil"),
    },
    "GridSample": {"align_corners": (0, 1), "padding_mode": ("zeros", "border", "reflection")},
    "Pad": {"mode": ("constant", "edge", "reflect")},
}
_USUAL = {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_floor", "align_corners": 0,
          "padding_mode": "zeros", "mode": "constant"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Match:
    """The modes that explain a layer's error: what they would leave, beside what the layer is left with, in dB."""

    modes: dict[str, object]
    expected_db: float
    found_db: float


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return the resampling layers where an engine's error is born, and the mode whose error it is."""
    if not is_failed(evidence) or not blamed_tensors(evidence):
        return ()
    facts, rows = ModelFacts(evidence.model), RowFacts(evidence.layers)
    found = []
    for row in rows.sources:
        nodes = [node for node in facts.named(row.nodes) if node.op_type in _MODES]
        if row.observed_by != "rounded graph" and nodes:
            found.append(_diagnosis(evidence, facts, row, nodes[-1]))
    return tuple(found[:3])


def _diagnosis(evidence: Evidence, facts: ModelFacts, row: LayerRow, node: NodeProto) -> Diagnosis:
    match = _match(evidence, facts, row, node)
    edge = _edge_sentence(evidence)
    told = f"{node.name} ({node.op_type}) leaves {decibels(row.inherited.sqnr_db)}, and the forecast is sound there"
    names = ", ".join(f"{name}={value}" for name, value in match.modes.items()) if match else ""
    title = f"{node.name} ({node.op_type}) " + (f"computes as with {names}" if match else "resamples otherwise")
    return Diagnosis(
        cause=CAUSE,
        title=title,
        certainty=certainty_of(SHOWN if edge else FITS, True if match else None, is_specific=True),
        nodes=(node.name,),
        evidence=(told, f"the model asks for {_asked(node)}", *edge),
        probe="compute the layer alone in the other modes, and compare their errors with the engine's",
        probe_result=f"with {names} it would be left with {decibels(match.expected_db)}, and is left with "
        f"{decibels(match.found_db)}"
        if match
        else "no other mode gives this error",
        is_confirmed=True if match else None,
        remedy="export with modes that the engine's TensorRT computes alike (asymmetric with floor, or half_pixel with "
        "linear), or put the resampling into a convolution",
    )


def _asked(node: NodeProto) -> str:
    return ", ".join(f"{name}={value}" for name, value in _modes_of(node).items())


def _modes_of(node: NodeProto) -> dict[str, object]:
    given = {one.name: helper.get_attribute_value(one) for one in node.attribute if one.name in _MODES[node.op_type]}
    plain = {name: value.decode() if isinstance(value, bytes) else value for name, value in given.items()}
    return {name: plain.get(name, _USUAL[name]) for name in _MODES[node.op_type]}


def _match(evidence: Evidence, facts: ModelFacts, row: LayerRow, node: NodeProto) -> Match | None:
    """Return the modes whose error is nearest to the layer's own; None where none is near."""
    own = row.injected or row.inherited
    try:
        tried = [Match(modes, expected, own.sqnr_db) for modes, expected in _errors(evidence, facts, node)]
    except ParityError:
        return None
    near = [match for match in tried if abs(match.expected_db - match.found_db) <= _NEAR_DB]
    return min(near, key=lambda match: abs(match.expected_db - match.found_db), default=None)


def _errors(evidence: Evidence, facts: ModelFacts, node: NodeProto) -> Iterator[tuple[dict[str, object], float]]:
    """Yield every other combination of modes, with the SQNR in dB that it would leave."""
    asked = _modes_of(node)
    for values in product(*_MODES[node.op_type].values()):
        modes = dict(zip(_MODES[node.op_type], values, strict=True))
        if modes != asked:
            error = _error(evidence, facts, node, modes)
            if np.isfinite(error):
                yield modes, error


def _error(evidence: Evidence, facts: ModelFacts, node: NodeProto, modes: dict[str, object]) -> float:
    """Return what a node in other modes would leave of its own output, as SQNR in dB over all feeds."""
    model = _alone(facts, node, modes)
    noise = signal = 0.0
    with get_backend("onnxruntime").open(model, SessionOptions()) as session:
        names = [value.name for value in model.graph.input]
        columns = [evidence.probes.values(name) for name in names]
        for expected, *values in zip(evidence.probes.values(node.output[0]), *columns, strict=True):
            [actual] = session.run(dict(zip(names, values, strict=True))).values()
            noise += float(np.square(actual.astype(np.float64) - expected).sum())
            signal += float(np.square(expected.astype(np.float64)).sum())
    return float(10 * np.log10(signal / noise)) if signal and noise else np.inf


def _alone(facts: ModelFacts, node: NodeProto, modes: dict[str, object]) -> ModelProto:
    """Return a model of one node in other modes; what it computes with is fed."""
    copy = NodeProto()
    copy.CopyFrom(node)
    kept = [attribute for attribute in copy.attribute if attribute.name not in modes]
    del copy.attribute[:]
    copy.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in modes.items())])
    constants = [facts.constants[name] for name in node.input if name in facts.constants]
    fed = [name for name in dict.fromkeys(node.input) if name and name not in facts.constants]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in fed]
    output = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
    graph = helper.make_graph([copy], "alone", inputs, [output], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", facts.opset)], ir_version=8)


def _edge_sentence(evidence: Evidence) -> tuple[str, ...]:
    """Return that the worst elements lie on the edge of their maps, where they do."""
    for one in blamed_tensors(evidence):
        worst = one.difference.worst_absolute if one.difference else None
        if worst is None or len(one.shape) < 4:
            continue
        places = list(zip(worst.index[-2:], one.shape[-2:], strict=True))
        if any(place in {0, size - 1} for place, size in places):
            return (f"the worst element of {one.output} lies on the edge of its map, at {worst.index}",)
    return ()
