"""Infinities that no large value made: what fp16 flushes to zero, and divides by or takes the logarithm of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.diagnose.row_facts import is_sick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import NodeProto

    from parity.diagnose.evidence import Evidence
    from parity.diagnose.model_facts import ModelFacts
    from parity.diagnose.row_facts import RowFacts

_READS = {"Div": (1, "divides by"), "Reciprocal": (0, "divides by"), "Log": (0, "takes the logarithm of")}
"""By operator: the input that must not be zero, and what is done with it."""
_ZERO_OF_ZERO = frozenset({"Pow", "Sqrt"})
"""Their result may be within half's range where what they read is not."""
_STEPS = 4
"""How far back vanishing values are followed: a softmax, an epsilon, a root and what they are made of."""


@dataclass(frozen=True, slots=True)
class Vanishing:
    """A place that gives NaN or infinities because half holds zero where the reference has a small value.

    Attributes
    ----------
    layer
        Of the place, with what it does: ``n7 (Log) takes the logarithm of``.
    nodes
        From what gives the first vanishing values to what makes them infinite.
    sentences
        Of each tensor that vanishes: how much of it.
    """

    layer: str
    nodes: tuple[str, ...]
    sentences: tuple[str, ...]


def vanishing_places(evidence: Evidence, facts: ModelFacts, rows: RowFacts) -> Iterator[Vanishing]:
    """Yield the sources of NaN and infinities that read what half flushes to zero."""
    for row in rows.sources:
        if not is_sick(row) or rows.behind_sick(row):
            continue
        for node in facts.named(row.nodes):
            place, verb = _READS.get(node.op_type, (0, ""))
            found = dict(_vanishing(evidence, facts, node.input[place], _STEPS)) if verb else {}
            if found:
                layer = f"{node.name} ({node.op_type}) {verb}"
                yield Vanishing(layer, (*found, node.name), tuple(filter(None, found.values())))


def _vanishing(evidence: Evidence, facts: ModelFacts, tensor: str, steps: int) -> list[tuple[str, str]]:
    """Return the nodes behind a tensor that give vanishing values, in their order, each with a sentence on them."""
    node = facts.producers.get(tensor)
    if node is None or not steps:
        return []
    share = _flushed_share(evidence, tensor)
    if not share and node.op_type not in _ZERO_OF_ZERO:
        return []
    before = [one for name in node.input for one in _vanishing(evidence, facts, name, steps - 1)]
    return [*before, (node.name, _sentence(tensor, node, share))] if share or before else []


def _sentence(tensor: str, node: NodeProto, share: float) -> str:
    return f"{100 * share:.3g} % of the values of {tensor} ({node.op_type}) become 0 in half" if share else ""


def _flushed_share(evidence: Evidence, tensor: str) -> float:
    """Return the share of the reference's values that are not zero, and are in half."""
    count = flushed = 0
    with np.errstate(over="ignore"):
        for values in evidence.probes.values(tensor):
            if values.dtype.kind == "f":
                count += values.size
                flushed += int(np.count_nonzero((values.astype(np.float16) == 0) & (values != 0)))
    return flushed / count if count else 0.0
