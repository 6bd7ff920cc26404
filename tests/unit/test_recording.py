"""Recorded conversations: what is recorded, what a replay answers, and when a conversation is recorded."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.backends.tensorrt.fingerprint import identify
from parity.backends.tensorrt.interpreter import named_interpreters, parse_interpreter
from parity.backends.tensorrt.recording import (
    RECORD_VARIABLE,
    RecordingConversation,
    ReplayConversation,
    open_conversation,
)
from parity.errors import (
    BackendCrash,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    FeedError,
    ModelError,
    ParityError,
    PrecisionError,
)
from tests.recording_examples import PLAN, CountingWorker, build_fields, converse, infer_fields, load_fields, record

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Return the folder of one recorded build, load, inspection and inference."""
    return record(tmp_path)


def test_a_replay_gives_the_recorded_answers_from_other_folders_and_without_a_worker(tmp_path: Path) -> None:
    recorded = converse(RecordingConversation(CountingWorker(), tmp_path / "recording"), tmp_path / "live")
    replayed = converse(ReplayConversation(tmp_path / "recording"), tmp_path / "elsewhere")
    assert replayed[:3] == recorded[:3]
    tensors = replayed[3]["tensors"]
    assert list(tensors) == ["z", "$array", "empty"]
    for name, expected in recorded[3]["tensors"].items():
        np.testing.assert_array_equal(tensors[name], expected)
        assert (tensors[name].dtype, tensors[name].shape) == (expected.dtype, expected.shape)
        assert tensors[name].flags.writeable


def test_a_replayed_plan_says_what_it_is_and_keeps_the_recorded_hash(recording: Path, tmp_path: Path) -> None:
    [built, *_] = converse(ReplayConversation(recording), tmp_path / "replay")
    plan = tmp_path / "replay/model.plan"
    assert b"stands in for a file of a replayed recording" in plan.read_bytes()
    assert identify(plan).sha256 == built["sha256"] == hashlib.sha256(PLAN).hexdigest()
    assert identify(plan).size_bytes == len(PLAN)


def test_a_replay_leaves_the_measured_tactics_of_this_machine_alone(recording: Path, tmp_path: Path) -> None:
    fields = build_fields(tmp_path / "replay")
    fields["timing_cache"].path.write_bytes(b"tactics of this machine")
    ReplayConversation(recording).ask("build", fields, 1.0)
    assert fields["timing_cache"].path.read_bytes() == b"tactics of this machine"


def test_a_damaged_stand_in_is_not_taken_for_a_plan(recording: Path, tmp_path: Path) -> None:
    converse(ReplayConversation(recording), tmp_path / "replay")
    plan = tmp_path / "replay/model.plan"
    plan.write_bytes(plan.read_bytes()[:-5])
    with pytest.raises(BackendError, match=r"model\.plan: is a damaged stand-in"):
        ReplayConversation(recording).ask("load", load_fields(plan), 1.0)


def test_a_recording_holds_no_feed_and_no_path_of_the_machine(tmp_path: Path) -> None:
    conversation = RecordingConversation(CountingWorker(), tmp_path / "recording")
    conversation.ask("build", build_fields(tmp_path / "live"), 60.0)
    assert {path.name for path in (tmp_path / "recording").iterdir()} == {"conversation.jsonl", "seal.json"}
    assert str(tmp_path) not in (tmp_path / "recording/conversation.jsonl").read_text(encoding="ascii")


def test_equal_arrays_and_long_texts_are_stored_once_and_deflated(tmp_path: Path) -> None:
    conversation = RecordingConversation(CountingWorker(), tmp_path / "recording")
    for _ in range(3):
        conversation.ask("inspect", {"engine": 1}, 1.0)
    with zipfile.ZipFile(tmp_path / "recording/blobs.zip") as archive:
        [entry] = archive.infolist()
    assert entry.compress_size < entry.file_size / 3
    assert entry.date_time[0] == 1980


def test_equal_requests_are_answered_in_recorded_order_and_then_the_last_again(tmp_path: Path) -> None:
    live = RecordingConversation(CountingWorker(), tmp_path / "recording")
    recorded = [live.ask("infer", infer_fields(1), 1.0)["tensors"]["z"][0, 0] for _ in range(3)]
    replay = ReplayConversation(tmp_path / "recording")
    assert [replay.ask("infer", infer_fields(1), 1.0)["tensors"]["z"][0, 0] for _ in range(5)] == [
        *recorded,
        recorded[-1],
        recorded[-1],
    ]


def test_other_requests_may_come_in_any_order(tmp_path: Path) -> None:
    live = RecordingConversation(CountingWorker(), tmp_path / "recording")
    recorded = {value: live.ask("infer", infer_fields(1, value), 1.0)["tensors"]["z"] for value in (1.0, 2.0, 3.0)}
    replay = ReplayConversation(tmp_path / "recording")
    for value in (3.0, 1.0, 2.0):
        answer = replay.ask("infer", infer_fields(1, value), 99.0)
        np.testing.assert_array_equal(answer["tensors"]["z"], recorded[value])


def test_handles_that_two_workers_gave_to_two_engines_are_told_apart(tmp_path: Path) -> None:
    inner = CountingWorker()
    live = RecordingConversation(inner, tmp_path / "recording")
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    recorded = {}
    for name in ("a", "b"):
        inner.handles = 0  # a new worker counts from the start
        handle = live.ask("load", load_fields(tmp_path / name), 1.0)["engine"]
        recorded[name] = live.ask("infer", infer_fields(handle), 1.0)["tensors"]["z"]
    replay = ReplayConversation(tmp_path / "recording")
    handles = {name: replay.ask("load", load_fields(tmp_path / name), 1.0)["engine"] for name in ("b", "a")}
    assert handles["a"] != handles["b"]
    for name, handle in handles.items():
        answer = replay.ask("infer", infer_fields(handle), 1.0)
        np.testing.assert_array_equal(answer["tensors"]["z"], recorded[name])


def test_a_replayed_worker_says_that_it_is_a_recording(tmp_path: Path) -> None:
    live = RecordingConversation(CountingWorker(), tmp_path / "recording")
    assert live.ask("hello", {"device": 0}, 1.0)["packages"] == {"tensorrt": "8.6.0"}
    replayed = ReplayConversation(tmp_path / "recording").ask("hello", {"device": 0}, 1.0)
    seal = json.loads((tmp_path / "recording/seal.json").read_text(encoding="ascii"))["sha256"]
    assert replayed == {"packages": {"tensorrt": "8.6.0", "recording": seal[:16]}, "memory_bytes": 5}


@pytest.mark.parametrize(
    "kind",
    [ModelError, PrecisionError, FeedError, BackendUnavailable, BackendError, BackendTimeout, BackendCrash],
)
def test_a_failure_is_replayed_as_its_kind_and_ends_the_worker_where_it_did(
    tmp_path: Path, kind: type[ParityError]
) -> None:
    inner = CountingWorker()
    inner.raises = kind(f"{tmp_path / 'live/model.onnx'}: refused")
    live = RecordingConversation(inner, tmp_path / "recording")
    with pytest.raises(kind):
        live.ask("build", build_fields(tmp_path / "live"), 1.0)
    replay = ReplayConversation(tmp_path / "recording")
    with pytest.raises(kind, match=r"^model\.onnx: refused$") as caught:
        replay.ask("build", build_fields(tmp_path / "replay"), 1.0)
    assert type(caught.value) is kind
    assert replay.generation == (2 if kind in {BackendTimeout, BackendCrash} else 1)


def test_the_environment_records_each_conversation_in_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RECORD_VARIABLE, str(tmp_path / "base"))
    for _ in range(2):
        conversation = open_conversation(parse_interpreter(sys.executable), lambda _interpreter: CountingWorker())
        converse(conversation, tmp_path / "live")
    conversation.close()
    monkeypatch.delenv(RECORD_VARIABLE)
    for number in ("1", "2"):
        [named] = named_interpreters([f"recording={tmp_path / 'base' / number}"] * 2, {})
        replay = open_conversation(named, lambda _interpreter: CountingWorker())
        assert isinstance(replay, ReplayConversation)
        converse(replay, tmp_path / f"replay {number}")
        replay.close()


def test_without_the_environment_a_live_conversation_is_what_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RECORD_VARIABLE, raising=False)
    inner = CountingWorker()
    assert open_conversation(parse_interpreter(sys.executable), lambda _interpreter: inner) is inner


def test_a_recorded_conversation_waits_counts_workers_and_closes_as_the_live_one(tmp_path: Path) -> None:
    inner = CountingWorker()
    inner.generation = 3
    live = RecordingConversation(inner, tmp_path / "recording")
    live.ask("hello", {"device": 0}, 7.5)
    assert (live.generation, inner.last_timeout_s) == (3, 7.5)
    live.close()
    assert inner.is_closed


def test_many_feeds_are_recorded_and_replayed_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "model.plan").write_bytes(PLAN)
    feeds = [infer_fields(1, value) for value in (1.0, 2.0, 3.0)]
    worker = CountingWorker()
    recording = RecordingConversation(worker, tmp_path / "recording")
    recording.ask("load", load_fields(tmp_path / "model.plan"), 1.0)
    recorded = list(recording.infer_all([feeds[:2], feeds[2:]], 1.0))
    assert worker.inferences == 3
    lines = (tmp_path / "recording" / "conversation.jsonl").read_text(encoding="ascii").splitlines()
    assert [json.loads(line)["body"]["operation"] for line in lines] == ["load", "infer", "infer", "infer"]
    replay = ReplayConversation(tmp_path / "recording")
    replay.ask("load", load_fields(tmp_path / "model.plan"), 1.0)
    for batches in ([feeds], [[feed] for feed in feeds]):
        for expected, actual in zip(recorded, replay.infer_all(batches, 1.0), strict=True):
            np.testing.assert_array_equal(actual["tensors"]["z"], expected["tensors"]["z"])
    with pytest.raises(BackendError, match="the recording has no answer to this infer"):
        list(replay.infer_all([[infer_fields(1, 4.0)]], 1.0))
