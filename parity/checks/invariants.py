"""The ``invariants`` check: laws that hold for any sound engine and need no reference.

Equal bits are asked where the same engine answers the same feed: twice, in a fresh context, from a fresh load. Where
rows stand in another place or another batch, other kernels may run, and a stated floor is enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from parity.checks.rows import batch_size, has_dynamic_rows, no_rows, resized, take
from parity.checks.sameness import Sameness, compare_answers, floor_db
from parity.errors import BackendCrash, BackendError, BackendTimeout, FeedError
from parity.judge import elements
from parity.results import Invariant
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from parity.backends import Tensors
    from parity.backends.engine import EngineSession, Profile
    from parity.results import Outcome
    from parity.tolerance import Precision

SAME_FEED = "same feed twice"
ALL_WRITTEN = "every element written"
FRESH_CONTEXT = "fresh context"
FRESH_LOAD = "fresh load"
IDENTICAL_ROWS = "identical rows"
PERMUTED_ROWS = "permuted rows"
BATCH_ONE = "batch 1 against row k"
PROFILE_CORNERS = "profile corners"
LAWS = (
    *(SAME_FEED, ALL_WRITTEN, IDENTICAL_ROWS, PERMUTED_ROWS, BATCH_ONE),
    *(FRESH_CONTEXT, FRESH_LOAD, PROFILE_CORNERS),
)
"""In the order in which they are tried; what may break the engine for good comes last."""


_NOT_FINITE = "every answer is NaN or infinite"
_EMPTY = "every answer is empty"
_LONE_ROWS = 4
"""How many rows of a batch are run alone, evenly spread, first and last among them."""


@dataclass(frozen=True, slots=True)
class InvariantsJudgement:
    """A verdict on all laws."""

    verdict: Verdict
    headline: str
    reasons: tuple[str, ...] = ()


def check_invariants(
    session: EngineSession, feeds: Sequence[Tensors], precision: Precision, profiles: Sequence[Profile] = ()
) -> tuple[Invariant, ...]:
    """Try every law, each of them once.

    Parameters
    ----------
    feeds
        At least one. The first whose answer holds a finite element is the subject; another, if any, is run in between,
        so that a buffer which keeps its last answer shows.
    precision
        The variant's: sets the floor for rows.
    profiles
        The engine's optimization profiles in their order; empty where no input is dynamic.

    Returns
    -------
    invariants
        In the order of ``LAWS``; ``skipped`` where a law does not apply.

    Raises
    ------
    FeedError
        There is no feed, or the engine does not take the first ones.
    BackendError
        The engine failed on a feed that it had taken, or its worker died.
    """
    if not feeds:
        raise FeedError("invariants: there is no feed; give the case at least one")
    for place, feed in enumerate(feeds):
        kept = dict(session.infer(feed).outputs)
        if _shows_something(kept):
            others = (*feeds[:place], *feeds[place + 1 :])
            trial = _Trial(session, (feed, *others), kept, floor_db(precision), tuple(profiles))
            return tuple(law(trial) for law in _LAWS)
    # The last answer stands for all: none of them holds a finite element.
    reason = _NOT_FINITE if any(array.size for array in kept.values()) else _EMPTY
    return tuple(_skipped(name, reason) for name in LAWS)


def _shows_something(outputs: Tensors) -> bool:
    # What is empty, or NaN throughout, is equal to itself under every law.
    return any(np.isfinite(array).any() for array in outputs.values())


def judge_invariants(invariants: Sequence[Invariant]) -> InvariantsJudgement:
    """Judge all laws together: one that fails fails the check; where none applies, nothing is shown.

    An engine whose every answer is NaN or infinite fails: under that every law would hold.
    """
    held = [law for law in invariants if law.verdict is Verdict.PASS]
    broken = [law for law in invariants if law.verdict is Verdict.FAIL]
    skipped = len(invariants) - len(held) - len(broken)
    apart = f", {skipped} do not apply" if skipped else ""
    if broken:
        names = ", ".join(law.name for law in broken)
        reasons = tuple(f"{law.name}: {law.detail}." for law in broken)
        return InvariantsJudgement(Verdict.FAIL, f"{len(broken)} of {len(held) + len(broken)} broken: {names}", reasons)
    if not held:
        details = {law.detail for law in invariants}
        verdict = Verdict.FAIL if _NOT_FINITE in details else Verdict.INCONCLUSIVE
        headline = details.pop() if len(details) == 1 else "no law applies to this engine"
        return InvariantsJudgement(verdict, headline, tuple(f"{law.name}: {law.detail}." for law in invariants))
    return InvariantsJudgement(Verdict.PASS, f"{len(held)} hold{apart}")


def invariants_outcome(
    outcome: Outcome,
    session: EngineSession,
    feeds: Sequence[Tensors],
    *,
    precision: Precision,
    next_command: str,
    profiles: Sequence[Profile] = (),
) -> Outcome:
    """Return ``outcome`` with verdict, headline, message and invariants filled.

    Parameters
    ----------
    outcome
        Names the case, the variant and the check.
    next_command
        The last part of a failure's message.

    Raises
    ------
    FeedError, BackendError
        As ``check_invariants``.
    """
    invariants = check_invariants(session, feeds, precision, profiles)
    judgement = judge_invariants(invariants)
    place = f"in: {outcome.case} / {outcome.variant} / {outcome.check}"
    message = "\n".join([*judgement.reasons, place, f"next: {next_command}"])
    return replace(
        outcome,
        verdict=judgement.verdict,
        headline=judgement.headline,
        message="" if judgement.verdict is Verdict.PASS else message,
        invariants=invariants,
        feed_count=min(len(feeds), 2),
        engine=session.record,
    )


@dataclass(frozen=True, slots=True)
class _Trial:
    """An engine under test; ``kept`` is its answer to the first feed, which every law is held against."""

    session: EngineSession
    feeds: Sequence[Tensors]
    kept: dict[str, np.ndarray]
    floor: float
    profiles: tuple[Profile, ...]

    @property
    def feed(self) -> Tensors:
        return self.feeds[0]


def _same_feed_twice(trial: _Trial) -> Invariant:
    for other in trial.feeds[1:2]:
        trial.session.infer(other)
    return _equal(SAME_FEED, trial.kept, trial.session.infer(trial.feed).outputs)


def _every_element_written(trial: _Trial) -> Invariant:
    answer = trial.session.infer(trial.feed, find_unwritten=True)
    found = [f"{count} of {name}" for name, count in answer.unwritten.items() if count]
    if found:
        detail = f"elements kept what their buffer was filled with: {', '.join(found)}"
        return Invariant(ALL_WRITTEN, Verdict.FAIL, detail)
    return replace(_equal(ALL_WRITTEN, trial.kept, answer.outputs), name=ALL_WRITTEN)


def _fresh_context(trial: _Trial) -> Invariant:
    return _equal(FRESH_CONTEXT, trial.kept, trial.session.infer(trial.feed, fresh_context=True).outputs)


def _fresh_load(trial: _Trial) -> Invariant:
    with trial.session.reload() as session:
        return _equal(FRESH_LOAD, trial.kept, session.run(trial.feed))


def _identical_rows(trial: _Trial) -> Invariant:
    rows = _several_rows(trial)
    if rows.reason:
        return _skipped(IDENTICAL_ROWS, rows.reason)
    first = [0] * rows.count
    outputs = trial.session.infer(take(rows.feed, first)).outputs
    return _judged(IDENTICAL_ROWS, compare_answers(outputs, _row_zero(outputs, rows.count)), trial.floor)


def _permuted_rows(trial: _Trial) -> Invariant:
    rows = _several_rows(trial)
    if rows.reason:
        return _skipped(PERMUTED_ROWS, rows.reason)
    order = [*range(1, rows.count), 0]
    outputs = trial.session.infer(take(rows.feed, order)).outputs
    return _judged(PERMUTED_ROWS, compare_answers(outputs, take(rows.outputs, order)), trial.floor)


def _batch_one(trial: _Trial) -> Invariant:
    rows = _several_rows(trial)
    if rows.reason:
        return _skipped(BATCH_ONE, rows.reason)
    if not has_dynamic_rows(trial.session.inputs):
        return _skipped(BATCH_ONE, "the engine's batch size is fixed")
    total = Sameness()
    for row in sorted({round(i * (rows.count - 1) / (_LONE_ROWS - 1)) for i in range(_LONE_ROWS)}):
        try:
            alone = trial.session.infer(take(rows.feed, [row])).outputs
        except FeedError:
            return _skipped(BATCH_ONE, "no optimization profile takes a batch of 1")
        total = total.worse(compare_answers(alone, take(rows.outputs, [row])).at(f"row {row} alone"))
    return _judged(BATCH_ONE, total, trial.floor)


def _profile_corners(trial: _Trial) -> Invariant:
    if not trial.profiles:
        return _skipped(PROFILE_CORNERS, "no input is dynamic")
    total, run_count, row_count = Sameness(), 0, 0
    for label, number, feed, rows in _corners(trial):
        try:
            answer = trial.session.infer(feed, profile=number, find_unwritten=True)
        except (BackendCrash, BackendTimeout):
            # Nobody is left to ask: the variant as a whole is an error.
            raise
        except (FeedError, BackendError) as error:
            return Invariant(PROFILE_CORNERS, Verdict.FAIL, f"{label} does not run: {error}")
        if any(answer.unwritten.values()):
            return Invariant(PROFILE_CORNERS, Verdict.FAIL, f"{label} leaves elements unwritten")
        run_count += 1
        if rows is not None and not no_rows(feed, answer.outputs) and not no_rows(trial.feed, trial.kept):
            found = compare_answers(answer.outputs, take(trial.kept, rows))
            total = total.worse(found.at(label))
            row_count += 1
    ran = f"{run_count} corners of {len(trial.profiles)} profiles ran, rows of {row_count} compared"
    return _judged(PROFILE_CORNERS, total, trial.floor, ran)


def _corners(trial: _Trial) -> Iterator[tuple[str, int, dict[str, np.ndarray], list[int] | None]]:
    for number, profile in enumerate(trial.profiles):
        for corner in ("min", "opt", "max"):
            shapes = {name: getattr(shape, corner) for name, shape in profile.items()}
            yield f"profile {number}, {corner}", number, *resized(trial.feed, shapes)


_LAWS: tuple[Callable[[_Trial], Invariant], ...] = (
    *(_same_feed_twice, _every_element_written, _identical_rows, _permuted_rows, _batch_one),
    *(_fresh_context, _fresh_load, _profile_corners),
)


@dataclass(frozen=True, slots=True)
class _Rows:
    """A feed of two rows or more with its answer, or the reason why there is none."""

    feed: Tensors
    outputs: Tensors
    reason: str = ""

    @property
    def count(self) -> int:
        return batch_size(self.feed) or 0


def _several_rows(trial: _Trial) -> _Rows:
    rows = _Rows(trial.feed, trial.kept, no_rows(trial.feed, trial.kept))
    if rows.reason or rows.count > 1:
        return rows
    if not has_dynamic_rows(trial.session.inputs):
        return replace(rows, reason="the engine takes one row at a time")
    feed = _two_rows(trial.feeds)
    try:
        outputs = trial.session.infer(feed).outputs
    except FeedError:
        return replace(rows, reason="no optimization profile takes two rows")
    return _Rows(feed, outputs, no_rows(feed, outputs))


def _two_rows(feeds: Sequence[Tensors]) -> dict[str, np.ndarray]:
    second = feeds[min(1, len(feeds) - 1)]
    if any(array.shape[1:] != second[name].shape[1:] for name, array in feeds[0].items()):
        # Two copies of one row still show whether the second place answers as the first.
        second = feeds[0]
    return {name: np.concatenate([array[:1], second[name][:1]]) for name, array in feeds[0].items()}


def _row_zero(outputs: Tensors, count: int) -> dict[str, np.ndarray]:
    # As many rows as were given, whatever came back: a lost row is a difference in shape.
    return {name: np.repeat(array[:1], count, axis=0) for name, array in outputs.items()}


def _skipped(name: str, reason: str) -> Invariant:
    return Invariant(name, Verdict.SKIPPED, reason)


def _equal(name: str, expected: Tensors, actual: Tensors) -> Invariant:
    found = compare_answers(actual, expected)
    is_equal = not found.problem and not found.differing
    detail = "equal bit for bit" if is_equal else found.problem or f"{elements(found.differing)} differ, {found.where}"
    verdict = Verdict.PASS if is_equal else Verdict.FAIL
    return Invariant(name, verdict, detail, found.max_absolute, found.sqnr_db)


def _judged(name: str, found: Sameness, floor: float, subject: str = "") -> Invariant:
    parts = [subject, found.problem or _nearness(found, floor)]
    verdict = Verdict.FAIL if found.problem or found.sqnr_db < floor else Verdict.PASS
    detail = ": ".join(part for part in parts if part)
    return Invariant(name, verdict, detail, found.max_absolute, found.sqnr_db, floor)


def _nearness(found: Sameness, floor: float) -> str:
    if not found.differing:
        return "equal bit for bit"
    level = f"{found.sqnr_db:.1f} dB" if math.isfinite(found.sqnr_db) else "no signal"
    word = "below" if found.sqnr_db < floor else "above"
    return f"{elements(found.differing)} differ, {level} {word} the floor of {floor:.1f} dB, {found.where}"
