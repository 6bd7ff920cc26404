"""Constants that a format cannot hold, and the rows that they reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from parity.diagnose.model_facts import PRODUCTS

if TYPE_CHECKING:
    from parity.diagnose.evidence import Evidence
    from parity.diagnose.model_facts import ModelFacts
    from parity.diagnose.row_facts import RowFacts
    from parity.layer_table import LayerRow

LARGEST_HALF = 65504.0
_BOUNDS = frozenset({
    "Clip", "Equal", "Greater", "GreaterOrEqual", "IsInf", "Less", "LessOrEqual", "Max", "Min",
})  # fmt: skip
"""What they are compared with may be clamped, or infinite: the values within range stay as they are."""
LARGEST_BFLOAT16 = (2 - 2.0**-7) * 2.0**127


def huge_constants(
    evidence: Evidence, facts: ModelFacts, rows: RowFacts, row: LayerRow, largest: float
) -> dict[str, tuple[float, ...]]:
    """Return the constants beyond ``largest`` that a row, or what it is made of without a product, computes with.

    Returns
    -------
    By the name of the node that reads the constant: its values beyond, each once, at most four.
    """
    reaching = rows.upstream([row], lambda other: not PRODUCTS.intersection(other.operators))
    names = dict.fromkeys(name for one in reaching for name in one.nodes)
    found: dict[str, tuple[float, ...]] = {}
    for node in facts.named(names):
        if node.op_type in PRODUCTS or node.op_type in _BOUNDS:
            continue
        values = [_beyond(constant, largest) for constant in facts.constant_inputs([node.name]).values()]
        held = tuple(float(value) for value in np.unique(np.concatenate(values))[:4]) if values else ()
        if held and (node.op_type != "Where" or _is_chosen(evidence, node.output[0], largest)):
            found[node.name] = held
    return found


def _is_chosen(evidence: Evidence, tensor: str, largest: float) -> bool:
    """Whether a choice between a constant and other values takes the constant anywhere."""
    return any(bool((np.abs(values) > largest).any()) for values in evidence.probes.values(tensor))


def _beyond(values: np.ndarray, largest: float) -> np.ndarray:
    wide = values.astype(np.float64).ravel()
    return wide[np.abs(wide) > largest]
