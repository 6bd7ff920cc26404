"""Recorded conversations: what a replay answers, what it refuses, and what its check finds."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.backends.tensorrt.conversation import SentFile, WrittenFile
from parity.backends.tensorrt.fingerprint import differences, identify, take_fingerprint
from parity.backends.tensorrt.interpreter import named_interpreters, parse_interpreter
from parity.backends.tensorrt.recorded import RecordingReader
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

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Fields = dict[str, Any]

PLAN = b"a plan of TensorRT" * 100
INSPECTED = json.dumps({"Layers": [f"layer {i}" for i in range(500)]})


class CountingWorker:
    """Answers as a worker in form; each inference gives its own number, each load a handle of its process."""

    def __init__(self) -> None:
        self.generation = 1
        self.inferences = 0
        self.handles = 0
        self.is_closed = False
        self.raises: ParityError | None = None

    def ask(self, operation: str, fields: Fields, timeout_s: float) -> Fields:
        self.last_timeout_s = timeout_s
        if self.raises is not None:
            raise self.raises
        answer: Fields = getattr(self, f"answer_{operation}")(fields)
        return answer

    def close(self) -> None:
        self.is_closed = True

    def answer_hello(self, _fields: Fields) -> Fields:
        return {"packages": {"tensorrt": "8.6.0"}, "memory_bytes": np.int64(5)}

    def answer_build(self, fields: Fields) -> Fields:
        fields["plan"].path.write_bytes(PLAN)
        if fields["timing_cache"] is not None:
            fields["timing_cache"].path.write_bytes(b"tactics")
        return {"sha256": hashlib.sha256(PLAN).hexdigest(), "build_s": 12.25, "messages": [], "flags": ["FP16"]}

    def answer_load(self, _fields: Fields) -> Fields:
        self.handles += 1
        return {"engine": self.handles, "bindings": [{"name": "x", "shape": [2, 3]}]}

    def answer_inspect(self, _fields: Fields) -> Fields:
        return {"json": INSPECTED}

    def answer_infer(self, fields: Fields) -> Fields:
        self.inferences += 1
        x = fields["tensors"]["x"]
        outputs = {"z": x + np.float32(self.inferences), "$array": x.astype(ml_dtypes.bfloat16), "empty": x[:0]}
        return {"tensors": outputs, "unwritten": {}, "gpu_ms": 0.5}


def build_fields(folder: Path, model: bytes = b"an ONNX model", **options: Any) -> Fields:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model)
    return {
        "source": {"kind": "onnx", "model": SentFile(folder / "model.onnx")},
        "precision": "fp16",
        "keep": [],
        "options": {"optimization_level": 3, **options},
        "profiles": [{"x": {"min": (1, 3), "opt": (2, 3), "max": (4, 3)}}],
        "calibration": {"kind": "entropy", "feeds": [{"x": np.zeros((2, 3), np.float32)}], "cache": None},
        "timing_cache": WrittenFile(folder / "timing.cache"),
        "plan": WrittenFile(folder / "model.plan"),
    }


def infer_fields(engine: int, value: float = 1.0, **more: Any) -> Fields:
    return {"engine": engine, "tensors": {"x": np.full((2, 3), value, np.float32)}, "profile": 0, **more}


def load_fields(plan: Path) -> Fields:
    return {"plan": SentFile(plan), "offset": 0, "options": {}}


def converse(conversation: Any, folder: Path) -> list[Fields]:
    """Build, load, inspect and infer once; return the answers."""
    build = build_fields(folder)
    built = conversation.ask("build", build, 60.0)
    loaded = conversation.ask("load", load_fields(build["plan"].path), 60.0)
    inspected = conversation.ask("inspect", {"engine": loaded["engine"]}, 60.0)
    return [built, loaded, inspected, conversation.ask("infer", infer_fields(loaded["engine"]), 60.0)]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Return the folder of one recorded build, load, inspection and inference."""
    converse(RecordingConversation(CountingWorker(), tmp_path / "recording"), tmp_path / "live")
    return tmp_path / "recording"


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


def change_model(fields: Fields) -> None:
    fields["source"]["model"].path.write_bytes(b"another ONNX model")


def change_weight_bits(fields: Fields) -> None:
    fields["calibration"]["feeds"][0]["x"][1, 2] = 1e-30


def change_option(fields: Fields) -> None:
    fields["options"]["optimization_level"] = 5


def add_option(fields: Fields) -> None:
    fields["options"]["sparsity"] = True


def change_precision(fields: Fields) -> None:
    fields["precision"] = "int8"


def keep_a_node(fields: Fields) -> None:
    fields["keep"] = ["softmax"]


def change_profile(fields: Fields) -> None:
    fields["profiles"][0]["x"]["max"] = (8, 3)


def drop_timing_cache(fields: Fields) -> None:
    fields["timing_cache"] = None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (change_model, r"source\.model: asked a file of 18 bytes, SHA-256 \w{12}, recorded a file of 13 bytes"),
        (change_weight_bits, r"calibration\.feeds\[0\]\.x: asked float32 \[2, 3\] of SHA-256"),
        (change_option, r"options\.optimization_level: asked 5, recorded 3"),
        (add_option, r"options\.sparsity: asked true, recorded nothing"),
        (change_precision, r'precision: asked "int8", recorded "fp16"'),
        (keep_a_node, r'keep: asked \["softmax"\], recorded \[\]'),
        (change_profile, r"profiles\[0\]\.x\.max: asked \[8, 3\], recorded \[4, 3\]"),
        (drop_timing_cache, r"timing_cache: asked false, recorded true"),
    ],
)
def test_a_build_that_differs_is_refused_by_the_name_of_what_differs(
    recording: Path, tmp_path: Path, change: Callable[[Fields], None], told: str
) -> None:
    fields = build_fields(tmp_path / "replay")
    change(fields)
    with pytest.raises(BackendError, match=told) as caught:
        ReplayConversation(recording).ask("build", fields, 1.0)
    assert "record again with PARITY_TENSORRT_RECORD=FOLDER" in str(caught.value)
    assert str(caught.value).count("asked") == 1
    assert not fields["plan"].path.exists()


@pytest.mark.parametrize(
    ("tensor", "told"),
    [
        (np.full((2, 3), 2, np.float32), r"tensors\.x: asked float32 \[2, 3\]"),
        (np.ones((3, 2), np.float32), r"tensors\.x: asked float32 \[3, 2\]"),
        (np.full((2, 3), 1, np.float32).view(np.int32), r"tensors\.x: asked int32"),
    ],
)
def test_a_feed_of_other_values_shape_or_dtype_is_refused(
    recording: Path, tmp_path: Path, tensor: np.ndarray, told: str
) -> None:
    replay = ReplayConversation(recording)
    engine = converse(replay, tmp_path / "replay")[1]["engine"]
    with pytest.raises(BackendError, match=told):
        replay.ask("infer", {**infer_fields(engine), "tensors": {"x": tensor}}, 1.0)


def test_an_engine_that_this_replay_did_not_load_is_refused(recording: Path) -> None:
    with pytest.raises(BackendError, match="engine: asked one that was not loaded here, recorded that of load"):
        ReplayConversation(recording).ask("infer", infer_fields(7), 1.0)


def test_an_operation_that_was_never_recorded_is_refused(recording: Path) -> None:
    with pytest.raises(BackendError, match="it holds no memory"):
        ReplayConversation(recording).ask("memory", {}, 1.0)


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


def rewrite(file: Path, change: Callable[[str], str]) -> None:
    file.write_text(change(file.read_text(encoding="ascii")), encoding="ascii")


def alter_time(folder: Path) -> None:
    rewrite(folder / "conversation.jsonl", lambda text: text.replace("12.25", "1.25"))


def alter_output_name(folder: Path) -> None:
    rewrite(folder / "conversation.jsonl", lambda text: text.replace('"z"', '"y"'))


def drop_last_line(folder: Path) -> None:
    rewrite(folder / "conversation.jsonl", lambda text: "".join(text.splitlines(keepends=True)[:-1]))


def drop_first_line(folder: Path) -> None:
    rewrite(folder / "conversation.jsonl", lambda text: "".join(text.splitlines(keepends=True)[1:]))


def swap_lines(folder: Path) -> None:
    rewrite(folder / "conversation.jsonl", lambda text: "".join(text.splitlines(keepends=True)[::-1]))


def repeat_last_line(folder: Path) -> None:
    rewrite(folder / "conversation.jsonl", lambda text: text + text.splitlines(keepends=True)[-1])


def cut_line(folder: Path) -> None:
    rewrite(folder / "conversation.jsonl", lambda text: text[:-30])


def empty_lines(folder: Path) -> None:
    rewrite(folder / "conversation.jsonl", lambda _text: "")


def alter_seal(folder: Path) -> None:
    rewrite(folder / "seal.json", lambda text: text.replace('"exchanges": 4', '"exchanges": 3'))


def alter_seal_hash(folder: Path) -> None:
    rewrite(folder / "seal.json", lambda text: text.replace('"sha256": "', '"sha256": "0'))


def break_seal(folder: Path) -> None:
    rewrite(folder / "seal.json", lambda text: text[:10])


def drop_blobs(folder: Path) -> None:
    (folder / "blobs.zip").unlink()


def alter_blob(folder: Path) -> None:
    with zipfile.ZipFile(folder / "blobs.zip") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    name, content = max(contents.items(), key=lambda item: len(item[1]))
    contents[name] = content[:-1] + b"?"
    with zipfile.ZipFile(folder / "blobs.zip", "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def cut_blobs(folder: Path) -> None:
    (folder / "blobs.zip").write_bytes((folder / "blobs.zip").read_bytes()[:-40])


@pytest.mark.parametrize(
    "alter",
    [
        alter_time,
        alter_output_name,
        drop_last_line,
        drop_first_line,
        swap_lines,
        repeat_last_line,
        cut_line,
        empty_lines,
        alter_seal,
        alter_seal_hash,
        break_seal,
        drop_blobs,
        alter_blob,
        cut_blobs,
    ],
)
def test_an_altered_recording_fails_its_check_before_it_answers(recording: Path, alter: Callable[[Path], None]) -> None:
    assert len(RecordingReader(recording).exchanges) == 4
    before = {path.name: path.read_bytes() for path in recording.iterdir()}
    alter(recording)
    assert {path.name: path.read_bytes() for path in recording.iterdir()} != before
    with pytest.raises(BackendError, match="damaged or was altered"):
        ReplayConversation(recording)


def test_a_folder_without_a_recording_is_said_to_hold_none(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="holds no recording"):
        ReplayConversation(tmp_path)


def test_a_recording_of_another_format_is_refused(recording: Path) -> None:
    rewrite(recording / "seal.json", lambda text: text.replace('"format": 1', '"format": 9'))
    with pytest.raises(BackendError, match="format 9, not 1"):
        ReplayConversation(recording)


def test_a_recording_is_never_written_over(recording: Path) -> None:
    with pytest.raises(BackendError, match="needs an empty folder"):
        RecordingConversation(CountingWorker(), recording)


def test_a_folder_that_is_gone_or_full_is_told(tmp_path: Path) -> None:
    live = RecordingConversation(CountingWorker(), tmp_path / "recording")
    (tmp_path / "recording").rmdir()
    with pytest.raises(BackendError, match=r"recording: the recording cannot be written to \(No such file"):
        live.ask("hello", {}, 1.0)


@pytest.mark.parametrize("value", [{1, 2}, np.array([object()]), b"bytes"])
def test_a_field_that_has_no_canonical_form_is_refused(tmp_path: Path, value: object) -> None:
    live = RecordingConversation(CountingWorker(), tmp_path / "recording")
    with pytest.raises(BackendError, match=r"options\.odd: a \w+ cannot be recorded"):
        live.ask("inspect", {"options": {"odd": value}}, 1.0)


def test_a_plain_path_is_refused_since_it_would_tie_the_recording_to_a_machine(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="model: a PosixPath cannot be recorded"):
        take_fingerprint("build", {"model": tmp_path}, {})


def test_a_file_to_send_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"gone\.onnx: cannot be read"):
        take_fingerprint("build", {"model": SentFile(tmp_path / "gone.onnx")}, {})


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


PLAIN = st.recursive(
    st.none() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=3), PLAIN, max_size=3), st.dictionaries(st.text(max_size=3), PLAIN, max_size=3))
def test_requests_have_one_fingerprint_exactly_where_they_are_equal(left: Fields, right: Fields) -> None:
    one, other = take_fingerprint("infer", left, {}), take_fingerprint("infer", right, {})
    shuffled = take_fingerprint("infer", dict(reversed(left.items())), {})
    assert shuffled.sha256 == one.sha256
    assert (one.sha256 == other.sha256) == (one.fields == other.fields)
    assert one.sha256 != take_fingerprint("time", left, {}).sha256
    assert differences(one.fields, one.fields) == []


@given(st.integers(0, 5), st.sampled_from(["float32", "bfloat16", "int64", "bool", "float16"]))
def test_how_an_array_lies_in_memory_does_not_matter(count: int, dtype: str) -> None:
    array = np.arange(count * 4).reshape(count, 4).astype(np.dtype(dtype))
    spread = np.repeat(array, 2, axis=1)[:, ::2]
    assert take_fingerprint("infer", {"x": array}, {}) == take_fingerprint("infer", {"x": spread}, {})


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
