"""Recordings on disk: what was altered, is damaged or of another format is found before anything is answered."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

from parity.backends.tensorrt.recorded import RecordingReader
from parity.backends.tensorrt.recording import RecordingConversation, ReplayConversation
from parity.errors import BackendError
from tests.recording_examples import CountingWorker, record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Return the folder of one recorded build, load, inspection and inference."""
    return record(tmp_path)


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
