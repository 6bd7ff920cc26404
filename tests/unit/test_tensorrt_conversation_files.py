"""Files that travel to a live worker and back: where they lie, what is left of them, and which are refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from parity.backends.tensorrt.conversation import SentFile, WrittenFile
from parity.errors import BackendError, BackendTimeout, ModelError
from tests.conversations import closing, toy_conversation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity.backends.tensorrt.process import LiveConversation

LIMIT_S = 120.0


@pytest.fixture(scope="module", params=["local", "elsewhere"])
def either(request: pytest.FixtureRequest) -> Iterator[LiveConversation]:
    """With a worker that shares files, and with one that is treated as if it were on another machine."""
    yield from closing(toy_conversation(mapped=request.param == "local"))


def test_files_are_read_and_written(either: LiveConversation, tmp_path: Path) -> None:
    source, target = tmp_path / "model.onnx", tmp_path / "engine.plan"
    source.write_text("ü" * 10, encoding="utf-8")
    answer = either.ask("write_file", {"source": SentFile(source), "target": WrittenFile(target)}, LIMIT_S)
    assert answer["seen"] == target.read_text(encoding="utf-8") == "ü" * 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine.plan", "model.onnx"]


def test_a_file_that_is_read_and_written_is_there_to_be_read(either: LiveConversation, tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "timing.cache"
    source.write_text("new", encoding="utf-8")
    target.write_text("old ", encoding="utf-8")
    either.ask("write_file", {"source": SentFile(source), "target": WrittenFile(target)}, LIMIT_S)
    assert target.read_text(encoding="utf-8") == "old new"


def test_a_file_that_was_not_written_is_left_as_it_is(either: LiveConversation, tmp_path: Path) -> None:
    either.ask("echo", {"plan": WrittenFile(tmp_path / "plan")}, LIMIT_S)
    assert list(tmp_path.iterdir()) == []


def test_a_file_elsewhere_is_gone_after_its_request_and_lies_beside_the_others(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("graph", encoding="utf-8")
    (tmp_path / "model.data").write_text("weights", encoding="utf-8")
    fields = {
        "source": SentFile(tmp_path / "model.onnx"),
        "target": None,
        "more": [SentFile(tmp_path / "model.data"), SentFile(tmp_path / "model.data")],
    }
    toys = toy_conversation(mapped=False)
    answer = toys.ask("write_file", fields, LIMIT_S)
    assert {"model.onnx", "model.data"} <= set(answer["neighbours"])
    assert Path(answer["source"]) != tmp_path / "model.onnx"
    assert not Path(answer["source"]).exists()
    toys.close()


def test_a_large_file_travels_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parity.backends.tensorrt.exchange.FILE_PIECE_BYTES", 1000)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("0123456789" * 1234, encoding="utf-8")
    toys = toy_conversation(mapped=False)
    toys.ask("write_file", {"source": SentFile(source), "target": WrittenFile(target)}, LIMIT_S)
    toys.close()
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("operation", ["fail", "sleep"])
def test_a_request_that_fails_leaves_nothing_that_the_next_one_reads(tmp_path: Path, operation: str) -> None:
    source = tmp_path / "model.onnx"
    source.write_text("graph", encoding="utf-8")
    toys = toy_conversation(mapped=False)
    fields = {"source": SentFile(source), "kind": "model", "text": "", "s": 60}
    with pytest.raises((ModelError, BackendTimeout)):
        toys.ask(operation, fields, 1)
    assert toys.ask("write_file", {"source": SentFile(source), "target": None}, LIMIT_S)["seen"] == "graph"
    toys.close()


def test_a_target_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_text("text", encoding="utf-8")
    toys = toy_conversation(mapped=False)
    with pytest.raises(BackendError, match=r"absent/b: cannot be written \(No such file"):
        toys.ask("write_file", {"source": SentFile(source), "target": WrittenFile(tmp_path / "absent" / "b")}, LIMIT_S)
    assert toys.ask("echo", {"a": 1}, LIMIT_S) == {"a": 1}
    toys.close()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    toys = toy_conversation(mapped=False)
    with pytest.raises(BackendError, match=r"absent\.onnx: cannot be sent to the worker \(No such file"):
        toys.ask("echo", {"source": SentFile(tmp_path / "absent.onnx")}, LIMIT_S)
    assert toys.ask("echo", {"a": 1}, LIMIT_S) == {"a": 1}
    toys.close()


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", ".", ""])
def test_a_file_cannot_be_put_outside_the_workers_folder(name: str) -> None:
    toys = toy_conversation(mapped=False)
    with pytest.raises(BackendError, match="leaves the folder of files"):
        toys.ask("get_file", {"name": name, "start": 0, "size": 10}, LIMIT_S)
    toys.close()
