"""Engine files: the header of Ultralytics is told from a plan, and what is neither is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.backends.tensorrt.engine_file import EngineFileHeader, read_header
from parity.errors import BackendError
from tests.texts import any_text
from tests.tiny_models import conv_relu

if TYPE_CHECKING:
    from pathlib import Path

PLAN = b"ftrt" + bytes(20) + bytes([8, 6, 0, 12]) + b"layers and weights"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | any_text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(any_text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


def written(folder: Path, content: bytes) -> Path:
    path = folder / "model.engine"
    path.write_bytes(content)
    return path


def with_header(metadata: object) -> bytes:
    text = json.dumps(metadata).encode()
    return len(text).to_bytes(4, "little") + text


def test_a_plain_plan_begins_at_once_and_tells_its_version(tmp_path: Path) -> None:
    assert read_header(written(tmp_path, PLAN)) == EngineFileHeader(0, {}, "8.6.0.12")


@given(metadata=st.dictionaries(any_text(max_size=5), JSON, max_size=3), tail=st.binary(max_size=64))
def test_a_header_is_read_back_and_the_plan_begins_behind_it(
    tmp_path_factory: pytest.TempPathFactory, metadata: dict[str, object], tail: bytes
) -> None:
    header = with_header(metadata)
    path = written(tmp_path_factory.getbasetemp(), header + PLAN + tail)
    found = read_header(path)
    assert (found.offset, found.metadata, found.built_by) == (len(header), metadata, "8.6.0.12")
    assert path.read_bytes()[found.offset :].startswith(PLAN)


@given(content=st.binary(min_size=28, max_size=200))
def test_whatever_a_file_holds_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = written(tmp_path_factory.getbasetemp(), content)
    with suppress(BackendError):
        assert 0 <= read_header(path).offset <= len(content) - 28


@given(length=st.integers(1, 200), text=st.binary(min_size=200, max_size=200))
def test_a_length_without_json_is_the_beginning_of_a_plan(
    tmp_path_factory: pytest.TempPathFactory, length: int, text: bytes
) -> None:
    content = length.to_bytes(4, "little") + b"\xff" + text
    assert read_header(written(tmp_path_factory.getbasetemp(), content)).offset == 0


@pytest.mark.parametrize("metadata", [[1, 2], 3, "text", None])
def test_json_that_is_no_object_is_no_header(tmp_path: Path, metadata: object) -> None:
    assert read_header(written(tmp_path, with_header(metadata) + PLAN)).metadata == {}


def test_a_plan_whose_layout_is_not_known_tells_no_version(tmp_path: Path) -> None:
    assert read_header(written(tmp_path, PLAN[:4] + b"\x01" + PLAN[5:])).built_by == ""
    assert read_header(written(tmp_path, b"qtrt" + PLAN[4:])).built_by == ""


def test_the_tag_of_a_plan_is_never_taken_for_a_length(tmp_path: Path) -> None:
    path = tmp_path / "huge.plan"
    with path.open("wb") as stream:
        stream.write(PLAN)
        stream.truncate(int.from_bytes(PLAN[:4], "little") + 100)
    assert read_header(path).offset == 0


def test_nesting_that_no_reader_survives_is_no_header(tmp_path: Path) -> None:
    text = b"[" * 100_000
    assert read_header(written(tmp_path, len(text).to_bytes(4, "little") + text + PLAN)).offset == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (PLAN[:20], "holds 20 bytes of a plan"),
        (with_header({"stride": 32}), "holds 0 bytes of a plan"),
        (b"PK\x03\x04" + bytes(60), "a zip archive, such as a PyTorch checkpoint"),
        (conv_relu().SerializeToString(), "an ONNX model"),
        (b'{"producer": "exporter", "size": 3}', "a text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
        (b"\x93NUMPY" + bytes(40), "a NumPy array"),
    ],
    ids=["empty", "cut", "header alone", "zip", "onnx", "text", "lfs", "numpy"],
)
def test_what_is_no_engine_is_refused_by_its_name(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(BackendError, match=words):
        read_header(written(tmp_path, content))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"missing\.engine: cannot be read \(No such file"):
        read_header(tmp_path / "missing.engine")
    with pytest.raises(BackendError, match="is a folder"):
        read_header(tmp_path)
