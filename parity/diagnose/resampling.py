"""What a model would compute if its resampling operators ran in other modes than it asks for."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from parity.backends import get_backend
from parity.diagnose.trial import worst_db
from parity.options import SessionOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from parity.diagnose.evidence import Evidence
    from parity.diagnose.model_facts import ModelFacts

    Modes = Mapping[str, object]

_CHOICES: Mapping[str, Mapping[str, tuple[object, ...]]] = {
    "Resize": {
        "coordinate_transformation_mode": ("half_pixel", "asymmetric", "align_corners"),
        "nearest_mode": ("round_prefer_floor", "floor", "ceil", "round_prefer_ceil"),
    },
    "GridSample": {"align_corners": (0, 1), "padding_mode": ("zeros", "border", "reflection")},
    "Pad": {"mode": ("constant", "edge", "reflect")},
}
"""Modes that runtimes confuse, by operator; the first of each is ONNX's own default."""
RESAMPLING = frozenset(_CHOICES)


def modes_of(node: NodeProto) -> dict[str, object]:
    """Return the modes that a resampling node asks for, defaults included; those that it does not read are left out."""
    given = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    plain = {name: value.decode() if isinstance(value, bytes) else value for name, value in given.items()}
    choices = dict(_CHOICES[node.op_type])
    if plain.get("mode", "nearest") != "nearest":
        choices.pop("nearest_mode", None)
    return {name: plain.get(name, values[0]) for name, values in choices.items()}


def other_modes(node: NodeProto) -> Iterator[dict[str, object]]:
    """Yield every other combination of the modes that a node reads."""
    asked = modes_of(node)
    for values in product(*(_CHOICES[node.op_type][name] for name in asked)):
        modes = dict(zip(asked, values, strict=True))
        if modes != asked:
            yield modes


def layer_db(evidence: Evidence, facts: ModelFacts, node: NodeProto, modes: Modes) -> float:
    """Return the SQNR in dB of a node's output in other modes, fed with the reference's inputs.

    Raises
    ------
    ParityError
        ONNX Runtime does not compute the node so.
    """
    model, distance = _alone(facts, node, modes), _Distance()
    names = [value.name for value in model.graph.input]
    with get_backend("onnxruntime").open(model, SessionOptions()) as session:
        columns = [evidence.probes.values(name) for name in names]
        for expected, *values in zip(evidence.probes.values(node.output[0]), *columns, strict=True):
            [actual] = session.run(dict(zip(names, values, strict=True))).values()
            distance.update(actual, expected)
    return distance.sqnr_db


def model_db(evidence: Evidence, op_type: str, modes: Modes) -> float:
    """Return the SQNR in dB of the model's worst output, with all nodes of an operator in other modes.

    Raises
    ------
    ParityError
        ONNX Runtime does not compute the model so.
    """
    changed = ModelProto()
    changed.CopyFrom(evidence.model)
    for node in changed.graph.node:
        if node.op_type == op_type:
            _set_modes(node, modes)
    distances: dict[str, _Distance] = {}
    backend, options = get_backend("onnxruntime"), SessionOptions()
    with backend.open(evidence.model, options) as reference, backend.open(changed, options) as session:
        for feed in evidence.feeds():
            inputs = {info.name: feed[info.name] for info in session.inputs}
            expected = reference.run(inputs)
            for name, actual in session.run(inputs).items():
                distances.setdefault(name, _Distance()).update(actual, expected[name])
    return worst_db({name: distance.sqnr_db for name, distance in distances.items()})


class _Distance:
    """Signal and noise over feeds, where both sides are finite."""

    def __init__(self) -> None:
        self.signal = self.noise = 0.0

    def update(self, actual: np.ndarray, expected: np.ndarray) -> None:
        wide = expected.astype(np.float64)
        error = actual.astype(np.float64) - wide
        finite = np.isfinite(error)
        self.signal += float(np.square(wide[finite]).sum())
        self.noise += float(np.square(error[finite]).sum())

    @property
    def sqnr_db(self) -> float:
        if not self.signal:
            return float(np.nan)
        return float(10 * np.log10(self.signal / self.noise)) if self.noise else float(np.inf)


def _alone(facts: ModelFacts, node: NodeProto, modes: Modes) -> ModelProto:
    """Return a model of one node in other modes; what it computes with is fed."""
    copy = NodeProto()
    copy.CopyFrom(node)
    _set_modes(copy, modes)
    constants = [facts.constants[name] for name in node.input if name in facts.constants]
    fed = [name for name in dict.fromkeys(node.input) if name and name not in facts.constants]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in fed]
    output = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
    graph = helper.make_graph([copy], "alone", inputs, [output], constants)
    # Any release of ONNX Runtime that reads the model's opset reads this version of the file format.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", facts.opset)], ir_version=8)


def _set_modes(node: NodeProto, modes: Modes) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in modes]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in modes.items())])
