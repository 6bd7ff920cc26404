"""The smallest of growing sets of nodes whose higher precision mends an error that is made larger on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.diagnose.trial import Trial, is_sound, try_keeping, worst_db

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from parity.diagnose.evidence import Evidence
    from parity.diagnose.model_facts import ModelFacts
    from parity.diagnose.row_facts import RowFacts
    from parity.layer_table import LayerRow

_STEPS = (1, 2, 4, 8)
"""How far back from the place: what is rounded right before it may be all, or each rounding on the way there."""
_MORE_DB = 6.0
"""What a larger set must mend beyond a smaller one to be worth its nodes."""


def keep_what_reaches(
    evidence: Evidence, facts: ModelFacts, rows: RowFacts, places: Sequence[LayerRow]
) -> tuple[tuple[str, ...], Trial]:
    """Return nodes from some steps before places up to them, and what came of keeping these.

    The larger sets are tried as long as the outputs are not sound. All that reaches the places comes last; other places
    that spoil what they give are another cause's, and what is before them cures nothing here.
    """
    best: tuple[tuple[str, ...], Trial] = ((), Trial(None, None))
    best_db = float("-inf")
    spoilt = {row.tensor for row in rows.sources if row not in places and not is_sound(evidence, row.inherited.sqnr_db)}
    for inside in _growing(rows, places, spoilt):
        keep = facts.with_inner(dict.fromkeys(name for row in inside for name in row.nodes))
        trial = try_keeping(evidence, keep)
        if trial.is_confirmed is None:
            # An engine's failure, or the whole of the model: what smaller sets showed is no refutation either.
            return best if best[1].is_confirmed else (best[0] or keep, trial)
        level = worst_db(evidence.probes.outputs(keep=keep))
        if not best[0] or level > best_db + _MORE_DB:
            best, best_db = (keep, trial), level
        if is_sound(evidence, level):
            break
    return best


def _growing(rows: RowFacts, places: Sequence[LayerRow], spoilt: AbstractSet[str]) -> Iterator[list[LayerRow]]:
    inside, depth = list(places), 0
    for steps in _STEPS:
        size = len(inside)
        while depth < steps:
            before = [one for row in inside for one in rows.inputs(row) if one.tensor not in spoilt]
            inside = rows.upstream([*inside, *before], lambda _: False)
            depth += 1
        # What reads the inputs of the model alone has nothing before it, and is worth a try all the same.
        if len(inside) > size or steps == _STEPS[0]:
            yield inside
    everything = rows.upstream(places, lambda row: row.tensor not in spoilt)
    if len(everything) > len(inside):
        yield everything
