"""Causes that hide each other: what mends nothing alone may be needed beside what other causes want kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from parity.diagnose.certainty import CONFIRMED
from parity.diagnose.trial import is_sound, try_beside, worst_db
from parity.errors import ParityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from parity.diagnose.evidence import Evidence
    from parity.diagnosis import Diagnosis


def reconsider(evidence: Evidence, found: Sequence[Diagnosis]) -> tuple[Diagnosis, ...]:
    """Return causes in their order, those confirmed that were refuted only because another one is there as well.

    A cause counts where leaving its nodes out of all that are to be kept brings the error back.
    """
    return tuple(_judged_beside(evidence, one, found) if one.is_confirmed is False else one for one in found)


def is_explained(evidence: Evidence, found: Sequence[Diagnosis]) -> bool:
    """Whether keeping what the confirmed causes want kept leaves nothing to be explained."""
    keep = _kept(one for one in found if one.is_confirmed)
    try:
        return bool(keep) and is_sound(evidence, worst_db(evidence.probes.outputs(keep=keep)))
    except ParityError:
        # What cannot be tried explains nothing.
        return False


def adding_to(evidence: Evidence, specific: Sequence[Diagnosis], general: Sequence[Diagnosis]) -> tuple[Diagnosis, ...]:
    """Return general causes without those that only say again what confirmed specific ones explain.

    One stays where nothing specific is confirmed, or where it is another place and mends what the others leave.
    """
    confirmed = [one for one in specific if one.is_confirmed]
    elsewhere = [one for one in general if not _is_at(one, confirmed)]
    if not _kept(confirmed):
        return tuple(elsewhere)
    tried = [_tried_beside(evidence, one, confirmed) for one in elsewhere]
    return tuple(one for one in tried if one is not None)


def without_idle(found: Sequence[Diagnosis], general: Sequence[Diagnosis]) -> tuple[Diagnosis, ...]:
    """Return causes without refuted general ones, where any cause is confirmed: what holds everywhere tells nothing."""
    idle = {one.cause for one in general} if any(one.is_confirmed for one in found) else set()
    return tuple(one for one in found if one.is_confirmed is not False or one.cause not in idle)


def _is_at(one: Diagnosis, others: Sequence[Diagnosis]) -> bool:
    return any(one.nodes[0] in other.nodes for other in others)


def _judged_beside(evidence: Evidence, one: Diagnosis, found: Sequence[Diagnosis]) -> Diagnosis:
    others = [other for other in found if other is not one and other.is_confirmed is not None]
    return _tried_beside(evidence, one, others) or one


def _tried_beside(evidence: Evidence, one: Diagnosis, others: Sequence[Diagnosis]) -> Diagnosis | None:
    """Return a cause confirmed beside others; None where leaving its nodes out brings no error back."""
    kept = _kept(others)
    nodes = tuple(name for name in one.keep if name not in kept)
    if not (nodes and kept):
        return None
    trial = try_beside(evidence, nodes, kept)
    if not trial.is_confirmed:
        return None
    return replace(one, certainty=CONFIRMED, is_confirmed=True, probe_result=trial.result)


def _kept(found: Iterable[Diagnosis]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for one in found for name in one.keep))
