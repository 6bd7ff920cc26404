"""Names of layers on a page: the long ones are shortened where the page would be too large otherwise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from parity.layer_table import LayerRow
    from parity.results import Run

WHOLE = 1 << 30
"""Room for any name."""
_LEAST = 24
# TensorRT calls what it fuses "a + b" and "PWN(a, b)".
_JOINS = re.compile(r"[\s+(),]+")


def shortened(name: str, room: int) -> str:
    """Leave out the beginning: names of one model begin alike and differ at the end."""
    return name if len(name) <= room else f"...{name[3 - room :]}"


def nodes_text(row: LayerRow) -> str:
    """Return the nodes of a layer; nothing where its name has them all, as TensorRT joins those that it fuses."""
    named = {row.layer, *_JOINS.split(row.layer)}
    return "" if named.issuperset(row.nodes) else ", ".join(row.nodes)


def name_room(run: Run, excess: int) -> int:
    """Return how many characters of each name a page may show to be shorter by an excess; no fewer than 24."""
    lengths = sorted(len(text) for text in _names(run))
    left = max(sum(lengths) - excess, 0)
    for place, length in enumerate(lengths):
        share = left // (len(lengths) - place)
        if length > share:
            return max(share, _LEAST)
        left -= length
    return WHOLE


def _names(run: Run) -> Iterator[str]:
    for outcome in run.outcomes:
        yield from _of_rows(outcome.layers.rows if outcome.layers else ())
        yield from (layer.name for layer in (outcome.latency.layers if outcome.latency else ()))


def _of_rows(rows: Iterable[LayerRow]) -> Iterator[str]:
    for row in rows:
        yield row.layer
        yield nodes_text(row)
