"""Asks every rule what it makes of the evidence, and ranks what they find."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.diagnose.registry import GENERAL, RULES
from parity.diagnose.together import adding_to, is_explained, reconsider, without_idle
from parity.errors import ParityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from parity.diagnose.evidence import Evidence, Rule
    from parity.diagnosis import Diagnosis

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """What the rules found, the most certain first, and sentences on what was left out."""

    diagnoses: tuple[Diagnosis, ...]
    notes: tuple[str, ...] = ()


def diagnose(evidence: Evidence, rules: Sequence[Rule] | None = None) -> tuple[Diagnosis, ...]:
    """Return the likely causes of a failure, the most certain first; what a rule could not do is logged."""
    found = examine(evidence, rules)
    for note in found.notes:
        _LOG.warning("%s / %s: %s", evidence.case_name, evidence.variant, note)
    return found.diagnoses


def examine(
    evidence: Evidence, rules: Sequence[Rule] | None = None, is_over: Callable[[], bool] = lambda: False
) -> Diagnosed:
    """Return the likely causes of a failure, and what was left out.

    A rule that cannot look costs itself only.

    Parameters
    ----------
    rules
        Those of the registry if None.
    is_over
        Whether the time is up: the rules that were not asked by then are left out.
    """
    rules = RULES if rules is None else rules
    asked = _ask(evidence, [rule for rule in rules if rule not in GENERAL], is_over)
    specific = reconsider(evidence, _ranked(asked.diagnoses))
    general = [rule for rule in rules if rule in GENERAL]
    if not general or is_explained(evidence, specific):
        return Diagnosed(_ranked(specific), asked.notes)
    more = _ask(evidence, general, is_over)
    told = reconsider(evidence, _ranked((*specific, *adding_to(evidence, specific, more.diagnoses))))
    return Diagnosed(_ranked(without_idle(told, more.diagnoses)), (*asked.notes, *more.notes))


def _ask(evidence: Evidence, rules: Sequence[Rule], is_over: Callable[[], bool]) -> Diagnosed:
    """Return what rules find, in their order."""
    found: list[Diagnosis] = []
    notes: list[str] = []
    for number, rule in enumerate(rules):
        if is_over():
            names = ", ".join(map(rule_name, rules[number:]))
            notes.append(f"the time for looking for causes was over before these rules were asked: {names}")
            break
        try:
            found += rule(evidence)
        except ParityError as error:
            notes.append(f"rule {rule_name(rule)} could not look: {error}")
    return Diagnosed(tuple(found), tuple(notes))


def _ranked(found: Iterable[Diagnosis]) -> tuple[Diagnosis, ...]:
    return tuple(sorted(found, key=lambda diagnosis: -diagnosis.certainty))


def rule_name(rule: Rule) -> str:
    """Return a rule's name, which is its file's."""
    return str(getattr(rule, "__module__", rule)).rpartition(".")[2]
