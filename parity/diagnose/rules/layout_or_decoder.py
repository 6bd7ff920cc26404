"""Outputs that agree, and are decoded as what they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.case.decoder import open_decoder
from parity.diagnose.certainty import CONFIRMED, FITS
from parity.diagnose.decoders import Alternative, alternatives, sniff
from parity.diagnose.examples import accuracy, is_luck, run_examples
from parity.diagnose.facts import figure_values
from parity.diagnosis import Diagnosis
from parity.errors import BackendError, FeedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parity.case.model import Case
    from parity.diagnose.evidence import Evidence
    from parity.diagnose.examples import Example

CAUSE = "layout-or-decoder"
_LOW = 0.4
"""One class of three is right by chance under some wrong decoders."""
_GAIN = 0.2
_FLAWED = "The reference itself has"
"""How the decoded check begins a reason on rows of the reference that make no sense."""


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Name what the outputs are in place of what the case takes them for, where the reference decodes to nothing."""
    case = evidence.case
    if case is None or case.decoding is None or case.decoding.settings is None or not _is_empty(evidence):
        return ()
    try:
        examples = run_examples(case, evidence.model)
    except (BackendError, FeedError):
        return ()
    if not examples:
        return ()
    seen = sniff(case.decoding.settings, examples[0])
    best = _best(case, examples)
    if best is not None:
        return (_confirmed(seen, *best),)
    return (_suspected(seen),) if seen else ()


def _is_empty(evidence: Evidence) -> bool:
    """Whether the reference's own results are wrong, none, or damaged."""
    figures = figure_values(evidence)
    right = figures.get("accuracy_reference", figures.get("true_ap50_reference"))
    if right is not None:
        return right < _LOW
    outcome = evidence.outcomes.get("decoded")
    record = outcome.decoded if outcome else None
    has_flaws = record is not None and any(reason.startswith(_FLAWED) for reason in record.reasons)
    return has_flaws or figures.get("reference_count", 1.0) == 0.0


def _best(case: Case, examples: Sequence[Example]) -> tuple[Alternative, float, float] | None:
    """Return the decoder that is right most often, with that and with the case's own figure; None without a better."""
    own = accuracy(examples, open_decoder(case))
    if own is None or case.decoding is None or case.decoding.settings is None:
        return None
    tried = [
        (one, value)
        for one in alternatives(case.decoding.settings, examples[0])
        if (value := accuracy(examples, one.decoder)) is not None
    ]
    best = max(tried, key=lambda pair: pair[1], default=None)
    if best is None or best[1] < own + _GAIN or is_luck(examples, own, best[1]):
        return None
    return best[0], best[1], own


def _confirmed(seen: tuple[str, ...], best: Alternative, value: float, own: float) -> Diagnosis:
    return Diagnosis(
        cause=CAUSE,
        title=f"The outputs are decoded as what they are not: {best.what}.",
        certainty=FITS + (CONFIRMED - FITS) * (value - own) / (1 - own),
        nodes=(),
        evidence=(f"As the case decodes them, the reference is right by {own:.3f} of 1.", *seen),
        probe="Decode the reference's outputs in the usual other ways, and hold the results against annotations.",
        probe_result=f"Where {best.what}, it is right by {value:.3f}.",
        is_confirmed=True,
        remedy=f"Change [decode]: {best.remedy}.",
    )


def _suspected(seen: tuple[str, ...]) -> Diagnosis:
    return Diagnosis(
        cause=CAUSE,
        title="The outputs do not look like what the decoder takes them for.",
        certainty=FITS,
        nodes=(),
        evidence=seen,
        probe="Decode in the other way and look at one image, or give the case [annotations].",
        remedy="Change [decode] as the figures say.",
    )
