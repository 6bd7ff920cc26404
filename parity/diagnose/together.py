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
    return tuple(one for one in general if not confirmed or _mends_the_rest(evidence, one, confirmed))


def _mends_the_rest(evidence: Evidence, one: Diagnosis, confirmed: Sequence[Diagnosis]) -> bool:
    if any(set(one.nodes).intersection(other.nodes) for other in confirmed):
        return False
    others = _kept(confirmed)
    nodes = tuple(name for name in one.keep if name not in others)
    return bool(nodes) and try_beside(evidence, nodes, others).is_confirmed is True


def _judged_beside(evidence: Evidence, one: Diagnosis, found: Sequence[Diagnosis]) -> Diagnosis:
    others = _kept(other for other in found if other is not one and other.is_confirmed is not None)
    nodes = tuple(name for name in one.keep if name not in others)
    if not (nodes and others):
        return one
    trial = try_beside(evidence, nodes, others)
    if not trial.is_confirmed:
        return one
    return replace(one, certainty=CONFIRMED, is_confirmed=True, probe_result=trial.result)


def _kept(found: Iterable[Diagnosis]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for one in found for name in one.keep))
