"""Sources, amplifiers and victims: what each layer does to the error that reaches it, and which of them come first."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from parity.layer_table import Role, lost_db

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.layer_table import LayerRow

# A layer of a healthy network lies within a few dB of its floor, or loses a few: 12 dB is a factor of 4.
_MARGIN_DB = 12.0
# A source's own error shows in what leaves it: half of that at least.
_SOURCE_LOSS_DB = _MARGIN_DB / 2


def with_roles(rows: Sequence[LayerRow]) -> tuple[LayerRow, ...]:
    """Return rows with their roles, in the same order."""
    by_tensor = {row.tensor: row for row in rows}
    return tuple(replace(row, role=_role(row, by_tensor)) for row in rows)


def rank_sources(rows: Sequence[LayerRow]) -> tuple[int, ...]:
    """Return the positions of the rows where error is born or grows, the most harmful first.

    A row that makes non-finite values of finite ones comes before all others, in the graph's order; the others by how
    many dB are lost there. Rows need their roles.
    """
    by_tensor = {row.tensor: row for row in rows}
    guilty = [row for row in rows if row.role in {Role.SOURCE, Role.AMPLIFIER}]
    ranked = sorted(
        guilty, key=lambda row: (not _makes_nonfinite(row, by_tensor), -lost_db(row, by_tensor), row.position)
    )
    return tuple(row.position for row in ranked)


def doubtful_rows(rows: Sequence[LayerRow], most: int) -> tuple[LayerRow, ...]:
    """Return the rows whose roles hang on their layers' own error, those where most is lost first.

    Parameters
    ----------
    most
        How many at most.
    """
    by_tensor = {row.tensor: row for row in rows}
    losses = {row.position: lost_db(row, by_tensor) for row in rows if not _is_sick(row)}
    worst = [row for row in rows if losses.get(row.position, 0.0) > _SOURCE_LOSS_DB]
    return tuple(sorted(worst, key=lambda row: -losses[row.position])[:most])


def _makes_nonfinite(row: LayerRow, by_tensor: Mapping[str, LayerRow]) -> bool:
    sick = row.nonfinite_candidate > row.nonfinite_reference
    return sick and not any(_is_sick(by_tensor[name]) for name in row.inputs if name in by_tensor)


def _is_sick(row: LayerRow) -> bool:
    return row.nonfinite_candidate > row.nonfinite_reference


def _role(row: LayerRow, by_tensor: Mapping[str, LayerRow]) -> Role:
    if _is_sick(row):
        return Role.SOURCE if _makes_nonfinite(row, by_tensor) else Role.VICTIM
    if math.isnan(row.inherited.sqnr_db):
        return Role.UNKNOWN
    lost = lost_db(row, by_tensor)
    distance = row.distance_db
    if distance is not None and distance > _MARGIN_DB and lost > _SOURCE_LOSS_DB:
        return Role.SOURCE
    if lost > _MARGIN_DB:
        return Role.AMPLIFIER if row.injected is not None else Role.UNKNOWN
    return Role.CLEAN if row.inherited.sqnr_db >= row.floor_db - _MARGIN_DB else Role.VICTIM
