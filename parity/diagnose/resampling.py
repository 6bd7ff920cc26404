"""What a model would compute if its resampling operators ran in other modes than it asks for."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from onnx import ModelProto, NodeProto, helper

from parity.backends import get_backend
from parity.diagnose.facts import sqnr_db
from parity.diagnose.trial import worst_db
from parity.options import SessionOptions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from parity.diagnose.evidence import Answers

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


def answers_db(model: ModelProto, answers: Sequence[Answers], nodes: Collection[str], modes: Modes) -> float:
    """Return how near a variant's answers come to the model with some nodes in other modes: its worst output's SQNR.

    Raises
    ------
    ParityError
        ONNX Runtime does not compute the model so.
    """
    changed = ModelProto()
    changed.CopyFrom(model)
    for node in changed.graph.node:
        if node.name in nodes:
            _set_modes(node, modes)
    levels: dict[tuple[int, str], float] = {}
    with get_backend("onnxruntime").open(changed, SessionOptions()) as session:
        for one in answers:
            outputs = session.run({info.name: one.feed[info.name] for info in session.inputs})
            levels |= {(one.number, name): sqnr_db(one.candidate[name], array) for name, array in outputs.items()}
    return worst_db(levels)


def _set_modes(node: NodeProto, modes: Modes) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in modes]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in modes.items())])
