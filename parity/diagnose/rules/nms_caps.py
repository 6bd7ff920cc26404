"""Counts that stand at a cap: a list that is cut off drops what the other side keeps."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from onnx import helper, numpy_helper

from parity.decode import DetectionSettings
from parity.diagnose.certainty import FITS, SHOWN
from parity.diagnose.facts import failed_outputs
from parity.diagnosis import Diagnosis
from parity.layers.walk import Walk
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import ModelProto, NodeProto

    from parity.diagnose.evidence import Evidence

CAUSE = "nms-caps"
_CAP_ATTRIBUTES = frozenset({"keepTopK", "keep_top_k", "max_output_boxes", "max_output_boxes_per_class", "topK"})
_SIDES = ("reference", "candidate")


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Name the cap that counts of detections stand at, where results differ."""
    if not _differs(evidence):
        return ()
    counted = tuple(_images_at_caps(evidence))
    found = (*counted, *_selections_at_caps(evidence))
    if not found:
        return ()
    return (
        Diagnosis(
            cause=CAUSE,
            title="A list of detections is cut off at its cap, and both sides drop other ones.",
            # A full list shows that something may be lost, a count that loses shows that it is.
            certainty=SHOWN if counted else FITS,
            nodes=tuple(dict.fromkeys(node for node, _ in found if node)),
            evidence=tuple(sentence for _, sentence in found),
            probe="Raise the cap, or decode the raw heads of both sides on the host, and see whether they agree.",
            remedy=(
                "Raise the cap in the export (and decode.max_detections), raise the score threshold inside the model, "
                "or judge crowded images by average precision."
            ),
        ),
    )


def _differs(evidence: Evidence) -> bool:
    outcome = evidence.outcomes.get("decoded")
    return (outcome is not None and outcome.verdict is Verdict.FAIL) or bool(failed_outputs(evidence))


def _images_at_caps(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Yield, of each cap, the node that has it and a sentence on the images whose counts stand at it."""
    outcome = evidence.outcomes.get("decoded")
    images = outcome.decoded.images if outcome and outcome.decoded else ()
    counts = {side: Counter(image.counts.get(side, 0) for image in images) for side in _SIDES}
    for cap, node, what in _caps(evidence):
        at = {side: counts[side][cap] for side in _SIDES}
        # Nothing is cut off where no image differs in what it shows.
        if any(at.values()) and any(_has_loss(image.counts) for image in images if cap in _both(image.counts)):
            yield (
                node,
                f"{at['reference']} images of the reference and {at['candidate']} of the variant show {cap}, {what}.",
            )


def _both(counts: dict[str, int]) -> tuple[int, ...]:
    return tuple(counts.get(side, 0) for side in _SIDES)


def _has_loss(counts: dict[str, int]) -> bool:
    return any(counts.get(kind, 0) for kind in ("missed", "extra", "class flip", "duplicate"))


def _caps(evidence: Evidence) -> Iterator[tuple[int, str, str]]:
    decoding = evidence.case.decoding if evidence.case else None
    if decoding and isinstance(decoding.settings, DetectionSettings):
        yield decoding.settings.max_detections, "", "the cap decode.max_detections"
    for node in evidence.model.graph.node:
        for cap in _caps_of(node, evidence.model):
            if cap > 1:
                yield cap, node.name, f"the cap of {node.op_type} {node.name}"


def _caps_of(node: NodeProto, model: ModelProto) -> Iterator[int]:
    for attribute in node.attribute:
        if attribute.name in _CAP_ATTRIBUTES:
            yield int(helper.get_attribute_value(attribute))
    if node.op_type == "TopK":
        yield from _constant(model, node.input[1])


def _selections_at_caps(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Yield NonMaxSuppression nodes that give as many boxes of an image and class as they may."""
    for node in _concerned(evidence):
        cap = next(_constant(evidence.model, node.input[2]), 0)
        full = _full_lists(evidence, node.output[0], cap) if cap else 0
        if full:
            yield node.name, f"{node.name} gives {cap} boxes, its cap, in {full} lists of one image and class."


def _concerned(evidence: Evidence) -> Iterator[NodeProto]:
    """Yield the NonMaxSuppression nodes with a cap that what differs is computed from."""
    outcome = evidence.outcomes.get("decoded")
    is_decoded = outcome is not None and outcome.verdict is Verdict.FAIL
    outputs = [value.name for value in evidence.model.graph.output] if is_decoded else failed_outputs(evidence)
    for node in Walk(evidence.model.graph).between(outputs, ()).nodes:
        if node.op_type == "NonMaxSuppression" and len(node.input) > 2:
            yield node


def _full_lists(evidence: Evidence, selected: str, cap: int) -> int:
    full = 0
    for rows in evidence.probes.values(selected):
        _, counts = np.unique(rows[:, :2], axis=0, return_counts=True)
        full += int(np.count_nonzero(counts >= cap))
    return full


def _constant(model: ModelProto, name: str) -> Iterator[int]:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            yield int(numpy_helper.to_array(tensor).reshape(-1)[0])
    for node in model.graph.node:
        if node.op_type == "Constant" and name in node.output:
            values = [helper.get_attribute_value(one) for one in node.attribute if one.name == "value"]
            yield from (int(numpy_helper.to_array(value).reshape(-1)[0]) for value in values)
