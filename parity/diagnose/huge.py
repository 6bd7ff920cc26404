"""Constants that a format cannot hold, and the rows that they reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from parity.diagnose.model_facts import PRODUCTS

if TYPE_CHECKING:
    from parity.diagnose.model_facts import ModelFacts
    from parity.diagnose.row_facts import RowFacts
    from parity.layer_table import LayerRow

LARGEST_HALF = 65504.0
LARGEST_BFLOAT16 = (2 - 2.0**-7) * 2.0**127


def huge_constants(facts: ModelFacts, rows: RowFacts, row: LayerRow, largest: float) -> dict[str, tuple[float, ...]]:
    """Return the constants beyond ``largest`` that a row, or what it is made of without a product, reads.

    Returns
    -------
    By the name of the node that reads the constant: its values beyond, each once, at most four.
    """
    reaching = rows.upstream([row], lambda other: not PRODUCTS.intersection(other.operators))
    names = dict.fromkeys(name for one in reaching for name in one.nodes)
    found: dict[str, tuple[float, ...]] = {}
    for node in facts.named(names):
        if node.op_type in PRODUCTS:
            continue
        values = [_beyond(constant, largest) for constant in facts.constant_inputs([node.name]).values()]
        held = tuple(float(value) for value in np.unique(np.concatenate(values))[:4]) if values else ()
        if held:
            found[node.name] = held
    return found


def _beyond(values: np.ndarray, largest: float) -> np.ndarray:
    wide = values.astype(np.float64).ravel()
    return wide[np.abs(wide) > largest]
