"""Rows that answer otherwise beside other rows, in another batch, or at a corner of a profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.backends import get_backend
from parity.checks.invariants import (
    BATCH_ONE,
    FRESH_CONTEXT,
    IDENTICAL_ROWS,
    PERMUTED_ROWS,
    PROFILE_CORNERS,
    SAME_FEED,
)
from parity.checks.rows import batch_size, no_rows, take
from parity.checks.sameness import compare_answers
from parity.diagnose.certainty import FITS, SHOWN, certainty_of
from parity.diagnose.facts import broken_laws, law_sentences
from parity.diagnose.trial import decibels
from parity.diagnosis import Diagnosis
from parity.options import SessionOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parity.diagnose.evidence import Evidence
    from parity.results import Invariant

CAUSE = "batch-or-profile"
_ROW_LAWS = (IDENTICAL_ROWS, PERMUTED_ROWS, BATCH_ONE)
_SAME_DB = 60.0
"""Rows that change places in float32 on a CPU keep at least so much, whatever the order of its sums."""


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Name a batch, stride or profile bug of the engine where a law of rows or profiles is broken."""
    broken = broken_laws(evidence, (*_ROW_LAWS, PROFILE_CORNERS))
    if not broken:
        return ()
    is_shaky = bool(broken_laws(evidence, (SAME_FEED, FRESH_CONTEXT)))
    kept_db = _reference_kept_db(evidence)
    is_confirmed = None if kept_db is None else kept_db >= _SAME_DB
    return (
        Diagnosis(
            cause=CAUSE,
            title=_title(broken, is_confirmed),
            certainty=min(certainty_of(SHOWN, True if is_confirmed else None), FITS if is_shaky else 1.0),
            nodes=(),
            evidence=(*law_sentences(broken), *_shaky(is_shaky)),
            probe="Give the reference the rows in another order: a model that mixes rows by itself shows it there.",
            probe_result=None
            if kept_db is None
            else f"The reference's rows, put into another order: {_told(kept_db)}.",
            is_confirmed=is_confirmed,
            remedy=_remedy(is_confirmed),
        ),
    )


def _title(broken: Sequence[Invariant], is_confirmed: bool | None) -> str:
    if is_confirmed is False:
        return "The model itself mixes the rows of a batch: its answers depend on what is fed beside them."
    if all(law.name == PROFILE_CORNERS for law in broken):
        return "The engine answers wrongly, or not at all, at a corner of its optimization profile."
    return "The engine's rows depend on their place, their neighbours or the batch size: a batch or stride bug."


def _shaky(is_shaky: bool) -> tuple[str, ...]:
    return (
        ("One and the same feed is not answered equally either, which may be all there is to it.",) if is_shaky else ()
    )


def _remedy(is_confirmed: bool | None) -> str:
    if is_confirmed is False:
        return "Feed one row at a time, or find the operator that reduces over axis 0 and export it per row."
    return (
        "Build with a profile whose min, opt and max are the batch size that is used, or with a static batch; "
        "try another optimization level and another TensorRT, and report it with this feed."
    )


def _told(kept_db: float) -> str:
    return f"{decibels(kept_db)}, {'they do not mix' if kept_db >= _SAME_DB else 'they mix'}"


def _reference_kept_db(evidence: Evidence) -> float | None:
    """Return how near the reference's rows stay to themselves in another order; None where no feed has several."""
    feed = next(iter(evidence.feeds()), None)
    if feed is None or (batch_size(feed) or 0) < 2:
        return None
    order = [*range(1, batch_size(feed) or 0), 0]
    with get_backend("onnxruntime").open(evidence.model, SessionOptions()) as session:
        answer = session.run(feed)
        if no_rows(feed, answer):
            return None
        return compare_answers(session.run(take(feed, order)), take(answer, order)).sqnr_db
