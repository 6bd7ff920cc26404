"""One engine that answers one feed in two ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.checks.invariants import ALL_WRITTEN, FRESH_CONTEXT, FRESH_LOAD, SAME_FEED
from parity.diagnose.certainty import CONFIRMED, FITS
from parity.diagnose.facts import broken_laws, judged_tensors, law_sentences
from parity.diagnosis import Diagnosis

if TYPE_CHECKING:
    from parity.diagnose.evidence import Evidence

CAUSE = "unstable-run"
_WHERE = {
    SAME_FEED: "The engine answers one feed in two ways: a race, a missing synchronisation, or memory read unwritten.",
    FRESH_CONTEXT: "The engine answers otherwise in a fresh context: it keeps state, or reads memory unwritten.",
    FRESH_LOAD: "The engine answers otherwise once it is loaded again: what it computes depends on how it was loaded.",
}


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Name an unstable engine where equal bits were asked and not given."""
    broken = broken_laws(evidence, _WHERE)
    if not broken:
        return ()
    # A buffer that nobody writes answers in two ways as well, and says why.
    has_other_reason = any(tensor.unwritten_count for tensor in judged_tensors(evidence))
    also = broken_laws(evidence, (ALL_WRITTEN,))
    return (
        Diagnosis(
            cause=CAUSE,
            title=next(title for law, title in _WHERE.items() if any(one.name == law for one in broken)),
            certainty=FITS if has_other_reason else CONFIRMED,
            nodes=(),
            evidence=law_sentences((*broken, *also)),
            probe="Give the engine one feed again and again: in one context, in a fresh one, from a fresh load.",
            probe_result=f"{len(broken)} of {len(_WHERE)} ways gave other bits.",
            is_confirmed=True,
            remedy=(
                "Check plugins and custom kernels for races, synchronise the stream before outputs are copied, build "
                "without tactic sources one by one (cuBLAS, cuDNN), and build anew on this very GPU."
            ),
        ),
    )
