"""A variant's figures against what was accepted, as an outcome."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from parity.baseline.changes import Change, Direction, changes_of
from parity.baseline.machine import variant_key
from parity.baseline.slow_layers import SlowLayers
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from parity.baseline.model import Baseline, VariantFigures
    from parity.results import CaseRecord, Outcome

CHECK = "baseline"
_SHOWN_CHANGES = 20


@dataclass(frozen=True, slots=True)
class Tonight:
    """What a run says of one variant.

    Attributes
    ----------
    figures
        Of all of its outcomes.
    checks
        Those that were made to an end.
    record
        What the case is made of; None where it was not prepared.
    disturbed
        Batch sizes whose readings something disturbed, with what it was.
    """

    figures: VariantFigures
    checks: frozenset[str]
    record: CaseRecord | None
    disturbed: Mapping[int, str] = field(default_factory=dict)


def judge(
    blank: Outcome, accepted: Baseline, tonight: Tonight, overrides: Mapping[str, float], accept_command: str
) -> Outcome:
    """Return the judgement of a variant against its baseline.

    Parameters
    ----------
    blank
        Names case, variant and check.
    overrides
        The case file's tolerances by figure.
    accept_command
        Makes what is measured now the baseline.
    """
    known = accepted.variants.get(variant_key(blank.variant))
    if known is None:
        return refusal(blank, f"the baseline of {accepted.machine} does not have this variant", accept_command)
    if reason := _other_thing(accepted, tonight):
        return refusal(blank, reason, accept_command)
    changes = changes_of(known, tonight.figures, tonight.checks, overrides)
    slow = SlowLayers.between(known.layers, tonight.figures.layers)
    return _concluded(blank, _Findings(changes, slow, tonight, _not_looked_at(known, tonight.checks)), accept_command)


def refusal(blank: Outcome, reason: str, accept_command: str) -> Outcome:
    """Return the failure of a variant that nothing was accepted for."""
    message = f"{reason}\nin: {blank.case} / {blank.variant} / {blank.check}\nnext: {accept_command}"
    return replace(blank, verdict=Verdict.FAIL, headline=f"{reason}; accept it with: {accept_command}", message=message)


def _other_thing(accepted: Baseline, tonight: Tonight) -> str:
    """Say why figures are of something else than was accepted; empty where they are of the same."""
    record = tonight.record
    if record is None:
        return "the run does not say which model it judged"
    if accepted.model_sha256 != record.model_sha256:
        return (
            f"the model is not the accepted one (sha256 {record.model_sha256[:12]}, accepted "
            f"{accepted.model_sha256[:12]}), so no figure is compared"
        )
    # Latency alone is measured on the first feed, whatever the others are.
    is_of_feeds = bool(tonight.checks - {"latency", "engine"})
    if is_of_feeds and accepted.feeds_sha256 and accepted.feeds_sha256 != record.feeds_sha256:
        return (
            f"the feeds are not the accepted ones ({record.feed_count} feeds, sha256 {record.feeds_sha256[:12]}, "
            f"accepted {accepted.feeds_sha256[:12]}), so no figure is compared"
        )
    return ""


def _not_looked_at(known: VariantFigures, checks: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(known.checks - set(checks)))


@dataclass(frozen=True, slots=True)
class _Findings:
    changes: tuple[Change, ...]
    slow: SlowLayers
    tonight: Tonight
    not_looked_at: tuple[str, ...]

    @property
    def judged(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.is_judged)

    @property
    def bad(self) -> list[Change]:
        """What is not as accepted, the worst first."""
        found = [change for change in self.changes if change.leaves_baseline]
        return sorted(found, key=lambda change: (not change.is_regression, -change.size))

    @property
    def is_slower(self) -> bool:
        """Whether a latency is worse."""
        return any(change.check == "latency" and change.direction is Direction.WORSE for change in self.bad)

    @property
    def is_disturbed(self) -> bool:
        """Whether nothing but disturbed latencies is worse."""
        return bool(self.bad) and all(self.disturbance(change) for change in self.bad)

    def disturbance(self, change: Change) -> str:
        """Return what disturbed the latency that a change is of."""
        sizes = {f"batch {size}": why for size, why in self.tonight.disturbed.items()}
        return sizes.get(change.subject, "") if change.check == "latency" else ""


def _concluded(blank: Outcome, found: _Findings, accept_command: str) -> Outcome:
    if not found.judged:
        return refusal(blank, "the baseline has no figure of the checks that were made", accept_command)
    if not found.bad:
        return replace(blank, verdict=Verdict.PASS, headline=_headline(found))
    verdict = Verdict.INCONCLUSIVE if found.is_disturbed else Verdict.FAIL
    worst = found.bad[0]
    headline = f"{change_text(worst)}; {len(found.bad)} of {len(found.judged)} figures are not what was accepted"
    if found.is_slower and found.slow.parts:
        headline += f"; slowed most: {found.slow.parts[0]}"
    return replace(blank, verdict=verdict, headline=headline, message=_message(blank, found, accept_command))


def _headline(found: _Findings) -> str:
    latencies = [change for change in found.judged if change.check == "latency"]
    text = f"{len(found.judged)} figures are as accepted"
    if latencies:
        text += ": " + ", ".join(f"{change.subject} {_percent(change)}" for change in latencies)
    guesses = [change for change in latencies if change.slowdown and change.slowdown.is_guess]
    if guesses:
        text += "; of one measurement the spread is not known, add more with parity baseline update --measurements"
    if found.not_looked_at:
        text += f"; not looked at: {', '.join(found.not_looked_at)}"
    return text


def _percent(change: Change) -> str:
    return f"{change.slowdown.ratio - 1:+.1%}" if change.slowdown else ""


def _message(blank: Outcome, found: _Findings, accept_command: str) -> str:
    bad, count = found.bad, len(found.judged)
    worst = bad[0]
    return "\n".join(
        [
            f"{change_text(worst)}: is not what was accepted",
            f"{len(bad)} / {count} figures are not ({len(bad) / count:.0%})",
            f"worst: {_bound_text(worst)}",
            f"in: {blank.case} / {blank.variant} / {blank.check}",
            f"next: mend it, or accept it with: {accept_command}",
            *(found.slow.lines if found.is_slower else ()),
            *(f"also {_bound_text(change)}" for change in bad[1:_SHOWN_CHANGES]),
            *([f"{len(bad) - _SHOWN_CHANGES} more"] if len(bad) > _SHOWN_CHANGES else []),
            *(f"disturbed: {why}" for change in bad if (why := found.disturbance(change))),
        ]
    )


def change_text(change: Change) -> str:
    """Return a change in words: ``outputs logits sqnr_db 65.5 -> 40.1 dB, worse``."""
    unit = f" {change.unit}" if change.unit not in {"share", "count", ""} else ""
    values = " -> ".join("none" if value is None else f"{value:.5g}" for value in (change.old, change.new))
    share = f" ({_percent(change)})" if change.slowdown else ""
    return f"{change.place} {values}{unit}{share}, {change.direction}"


def _bound_text(change: Change) -> str:
    return f"{change_text(change)}, allowed {change.allowed}"
