"""One pass over answers for several checks: each looks at every feed, and one that gives up leaves the others."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from parity.errors import BackendCrash, DecodeError, RunError, StructureError
from parity.results import Outcome
from parity.runner.observers import Answer, observe
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity.runner.observers import Judged
    from parity.runner.reference import StoredFeed


class Watcher:
    """Notes the feeds that it sees; gives up at one of them, or at the end."""

    def __init__(self, *, gives_up_at: object = None, error: Exception | None = None) -> None:
        self.seen: list[int] = []
        self._at = gives_up_at
        self._error = error or DecodeError("does not decode")

    def update(self, feed: StoredFeed, answer: Answer) -> None:
        assert answer == Answer({})
        self.seen.append(feed.number)
        if feed.number == self._at:
            raise self._error

    def judged(self, blank: Outcome) -> Judged:
        if self._at == "end":
            raise self._error
        return replace(blank, verdict=Verdict.PASS), 7


def blank(check: str) -> Outcome:
    return Outcome("case", "fp16@fake", "fp16", check, Verdict.ERROR, "")


def answers(
    count: int, *, crash_at: int | None = None, asked: list[int] | None = None
) -> Iterator[tuple[object, Answer]]:
    for number in range(count):
        if asked is not None:
            asked.append(number)
        if number == crash_at:
            raise BackendCrash("its process died")
        yield SimpleNamespace(number=number), Answer({})


def outcomes(source: Iterator[tuple[object, Answer]], **observers: Watcher) -> dict[str, Outcome]:
    judged = observe(source, observers, {check: blank(check) for check in observers})
    return {outcome.check: outcome for outcome, _ in judged}


def test_every_check_sees_every_feed_and_is_told_in_order() -> None:
    first, second = Watcher(), Watcher()
    found = outcomes(answers(3), outputs=first, decoded=second)
    assert (first.seen, second.seen) == ([0, 1, 2], [0, 1, 2])
    assert [(check, outcome.verdict) for check, outcome in found.items()] == [
        ("outputs", Verdict.PASS),
        ("decoded", Verdict.PASS),
    ]


@pytest.mark.parametrize("at", [1, "end"])
def test_a_check_that_gives_up_is_an_error_and_the_other_goes_on(at: object) -> None:
    first, second = Watcher(), Watcher(gives_up_at=at)
    found = outcomes(answers(3), outputs=first, decoded=second)
    assert first.seen == [0, 1, 2]
    assert second.seen == ([0, 1] if at == 1 else [0, 1, 2])
    assert (found["outputs"].verdict, found["decoded"].verdict) == (Verdict.PASS, Verdict.ERROR)
    assert found["decoded"].headline == "does not decode"


def test_nobody_is_asked_for_more_where_all_checks_gave_up() -> None:
    asked: list[int] = []
    both = Watcher(gives_up_at=0), Watcher(gives_up_at=1, error=StructureError("no plain numbers"))
    found = outcomes(answers(5, asked=asked), outputs=both[0], decoded=both[1])
    assert asked == [0, 1]
    assert {outcome.verdict for outcome in found.values()} == {Verdict.ERROR}


def test_a_candidate_that_stops_answering_costs_all_checks_and_is_told_once() -> None:
    found = outcomes(answers(3, crash_at=1), outputs=Watcher(), decoded=Watcher())
    assert found["outputs"].headline == "its process died"
    assert found["decoded"].headline == "not judged, because outputs could not be"
    assert {outcome.verdict for outcome in found.values()} == {Verdict.ERROR}


@pytest.mark.parametrize("at", [1, "end"])
def test_no_space_left_ends_everything(at: object) -> None:
    with pytest.raises(RunError, match="no space"):
        outcomes(answers(3), outputs=Watcher(), decoded=Watcher(gives_up_at=at, error=RunError("no space")))


def test_an_outcome_that_is_done_stands_where_the_next_one_breaks() -> None:
    judged = observe(
        answers(1),
        {"outputs": Watcher(), "decoded": Watcher(gives_up_at="end", error=ZeroDivisionError("oops"))},
        {"outputs": blank("outputs"), "decoded": blank("decoded")},
    )
    assert next(judged)[0].verdict is Verdict.PASS
    with pytest.raises(ZeroDivisionError):
        next(judged)
