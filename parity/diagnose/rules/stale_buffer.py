"""Outputs that were never written, or that still hold the answer to another feed."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from parity.checks.invariants import ALL_WRITTEN, SAME_FEED
from parity.diagnose.certainty import CONFIRMED, FITS, SHOWN, SPECIFIC
from parity.diagnose.facts import broken_laws, judged_tensors, law_sentences, sqnr_db
from parity.diagnose.trial import decibels
from parity.diagnosis import Diagnosis

if TYPE_CHECKING:
    from parity.diagnose.evidence import Answers, Evidence

CAUSE = "stale-buffer"
_NEAR_DB = 15.0
"""What an answer has at least where it is the answer to that feed, in any precision."""
_MARGIN_DB = 12.0


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Name a buffer that holds what it held before."""
    unwritten = {tensor.output: tensor.unwritten_count for tensor in judged_tensors(evidence) if tensor.unwritten_count}
    # An engine that answers the same feed in two ways does so with a pattern in its buffers, too: then only elements
    # that kept the pattern, which have no difference, show a buffer.
    is_shaky = bool(broken_laws(evidence, (SAME_FEED,)))
    written = broken_laws(evidence, (ALL_WRITTEN,))
    broken = tuple(law for law in written if law.max_absolute is None or not is_shaky)
    late = _late_answers(evidence)
    if not (unwritten or broken or late):
        return ()
    counted = [f"{output}: {count} elements were never written." for output, count in unwritten.items()]
    return (
        Diagnosis(
            cause=CAUSE,
            title=_title(unwritten, late),
            certainty=CONFIRMED + SPECIFIC if late or unwritten else FITS if is_shaky else SHOWN,
            nodes=(),
            evidence=(*counted, *law_sentences(broken), *late),
            probe="Fill output buffers with a pattern before each run, and hold each answer against the feed before.",
            probe_result=f"{len(late)} answers belong to the feed before." if late else "The pattern came back.",
            is_confirmed=True,
            remedy=(
                "Wait for the stream before outputs are copied, bind every output by its name to a buffer of the shape "
                "that the context tells, and read no row beyond the count that the engine gives."
            ),
        ),
    )


def _title(unwritten: dict[str, int], late: tuple[str, ...]) -> str:
    if late:
        return "An output holds the answer to the feed before: it is copied too early, or not written."
    where = f" of {', '.join(unwritten)}" if unwritten else ""
    return f"Elements{where} keep what their buffer held before the run."


def _late_answers(evidence: Evidence) -> tuple[str, ...]:
    """Return a sentence for each output of a feed that is the reference's answer to the feed before."""
    return tuple(
        sentence
        for before, now in pairwise(evidence.probes.answers())
        for name in now.reference
        if now.previous == before.number and (sentence := _late(name, before, now))
    )


def _late(name: str, before: Answers, now: Answers) -> str:
    actual = now.candidate.get(name)
    if actual is None or name not in before.reference:
        return ""
    own, other = (sqnr_db(actual, side.reference[name]) for side in (now, before))
    if not (other >= _NEAR_DB and other - own >= _MARGIN_DB):
        return ""
    return (
        f"Feed {now.number}, {name}: {decibels(other)} to the reference of feed {before.number}, {decibels(own)} to "
        "its own."
    )
