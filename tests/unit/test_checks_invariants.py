"""Laws that need no reference: a sound engine keeps all of them, each planted fault breaks the law that it should."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from parity.backends.engine import EngineAnswer
from parity.build_options import ShapeProfile
from parity.checks import invariants as laws
from parity.checks.invariants import LAWS, check_invariants, invariants_outcome, judge_invariants
from parity.checks.rows import resized
from parity.checks.sameness import ALLOWANCE_DB, compare_answers, floor_db
from parity.errors import BackendCrash, BackendError, FeedError
from parity.results import Outcome
from parity.tolerance import NOISE_FLOOR_DB, Precision
from parity.verdict import Verdict
from tests.engine_fakes import FakeEngine, sound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parity.results import Invariant

PROFILES = ({"x": ShapeProfile((1, 5), (4, 5), (8, 5))},)
BLANK = Outcome("shapes", "fp16@tensorrt-8.6", "fp16", "invariants", Verdict.ERROR, "")


def feeds(rows: int = 4, count: int = 2) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(3)
    return [{"x": generator.normal(size=(rows, 5)).astype(np.float32)} for _ in range(count)]


def tried(engine: FakeEngine, rows: int = 4, profiles=PROFILES) -> dict[str, Invariant]:
    return {law.name: law for law in check_invariants(engine, feeds(rows), Precision.FP16, profiles)}


def broken_laws(engine: FakeEngine, rows: int = 4) -> set[str]:
    return {name for name, law in tried(engine, rows).items() if law.verdict is Verdict.FAIL}


class Restless(FakeEngine):
    """Every answer is a little different."""

    def broken(self, answer, _call):
        return EngineAnswer({**answer.outputs, "y": answer.outputs["y"] + np.float32(1e-6 * self.calls)})


class Stale(FakeEngine):
    """Answers with the outputs of the feed before."""

    def broken(self, _answer, call):
        before = self.seen[-2] if len(self.seen) > 1 and len(self.seen[-2]["x"]) == len(call.feed["x"]) else call.feed
        return EngineAnswer(sound(before))


class Unwritten(FakeEngine):
    """Leaves two elements as they were."""

    def broken(self, answer, call):
        return replace(answer, unwritten={"y": 2, "best": 0} if call.find_unwritten else {})


class WrongFreshContext(FakeEngine):
    def broken(self, answer, call):
        return EngineAnswer({**answer.outputs, "y": answer.outputs["y"] + call.fresh_context})


class WrongFreshLoad(FakeEngine):
    def broken(self, answer, _call):
        return EngineAnswer({**answer.outputs, "y": answer.outputs["y"] + self.is_fresh_load})


class WrongPlace(FakeEngine):
    """The second place of every batch is computed with another weight."""

    def broken(self, answer, _call):
        outputs = dict(answer.outputs)
        outputs["y"][1:2] *= 1.5
        return EngineAnswer(outputs)


class WrongNan(FakeEngine):
    """The second place of every batch holds a NaN."""

    def broken(self, answer, _call):
        answer.outputs["y"][1:2, 0] = np.nan
        return answer


class Leaky(FakeEngine):
    """A row depends on its neighbours."""

    def broken(self, answer, call):
        return EngineAnswer({**answer.outputs, "y": answer.outputs["y"] + call.feed["x"][:1]})


class WrongAtEight(FakeEngine):
    """A batch of eight meets a broken kernel."""

    def broken(self, answer, call):
        if len(call.feed["x"]) == 8:
            answer.outputs["y"][7] = 0
        return answer


class UnwrittenAtEight(FakeEngine):
    def broken(self, answer, call):
        return replace(answer, unwritten={"y": int(call.find_unwritten and len(call.feed["x"]) == 8)})


class FailsAtEight(FakeEngine):
    def broken(self, answer, call):
        if len(call.feed["x"]) == 8:
            raise BackendError("enqueue failed")
        return answer


class CrashesAtEight(FakeEngine):
    def broken(self, answer, call):
        if len(call.feed["x"]) == 8:
            raise BackendCrash("the worker died")
        return answer


class Rounding(FakeEngine):
    """Another batch size meets a kernel that rounds otherwise: within what half allows."""

    def broken(self, answer, call):
        return EngineAnswer({**answer.outputs, "y": answer.outputs["y"] * np.float32(1 + 1e-4 * len(call.feed["x"]))})


def test_a_sound_engine_keeps_every_law_bit_for_bit() -> None:
    found = tried(FakeEngine())
    assert list(found) == list(LAWS)
    assert {law.verdict for law in found.values()} == {Verdict.PASS}
    assert all(law.sqnr_db in (None, np.inf) for law in found.values())


def test_where_bits_are_asked_no_floor_is_told_and_elsewhere_it_is() -> None:
    floors = {name: law.floor_db for name, law in tried(FakeEngine()).items()}
    exact = {laws.SAME_FEED, laws.ALL_WRITTEN, laws.FRESH_CONTEXT, laws.FRESH_LOAD}
    assert {name for name, floor in floors.items() if floor is None} == exact
    assert set(floors.values()) == {None, floor_db(Precision.FP16)}


@pytest.mark.parametrize(
    ("engine", "law"),
    [
        (Restless, laws.SAME_FEED),
        (Stale, laws.SAME_FEED),
        (Unwritten, laws.ALL_WRITTEN),
        (WrongFreshContext, laws.FRESH_CONTEXT),
        (WrongFreshLoad, laws.FRESH_LOAD),
        (WrongPlace, laws.IDENTICAL_ROWS),
        (WrongPlace, laws.PERMUTED_ROWS),
        (WrongNan, laws.IDENTICAL_ROWS),
        (WrongNan, laws.BATCH_ONE),
        (Leaky, laws.PERMUTED_ROWS),
        (Leaky, laws.BATCH_ONE),
        (WrongAtEight, laws.PROFILE_CORNERS),
        (FailsAtEight, laws.PROFILE_CORNERS),
        (UnwrittenAtEight, laws.PROFILE_CORNERS),
    ],
)
def test_a_planted_fault_breaks_its_law(engine: type[FakeEngine], law: str) -> None:
    assert law in broken_laws(engine())


@pytest.mark.parametrize("engine", [WrongFreshContext, WrongFreshLoad, WrongAtEight, FailsAtEight, UnwrittenAtEight])
def test_a_fault_of_one_thing_breaks_one_law(engine: type[FakeEngine]) -> None:
    assert len(broken_laws(engine())) == 1


def test_a_fault_in_the_second_place_is_found_on_feeds_of_one_row() -> None:
    assert {laws.IDENTICAL_ROWS, laws.PERMUTED_ROWS, laws.BATCH_ONE} <= broken_laws(WrongPlace(), rows=1)


def test_rounding_by_another_kernel_is_above_the_floor_and_told() -> None:
    found = tried(Rounding())
    assert {law.verdict for law in found.values()} == {Verdict.PASS}
    assert "above the floor of 43.7 dB" in found[laws.BATCH_ONE].detail
    assert 43.7 < found[laws.BATCH_ONE].sqnr_db < np.inf


def test_one_wrong_row_among_many_is_not_averaged_away() -> None:
    rows = np.random.default_rng(1).normal(size=(4096, 5)).astype(np.float32)
    wrong = rows.copy()
    wrong[77] = -wrong[77]
    found = compare_answers({"y": wrong}, {"y": rows})
    assert found.where == "y, row 77"
    assert found.sqnr_db < floor_db(Precision.FP8)


def test_answers_that_are_all_empty_keep_no_law() -> None:
    empty = FakeEngine(function=lambda feed: {"y": feed["x"][:, :0], "best": np.zeros((len(feed["x"]), 0), np.int64)})
    found = tried(empty)
    assert {law.verdict for law in found.values()} == {Verdict.SKIPPED}
    judged = judge_invariants(tuple(found.values()))
    assert (judged.verdict, judged.headline) == (Verdict.INCONCLUSIVE, "every answer is empty")


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_an_engine_that_never_answers_with_a_finite_number_fails_though_equal_to_itself(value: float) -> None:
    found = tried(FakeEngine(function=lambda feed: {"y": np.full_like(feed["x"], value)}))
    assert {law.verdict for law in found.values()} == {Verdict.SKIPPED}
    judged = judge_invariants(tuple(found.values()))
    assert (judged.verdict, judged.headline) == (Verdict.FAIL, "every answer is NaN or infinite")
    assert judged.reasons[0] == "same feed twice: every answer is NaN or infinite."


def test_a_feed_without_an_answer_leaves_the_laws_to_the_next_one() -> None:
    first, second = feeds(4)[:2]
    silent = {"x": np.zeros_like(first["x"])}

    def answer(feed):
        return {"y": feed["x"] if feed["x"].any() else feed["x"] * np.float32(np.nan)}

    laws_held = check_invariants(FakeEngine(function=answer), (silent, second), Precision.FP16, ())
    assert Verdict.PASS in {law.verdict for law in laws_held}
    assert Verdict.FAIL not in {law.verdict for law in laws_held}


def test_what_fills_masked_places_hides_no_wrong_row() -> None:
    rows = np.random.default_rng(3).standard_normal((8, 100)).astype(np.float32)
    rows[:, -5:] = np.finfo(np.float32).min
    found = compare_answers({"y": np.roll(rows, 1, axis=0)}, {"y": rows})
    assert found.sqnr_db < floor_db(Precision.FP8)


def test_a_crash_is_no_broken_law_but_an_error_of_the_variant() -> None:
    with pytest.raises(BackendCrash):
        tried(CrashesAtEight())


def test_a_fixed_batch_is_no_reason_to_fail_and_says_why_laws_were_left_out() -> None:
    found = tried(FakeEngine(sizes=range(4, 5), is_dynamic=False), profiles=())
    assert found[laws.BATCH_ONE].verdict is Verdict.SKIPPED
    assert found[laws.BATCH_ONE].detail == "the engine's batch size is fixed"
    assert found[laws.PROFILE_CORNERS].detail == "no input is dynamic"
    assert found[laws.PERMUTED_ROWS].verdict is Verdict.PASS


def test_a_fixed_batch_of_one_has_no_rows() -> None:
    found = tried(FakeEngine(sizes=range(1, 2), is_dynamic=False), rows=1, profiles=())
    for name in (laws.IDENTICAL_ROWS, laws.PERMUTED_ROWS, laws.BATCH_ONE):
        assert (found[name].verdict, found[name].detail) == (Verdict.SKIPPED, "the engine takes one row at a time")


def test_profiles_without_a_batch_of_one_leave_that_law_out() -> None:
    found = tried(FakeEngine(sizes=range(4, 9)), profiles=())
    assert found[laws.BATCH_ONE].detail == "no optimization profile takes a batch of 1"


def test_outputs_without_a_batch_axis_have_no_rows() -> None:
    found = tried(FakeEngine(function=lambda feed: {"sum": feed["x"].sum(axis=0)}))
    assert found[laws.PERMUTED_ROWS].verdict is Verdict.SKIPPED
    assert "the outputs have no batch axis of 4" in found[laws.PERMUTED_ROWS].detail
    assert found[laws.SAME_FEED].verdict is Verdict.PASS


def test_outputs_that_lose_their_batch_axis_with_more_rows_have_no_rows() -> None:
    found = tried(FakeEngine(function=lambda feed: {"sum": feed["x"].sum(axis=0, keepdims=True)}), rows=1)
    assert found[laws.PERMUTED_ROWS].verdict is Verdict.SKIPPED


def test_an_axis_that_is_no_batch_runs_in_every_corner_without_rows_to_compare() -> None:
    wide = ({"x": ShapeProfile((1, 5), (4, 6), (8, 7))},)
    assert (
        "3 corners of 1 profiles ran, rows of 1 compared"
        in tried(FakeEngine(), profiles=wide)["profile corners"].detail
    )


def test_the_fresh_load_is_closed() -> None:
    engine, opened = FakeEngine(), []
    engine.reload = lambda: opened.append(FakeEngine(is_fresh_load=True)) or opened[-1]
    tried(engine)
    assert [load.closed for load in opened] == [1]


def test_without_a_feed_nothing_is_claimed() -> None:
    with pytest.raises(FeedError, match="there is no feed"):
        check_invariants(FakeEngine(), [], Precision.FP16)


def test_where_no_law_applies_the_verdict_is_inconclusive() -> None:
    skipped = [replace(law, verdict=Verdict.SKIPPED) for law in tried(FakeEngine()).values()]
    assert judge_invariants(skipped).verdict is Verdict.INCONCLUSIVE
    assert judge_invariants([]).verdict is Verdict.INCONCLUSIVE


def test_the_outcome_of_a_sound_engine_says_how_many_laws_hold() -> None:
    outcome = invariants_outcome(BLANK, FakeEngine(), feeds(), precision=Precision.FP16, next_command="parity run")
    assert (outcome.verdict, outcome.headline, outcome.message) == (Verdict.PASS, "7 hold, 1 do not apply", "")
    assert [law.name for law in outcome.invariants] == list(LAWS)
    assert outcome.engine is not None


def test_the_outcome_of_a_faulty_engine_tells_law_place_and_next_command() -> None:
    outcome = invariants_outcome(
        BLANK, WrongFreshLoad(), feeds(), precision=Precision.FP16, next_command="parity run x", profiles=PROFILES
    )
    assert outcome.verdict is Verdict.FAIL
    assert outcome.headline == "1 of 8 broken: fresh load"
    what, place, command = outcome.message.splitlines()
    assert what.startswith("fresh load: 20 elements differ, y, row ")
    assert (place, command) == ("in: shapes / fp16@tensorrt-8.6 / invariants", "next: parity run x")


@pytest.mark.parametrize("precision", Precision)
def test_every_precision_has_a_floor_that_a_wrong_answer_misses(precision: Precision) -> None:
    # Another image's answer has about the signal's own power as error: -3 dB.
    assert 6 < floor_db(precision) < NOISE_FLOOR_DB[precision]
    assert set(ALLOWANCE_DB) == set(Precision)


ARRAYS = hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), elements=st.floats(width=32))


@given(ARRAYS)
def test_an_answer_equals_itself_whatever_it_holds(array: np.ndarray) -> None:
    found = compare_answers({"y": array.copy()}, {"y": array})
    assert (found.problem, found.differing, found.sqnr_db) == ("", 0, np.inf)


@given(ARRAYS, st.data())
def test_one_changed_bit_is_always_found(array: np.ndarray, data: st.DataObject) -> None:
    changed = array.copy()
    flat = changed.reshape(-1).view(np.uint32)
    flat[data.draw(st.integers(0, flat.size - 1))] ^= np.uint32(1 << data.draw(st.integers(0, 31)))
    assert compare_answers({"y": changed}, {"y": array}).differing == 1


def test_nan_on_both_sides_is_equal_and_on_one_side_a_problem() -> None:
    nan = np.array([1.0, np.nan], np.float32)
    assert compare_answers({"y": nan}, {"y": nan.copy()}).differing == 0
    assert "1 elements are NaN" in compare_answers({"y": nan}, {"y": np.ones(2, np.float32)}).problem


@given(st.integers(1, 5), st.integers(1, 12))
def test_a_feed_in_another_batch_size_repeats_rows_in_order(rows: int, wanted: int) -> None:
    feed: Mapping[str, np.ndarray] = {"x": np.arange(rows * 2.0).reshape(rows, 2)}
    made, numbers = resized(feed, {"x": (wanted, 2)})
    assert numbers == [i % rows for i in range(wanted)]
    np.testing.assert_array_equal(made["x"], feed["x"][numbers])
