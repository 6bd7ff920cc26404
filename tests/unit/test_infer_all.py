"""Many feeds through a live worker, two batches under way: what comes back, and what it costs when something breaks."""

from __future__ import annotations

import gc
import os
import signal
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from parity.backends.tensorrt import batching
from parity.backends.tensorrt.cache_key import hash_file
from parity.backends.tensorrt.interpreter import parse_interpreter
from parity.backends.tensorrt.link import Link
from parity.backends.tensorrt.process import LiveConversation
from parity.backends.tensorrt.session import PlanFile, TensorRTSession
from parity.errors import BackendCrash, BackendError, BackendTimeout, FeedError
from parity.results import EngineRecord
from tests.conversations import is_gone, wait_until
from tests.tiny_cases import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Feed = dict[str, np.ndarray]

STAND_IN = {"stand_in.py": Path(ROOT, "tests", "stand_in_worker.py").read_bytes()}
CRASHES, HANGS, FAILS, LOSES = -1.0, -2.0, -3.0, -4.0
LIMIT_S = 120.0


class Live:
    """A live worker with toy engines, and sessions on it."""

    def __init__(self, folder: Path, *, mapped: bool = True) -> None:
        me = parse_interpreter(sys.executable)
        self.conversation = LiveConversation(
            me, handlers="parity_worker.stand_in", extra_sources=STAND_IN, mapped=mapped
        )
        self.link = Link(self.conversation)
        self._folder = folder

    def session(self, toy: str = "twice", timeout_s: float = LIMIT_S) -> TensorRTSession:
        plan = self._folder / toy
        plan.write_text(toy, encoding="utf-8")
        return TensorRTSession(self.link, PlanFile(plan, 0, {}, EngineRecord(hash_file(plan), 5, "file")), timeout_s)

    def counted(self) -> dict[str, Any]:
        return self.conversation.ask("counted", {}, LIMIT_S)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One worker for test after test; where one has ended it, the next request starts another."""
    made = Live(tmp_path_factory.mktemp("live"))
    yield made
    made.link.close()


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[Live]:
    """A worker of a test's own, which has counted nothing yet."""
    made = Live(tmp_path)
    yield made
    made.link.close()


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "FEED_LIMIT", 4)
    # The worker imports its stand-ins.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def feeds_of(*firsts: float, rows: int = 2) -> list[Feed]:
    """Return feeds (rows, 4) that begin with these numbers; the others go on from 100."""
    made = []
    for first in firsts:
        array = np.arange(100, 100 + rows * 4, dtype=np.float32).reshape(rows, 4)
        array[0, 0] = first
        made.append({"x": array})
    return made


def outputs_of(answers: Iterable[Any]) -> list[np.ndarray]:
    return [answer.outputs["y"] for answer in answers]


def require_twice(answers: Iterable[Any], feeds: list[Feed]) -> None:
    for output, feed in zip(outputs_of(answers), feeds, strict=True):
        np.testing.assert_array_equal(output, feed["x"] * 2)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 6, 40])
def test_each_feed_gets_its_own_answer_in_order(live: Live, count: int) -> None:
    feeds = feeds_of(*range(count))
    with live.session() as session:
        require_twice(session.infer_all(iter(feeds)), feeds)


def test_a_batch_is_one_message_and_its_memory_is_registered(counting: Live) -> None:
    with counting.session() as session:
        answers = list(session.infer_all(feeds_of(*range(1 + 4 * 5))))
        told = counting.counted()
    assert (told["asked"]["infer"], told["asked"]["infer_many"], told["runs"]) == (1, 6, 21)
    assert told["locks"] >= 2
    assert all(answer.gpu_ms == 0.25 and answer.unwritten == {} for answer in answers)


@pytest.mark.parametrize("mapped", [True, False], ids=["local", "elsewhere"])
@pytest.mark.parametrize("toy", ["twice", "found"])
def test_answers_are_bit_for_bit_those_of_single_requests(tmp_path: Path, toy: str, mapped: bool) -> None:
    live, generator = Live(tmp_path, mapped=mapped), np.random.default_rng(7)
    rows = [2] * 30 if toy == "found" else [2, 2, 2, 8, 8, 1, 2, 2, 2, 2, 2, 2, 2, 5, 4, 4, 4]
    feeds = [{"x": generator.standard_normal((count, 4)).astype(np.float32)} for count in rows]
    with live.session(toy) as session:
        alone = outputs_of(map(session.infer, feeds))
        together = outputs_of(session.infer_all(feeds))
        assert live.counted()["asked"].get("infer_many", 0) == (0 if not mapped else 8 if toy == "found" else 7)
    live.link.close()
    assert [(a.dtype, a.shape, a.tobytes()) for a in together] == [(a.dtype, a.shape, a.tobytes()) for a in alone]
    assert all(array.flags.writeable for array in together)
    assert all(array.base.nbytes == array.nbytes for array in together), "an answer that is kept keeps no other"


def test_feeds_are_taken_two_batches_ahead_and_no_further(live: Live) -> None:
    taken = 0

    def counting() -> Iterator[Feed]:
        nonlocal taken
        for feed in feeds_of(*range(40)):
            taken += 1
            yield feed

    with live.session() as session:
        answers = session.infer_all(counting())
        next(answers)
        assert taken == 1
        next(answers)
        assert taken == 1 + 2 + 4 + 1


def test_an_engine_that_takes_long_is_given_few_feeds_at_a_time(
    counting: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "TIME_LIMIT_MS", 0.6)
    with counting.session() as session:
        require_twice(session.infer_all(feeds_of(*range(9))), feeds_of(*range(9)))
        assert counting.counted()["asked"]["infer_many"] == 4


def test_other_requests_may_be_made_between_two_answers(live: Live) -> None:
    feeds = feeds_of(*range(30))
    with live.session() as session, live.session("found") as other:
        seen = []
        for number, answer in enumerate(session.infer_all(feeds)):
            seen.append(answer)
            if number % 3 == 1:
                assert outputs_of([other.infer(feeds_of(7)[0])])[0][0] == 7
            if number % 7 == 3:
                require_twice([session.infer(feed) for feed in feeds_of(50)], feeds_of(50))
        require_twice(seen, feeds)


def test_two_loops_take_turns(live: Live) -> None:
    feeds, others = feeds_of(*range(30)), feeds_of(*range(200, 230), rows=3)
    with live.session() as session, live.session("twice too") as other:
        pairs = list(zip(session.infer_all(feeds), other.infer_all(others), strict=True))
    require_twice([first for first, _ in pairs], feeds)
    require_twice([second for _, second in pairs], others)


def test_a_loop_that_is_left_early_leaves_nothing_to_the_next_request(live: Live) -> None:
    feeds = feeds_of(*range(30))
    with live.session() as session:
        for _ in range(3):
            require_twice(islice(session.infer_all(feeds), 3), feeds[:3])
            require_twice([session.infer(feeds[9])], feeds[9:10])
        kept = session.infer_all(feeds)
        require_twice(islice(kept, 6), feeds[:6])
        del kept
        gc.collect()
        require_twice(session.infer_all(feeds), feeds)


# --- what breaks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1, 6, 11])
def test_a_crash_costs_the_loop_and_the_engine_is_loaded_again(live: Live, place: int) -> None:
    feeds = feeds_of(*range(12))
    feeds[place]["x"][0, 0] = CRASHES
    with live.session() as session:
        answers = session.infer_all(feeds)
        with pytest.raises(BackendCrash, match=r'died with SIGSEGV while it did "infer'):
            list(answers)
        assert list(answers) == []
        require_twice(session.infer_all(feeds_of(*range(12))), feeds_of(*range(12)))
        assert "loaded once more" in session.record.notes[-1]


def test_answers_before_the_batch_that_crashed_were_given(live: Live) -> None:
    feeds = feeds_of(*range(9), CRASHES)
    seen = []
    with live.session() as session:
        with pytest.raises(BackendCrash):
            seen.extend(session.infer_all(feeds))
        assert len(seen) in {1, 3, 7}


def test_a_batch_that_hangs_is_ended_by_the_limit_of_its_feeds(live: Live) -> None:
    with live.session(timeout_s=0.6) as session:
        with pytest.raises(BackendTimeout, match=r'no answer within 1\.2 s while it did "infer"'):
            list(session.infer_all(feeds_of(0, 1, 2, HANGS, 3)))
        require_twice([session.infer(feeds_of(5)[0])], feeds_of(5))


@pytest.mark.parametrize(("what", "kind"), [(FAILS, BackendError), (LOSES, BackendCrash)])
def test_a_failure_in_the_worker_ends_the_loop_alone(live: Live, what: float, kind: type[Exception]) -> None:
    with live.session() as session:
        with pytest.raises(kind) as caught:
            list(session.infer_all(feeds_of(0, 1, 2, 3, 4, 5, what, *range(20))))
        assert type(caught.value) is kind
        require_twice(session.infer_all(feeds_of(*range(9))), feeds_of(*range(9)))


def test_a_feed_that_does_not_fit_is_refused_and_the_session_goes_on(live: Live) -> None:
    feeds = feeds_of(*range(9))
    feeds[7] = {"x": np.zeros((9, 4), np.float32)}
    with live.session() as session:
        with pytest.raises(FeedError, match="profile"):
            list(session.infer_all(feeds))
        require_twice([session.infer(feeds[3])], feeds[3:4])


def test_a_crash_that_another_request_meets_ends_the_loop_too(live: Live) -> None:
    with live.session() as session, live.session("found") as other:
        answers = session.infer_all([*feeds_of(*range(6)), *feeds_of(CRASHES), *feeds_of(*range(9))])
        require_twice(islice(answers, 2), feeds_of(0, 1))
        with pytest.raises(BackendCrash, match="SIGSEGV"):
            other.infer(feeds_of(1)[0])
        other.infer(feeds_of(1)[0])
        with pytest.raises(BackendCrash, match="before it answered"):
            list(answers)


def test_a_worker_that_is_killed_between_two_answers_is_found(live: Live) -> None:
    with live.session() as session:
        answers = session.infer_all(feeds_of(*range(40)))
        require_twice(islice(answers, 2), feeds_of(0, 1))
        pid = live.conversation.process_id
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: is_gone(pid))
        with pytest.raises(BackendCrash, match="SIGKILL"):
            list(answers)
        require_twice(session.infer_all(feeds_of(*range(9))), feeds_of(*range(9)))


def test_an_interrupt_ends_the_worker_and_passes(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    with live.session() as session:
        answers = session.infer_all(feeds_of(*range(40)))
        next(answers)
        pid = live.conversation.process_id
        assert pid is not None

        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr("parity.backends.tensorrt.launch.WorkerProcess.receive", interrupted)
            with pytest.raises(KeyboardInterrupt):
                next(answers)
        wait_until(lambda: is_gone(pid))
        assert list(answers) == []
        require_twice(session.infer_all(feeds_of(*range(9))), feeds_of(*range(9)))


def test_a_closed_conversation_in_the_middle_leaves_no_process(tmp_path: Path) -> None:
    live = Live(tmp_path)
    answers = live.session().infer_all(feeds_of(*range(40)))
    require_twice(islice(answers, 2), feeds_of(0, 1))
    pid = live.conversation.process_id
    assert pid is not None
    live.link.close()
    assert is_gone(pid)
    with pytest.raises(BackendCrash, match="run"):
        list(answers)


# --- planted faults -------------------------------------------------------------------------------------------------


def test_one_lane_for_two_messages_is_found(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    send = LiveConversation._send

    def through_the_first(self: LiveConversation, batch: Any, timeout_s: float) -> Any:
        before = [sent.lane for sent in self._sent]
        for sent in self._sent:
            sent.lane = 1
        made = send(self, batch, timeout_s)
        for sent, lane in zip(self._sent, before, strict=False):
            sent.lane = lane
        return made

    monkeypatch.setattr(LiveConversation, "_send", through_the_first)
    feeds = feeds_of(*range(40))
    with live.session() as session, pytest.raises(AssertionError):
        require_twice(session.infer_all(feeds), feeds)


def test_an_answer_that_is_missing_is_found(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    made = batching.fields_of_many
    monkeypatch.setattr("parity.backends.tensorrt.process.fields_of_many", lambda batch: made(batch[1:] or batch))
    with live.session() as session, pytest.raises(BackendError, match=r"answered \[1\] of 2 feeds"):
        list(session.infer_all(feeds_of(*range(12))))


def test_answers_of_the_wrong_message_are_found(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "parity.backends.tensorrt.process.answers_of_many", lambda *words: batching.answers_of_many(*words)[::-1]
    )
    feeds = feeds_of(*range(12))
    with live.session() as session, pytest.raises(AssertionError):
        require_twice(session.infer_all(feeds), feeds)
