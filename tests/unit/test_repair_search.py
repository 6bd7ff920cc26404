"""The search for a set of nodes to keep, against brute force, on predicates that obey no law at all."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.repair.search import Budget, Ending, Kept, SearchProgress, SearchResult, Trial, search
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAMES = "abcdefgh"


def trial(passes: bool, severity: float = 2.0) -> Trial:
    return Trial(Verdict.PASS if passes else Verdict.FAIL, severity)


def every_set(names: Sequence[str]) -> list[Kept]:
    return [frozenset(chosen) for count in range(len(names) + 1) for chosen in combinations(names, count)]


def ones(names: Sequence[str]) -> list[Kept]:
    return [frozenset(name) for name in names]


def needing(*wanted: str) -> Callable[[Kept], Trial]:
    """Return a predicate that sets pass which hold all of some nodes."""
    return lambda kept: trial(kept >= set(wanted), severity=float(len(set(wanted) - kept)))


@st.composite
def universes(draw: st.DrawFn) -> tuple[list[Kept], dict[Kept, Trial]]:
    """Draw units of up to 5 nodes, and for each set whether it passes and how severe it is: no monotonicity."""
    names = NAMES[: draw(st.integers(1, 5))]
    order = draw(st.permutations(names))
    cuts = sorted(draw(st.sets(st.integers(1, len(names) - 1)))) if len(names) > 1 else []
    units = [frozenset(order[a:b]) for a, b in zip([0, *cuts], [*cuts, len(names)], strict=True)]
    likely = draw(st.sampled_from([0.05, 0.3, 0.7]))
    truth = {
        kept: trial(draw(st.floats(0, 1)) < likely, draw(st.sampled_from([0.1, 0.9, 3.0, math.inf])))
        for kept in every_set(names)
    }
    return units, truth


def one_less(kept: Kept) -> list[Kept]:
    return [kept - {name} for name in kept]


@given(universes())
def test_what_is_found_passes_and_no_node_can_be_dropped(universe: tuple[list[Kept], dict[Kept, Trial]]) -> None:
    units, truth = universe
    result = search(units, truth.__getitem__)
    if result.found is None:
        assert result.ending is Ending.NOT_FOUND
        assert not truth[frozenset()].passes
        assert not truth[frozenset().union(*units)].passes
        assert not result.is_exhaustive or not any(one.passes for one in truth.values())
        return
    assert truth[result.found.kept].passes
    assert result.is_minimal
    assert not any(truth[less].passes for less in one_less(result.found.kept))


@given(universes(), st.integers(0, 8))
def test_an_ended_budget_never_claims_what_was_not_tried(
    universe: tuple[list[Kept], dict[Kept, Trial]], most: int
) -> None:
    units, truth = universe
    asked: list[Kept] = []

    def remember(kept: Kept) -> Trial:
        asked.append(kept)
        return truth[kept]

    result = search(units, remember, Budget(tries=most))
    assert result.tries == len(asked) <= most
    if result.is_minimal:
        assert result.found is not None
        assert set(one_less(result.found.kept)) <= set(asked)
    if result.ending is Ending.BUDGET:
        assert result.found is None
        assert not any(truth[kept].passes for kept in asked)


@given(universes())
def test_no_set_is_tried_twice_and_the_front_is_what_nothing_tried_beats(
    universe: tuple[list[Kept], dict[Kept, Trial]],
) -> None:
    units, truth = universe
    asked: list[Kept] = []

    def remember(kept: Kept) -> Trial:
        asked.append(kept)
        return truth[kept]

    result = search(units, remember)
    assert len(asked) == len(set(asked)) == result.tries

    def rank(kept: Kept) -> tuple[bool, float]:
        return not truth[kept].passes, truth[kept].severity

    def beats(one: Kept, other: Kept) -> bool:
        no_worse = len(one) <= len(other) and rank(one) <= rank(other)
        return no_worse and (len(one) < len(other) or rank(one) < rank(other))

    for tried in result.front:
        assert not any(beats(one, tried.kept) for one in asked)
    assert [len(tried.kept) for tried in result.front] == sorted({len(tried.kept) for tried in result.front})


@given(st.sets(st.sampled_from(NAMES), min_size=1), st.permutations(NAMES))
def test_of_a_lawful_predicate_the_needed_nodes_are_found_and_nothing_else(wanted: set[str], order: list[str]) -> None:
    result = search(ones(order), needing(*wanted))
    assert result.found is not None
    assert (result.found.kept, result.is_minimal) == (frozenset(wanted), True)


def test_a_good_ranking_needs_few_tries_among_many_nodes() -> None:
    names = [f"node_{number}" for number in range(1000)]
    units = [frozenset({name}) for name in names]
    assert search(units, needing("node_0", "node_1")).tries <= 8
    assert search(units, needing("node_3", "node_700")).tries <= 80


def test_a_unit_is_grown_as_one_and_dropped_node_by_node() -> None:
    units = [frozenset("ab"), frozenset("cd"), frozenset("ef")]
    result = search(units, needing("c", "d", "f"))
    assert result.found is not None
    assert result.found.kept == frozenset("cdf")


def test_where_the_empty_set_passes_nothing_else_is_tried() -> None:
    result = search(ones("abc"), needing())
    assert (result.ending, result.tries, result.is_minimal) == (Ending.NOTHING_TO_MEND, 1, True)


def test_where_nothing_helps_it_says_so() -> None:
    result = search(ones("ab"), lambda _: trial(passes=False))
    assert (result.ending, result.found, result.is_exhaustive) == (Ending.NOT_FOUND, None, True)
    assert not search(ones(NAMES), lambda _: trial(passes=False)).is_exhaustive


def test_what_no_precision_mends_is_told_after_few_tries_however_many_nodes_there_are() -> None:
    units = [frozenset({f"node_{number}"}) for number in range(1000)]
    result = search(units, lambda _: trial(passes=False))
    assert (result.ending, result.tries) == (Ending.NOT_FOUND, 13)


def test_a_universe_without_nodes_is_tried_once() -> None:
    result = search([], lambda _: trial(passes=False))
    assert (result.ending, result.tries, result.is_exhaustive) == (Ending.NOT_FOUND, 1, True)


def test_a_node_that_spoils_every_set_that_holds_it_is_left_out() -> None:
    result = search(ones("abcd"), lambda kept: trial(kept >= {"b", "d"} and "c" not in kept))
    assert result.found is not None
    assert result.found.kept == {"b", "d"}


def test_what_is_known_beforehand_costs_no_try() -> None:
    known = {frozenset[str](): trial(passes=False), frozenset("a"): trial(passes=False)}
    result = search(ones("ab"), needing("b"), known=known)
    assert result.found is not None
    assert result.tries == 2


def test_time_ends_a_search_and_what_was_found_stays() -> None:
    now = iter(range(1000))
    result = search(ones(NAMES), needing("a", "h"), Budget(seconds=16.0), clock=lambda: float(next(now)))
    assert result.ending is Ending.MENDED
    assert not result.is_minimal
    assert result.found is not None
    assert result.found.trial.passes


def test_progress_tells_tries_the_best_set_and_the_time_left() -> None:
    told: list[SearchProgress] = []
    result: SearchResult = search(
        ones("abc"), needing("c"), Budget(tries=50, seconds=9.0), told=told.append, clock=lambda: 0.0
    )
    assert [one.tries for one in told] == list(range(1, result.tries + 1))
    assert told[0] == SearchProgress(1, 50, None, 9.0)
    assert told[-1].best == 1


@pytest.mark.parametrize("severity", [math.nan, math.inf])
def test_a_severity_that_is_no_number_is_the_worst(severity: float) -> None:
    result = search(ones("ab"), lambda kept: trial(passes=len(kept) == 2, severity=severity if len(kept) < 2 else 0.5))
    assert [len(tried.kept) for tried in result.front] == [0, 2]
