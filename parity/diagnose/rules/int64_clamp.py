"""Whole numbers beyond 32 bits, which TensorRT clamps; harmless where they only mean "to the end"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, numpy_helper

from parity.diagnose.certainty import FITS, SHOWN
from parity.diagnose.model_facts import ModelFacts
from parity.diagnose.row_facts import blamed_tensors, engine_of, failed_tensors, is_failed
from parity.diagnosis import Diagnosis

if TYPE_CHECKING:
    from onnx import NodeProto

    from parity.diagnose.evidence import Evidence

CAUSE = "int64-clamp"
_INT32 = np.iinfo(np.int32)
_BOUNDS = range(1, 3)
"""Positions of a Slice's starts and ends: past the end is past the end, however far."""
_SHAPE_ONLY = frozenset({"Cast", "Concat", "Identity", "Reshape", "Squeeze", "Unsqueeze"})


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return the 64-bit constants that lose their value in an engine, where it is worse than its forecast."""
    engine = engine_of(evidence)
    if engine is None or not is_failed(evidence):
        return ()
    facts = ModelFacts(evidence.model)
    lost = {name: values for name in facts.constants if (values := _beyond(facts, name)) and _is_read(facts, name)}
    if not lost or (failed_tensors(evidence) and not blamed_tensors(evidence)):
        return ()
    messages = [one for one in engine.messages if one.kind == "int64-clamped"]
    nodes = tuple(dict.fromkeys(node.name for name in lost for node in facts.readers.get(name, ())))
    first, values = next(iter(lost.items()))
    return (
        Diagnosis(
            cause=CAUSE,
            title=f"{nodes[0]} reads {values[0]}, which TensorRT clamps to 32 bits",
            certainty=SHOWN if messages else FITS,
            nodes=nodes,
            evidence=(
                *(f"the constant {name} holds {', '.join(map(str, held[:4]))}" for name, held in lost.items()),
                *(f"TensorRT's builder said {one.count} times: {one.text}" for one in messages[:2]),
            ),
            probe=f"build again with {first} within 32 bits, or as an input of the model",
            remedy="export with numbers within 32 bits; TensorRT before 10.0 has no 64-bit integers",
        ),
    )


def _beyond(facts: ModelFacts, name: str) -> tuple[int, ...]:
    held = facts.constants[name]
    if held.data_type != TensorProto.INT64:
        return ()
    values = numpy_helper.to_array(held).ravel()
    return tuple(int(value) for value in np.unique(values[(values > _INT32.max) | (values < _INT32.min)]))


def _is_read(facts: ModelFacts, tensor: str) -> bool:
    """Whether a value that is clamped changes what a reader computes."""
    return any(_matters(facts, node, tensor) for node in facts.readers.get(tensor, ()))


def _matters(facts: ModelFacts, node: NodeProto, tensor: str) -> bool:
    if node.op_type == "Slice":
        return any(name == tensor and place not in _BOUNDS for place, name in enumerate(node.input))
    if node.op_type in _SHAPE_ONLY:
        return any(_is_read(facts, name) for name in node.output)
    return True
