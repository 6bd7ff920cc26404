"""Requests of a recording: what tells two of them apart, what is refused by name, and what cannot be recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.backends.tensorrt.conversation import SentFile
from parity.backends.tensorrt.fingerprint import differences, take_fingerprint
from parity.backends.tensorrt.recording import RecordingConversation, ReplayConversation
from parity.errors import BackendError
from tests.recording_examples import CountingWorker, build_fields, converse, infer_fields, record
from tests.texts import any_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.recording_examples import Fields


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Return the folder of one recorded build, load, inspection and inference."""
    return record(tmp_path)


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


PLAIN = st.recursive(
    st.none() | st.integers() | any_text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(any_text(max_size=3), PLAIN, max_size=3), st.dictionaries(any_text(max_size=3), PLAIN, max_size=3)
)
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
