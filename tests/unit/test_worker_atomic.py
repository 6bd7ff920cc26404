"""A file is whole or not there, and nothing is left beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parity.worker.atomic import write_atomically
from parity.worker.errors import WorkerError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_replaced_by_any_buffer(tmp_path: Path) -> None:
    path = tmp_path / "model.plan"
    for content in (b"old", memoryview(b"new")):
        write_atomically(str(path), content)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_leaves_nothing_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "taken"
    folder.mkdir()
    with pytest.raises(WorkerError, match=r"taken cannot be written: Is a directory"):
        write_atomically(str(folder), b"plan")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"absent/model\.plan cannot be written: No such file or directory"):
        write_atomically(str(tmp_path / "absent" / "model.plan"), b"plan")
