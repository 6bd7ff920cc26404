"""Inputs or outputs that are bound in another order, layout or dtype than the model has them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from parity.diagnose.altered import altered_feeds
from parity.diagnose.certainty import CONFIRMED, FITS
from parity.diagnose.facts import failed_outputs, judged_tensors, sqnr_db
from parity.diagnose.trial import decibels
from parity.diagnosis import Diagnosis
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from parity.diagnose.evidence import Answers, Evidence
    from parity.results import TensorOutcome

    Tensors = Mapping[str, np.ndarray]

CAUSE = "io-dtype-or-order"
_GARBAGE_DB = 3.0
"""About as much error as signal: nothing of the answer is left."""
_FAR_DB = 20.0
"""What is nearer than this was not handed over wrongly, however alike two images are."""
_NEAR_DB = 15.0
_MARGIN_DB = 12.0
_FIRST_ROWS = 3


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Name what is bound wrongly, or that something is, where an answer is garbage from the first layer on."""
    if not any(_is_at_most(tensor, _FAR_DB) for tensor in judged_tensors(evidence, Verdict.FAIL)):
        return ()
    answers = next(iter(evidence.probes.answers()), None)
    if answers is not None:
        sentences = tuple(_exchanged(answers, failed_outputs(evidence)))
        if sentences:
            return (_outputs_exchanged(sentences),)
        match = _best_feed(evidence, answers)
        if match is not None:
            return (_input_altered(*match),)
    sentences = _garbage_from_the_start(evidence)
    return (_something(sentences),) if sentences else ()


def _is_at_most(tensor: TensorOutcome, level_db: float) -> bool:
    difference = tensor.difference
    return difference is None or bool(difference.nonfinite_mismatch_count) or difference.sqnr_db <= level_db


def _exchanged(answers: Answers, failed: tuple[str, ...]) -> Iterator[str]:
    """Yield, of each output that fails, what else of the reference it is."""
    for name in failed:
        actual, expected = answers.candidate.get(name), answers.reference.get(name)
        if actual is None or expected is None:
            continue
        own = sqnr_db(actual, expected)
        for what, other in _others(name, expected, answers):
            found = sqnr_db(actual, other)
            if _is_match(found, own):
                yield f"{name} is {what}: {decibels(found)}, where its own reference is at {decibels(own)}."
                break


def _others(name: str, expected: np.ndarray, answers: Answers) -> Iterator[tuple[str, np.ndarray]]:
    for other, array in answers.reference.items():
        if other != name:
            yield f"the reference's {other}", array
    if expected.ndim > 1 and expected.shape[1] > 1:
        yield "the reference's with its channels reversed", expected[:, ::-1]
    if expected.ndim > 1 and expected.shape[0] > 1:
        yield "the reference's with its rows moved by one", expected[[-1, *range(len(expected) - 1)]]
    if expected.ndim > 2:
        swapped = expected.swapaxes(1, -1)
        yield "the reference's with its channels last", swapped
        yield "the reference's with its channels last, read as if they were first", swapped.reshape(expected.shape)


def _is_match(found: float, own: float) -> bool:
    return found >= _NEAR_DB and (math.isnan(own) or found - own >= _MARGIN_DB)


def _best_feed(evidence: Evidence, answers: Answers) -> tuple[str, float, float] | None:
    """Return which wrong input gives what an engine gave, with the SQNR of that and of the right one.

    Not where the forecast answers as if it were fed so: it is never fed wrongly, it has lost its input on the way.
    """
    if answers.rounded is None:
        return None
    own = _worst_db(answers.candidate, answers.reference)
    forecast = _worst_db(answers.rounded, answers.reference)
    tried = [
        (what, _worst_db(answers.candidate, outputs))
        for what, outputs in altered_feeds(evidence.model, answers.feed)
        if not _is_match(_worst_db(answers.rounded, outputs), forecast)
    ]
    what, found = max(tried, key=lambda pair: pair[1], default=("", -math.inf))
    return (what, found, own) if _is_match(found, own) else None


def _worst_db(actual: Tensors, expected: Tensors) -> float:
    """Return the lowest SQNR of all outputs; minus infinity where one is missing, or says nothing."""
    levels = [sqnr_db(actual[name], array) if name in actual else -math.inf for name, array in expected.items()]
    return min((-math.inf if math.isnan(level) else level for level in levels), default=-math.inf)


def _garbage_from_the_start(evidence: Evidence) -> tuple[str, ...]:
    """Return sentences where an engine, not its precision, answers garbage as far as it was looked at."""
    failed = judged_tensors(evidence, Verdict.FAIL)
    is_engine = all(tensor.triangulation and tensor.triangulation.blames_engine for tensor in failed)
    if not (is_engine and all(_is_at_most(tensor, _GARBAGE_DB) for tensor in failed)):
        return ()
    sentences = [
        f"{tensor.output}: {decibels(tensor.difference.sqnr_db)}, where the precision alone leaves "
        f"{decibels(tensor.triangulation.conversion.sqnr_db)}."
        for tensor in failed
        if tensor.difference and tensor.triangulation
    ]
    rows = evidence.layers.rows[:_FIRST_ROWS] if evidence.layers else ()
    observed = [row for row in rows if row.observed_by != "rounded graph"]
    if any(row.inherited.sqnr_db > _GARBAGE_DB for row in observed):
        return ()
    return (*sentences, *(f"{row.layer}: {decibels(row.inherited.sqnr_db)} already there." for row in observed))


def _outputs_exchanged(sentences: tuple[str, ...]) -> Diagnosis:
    return Diagnosis(
        cause=CAUSE,
        title="Outputs come back in another order or layout than the model has them.",
        certainty=CONFIRMED,
        nodes=(),
        evidence=sentences,
        probe="Hold each output against all of the reference's, and against its own in other layouts.",
        probe_result=f"{len(sentences)} outputs are something else of the reference.",
        is_confirmed=True,
        remedy="Bind outputs by name, never by index, and read them in the shape and format that the engine tells.",
    )


def _input_altered(what: str, found: float, own: float) -> Diagnosis:
    return Diagnosis(
        cause=CAUSE,
        title=f"The engine reads its input wrongly: {what}.",
        certainty=CONFIRMED,
        nodes=(),
        evidence=(f"The reference itself says what the variant says ({decibels(found)}) when it is fed {what}.",),
        probe="Feed the reference inputs that are handed over in the usual wrong ways.",
        probe_result=f"{what}: {decibels(found)}, the right way {decibels(own)}.",
        is_confirmed=True,
        remedy="Check name, dtype, shape and contiguity of each input against the engine's own before it is bound.",
    )


def _something(sentences: tuple[str, ...]) -> Diagnosis:
    return Diagnosis(
        cause=CAUSE,
        title="The engine's answer has nothing in common with the model's, which its precision does not explain.",
        certainty=FITS,
        nodes=(),
        evidence=sentences,
        probe="Print name, dtype, shape and format of every binding, and feed one input of which the answer is known.",
        remedy=(
            "Bind inputs and outputs by name, with the dtype (half or float32), shape and layout that the engine "
            "tells, from contiguous memory."
        ),
    )
