"""The folder of a run: made once, its ``run.json`` whole at every moment."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from parity.errors import RunError
from parity.run_file import load_run, run_to_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from parity.results import Run

RUN_FILE = "run.json"
FEED_FOLDER = "feeds"
PICTURE_FOLDER = "pictures"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run is saved."""

    path: Path

    def save(self, run: Run) -> None:
        """Replace ``run.json`` in one step, so that a reader or a crash never meets half of it.

        Raises
        ------
        RunError
            No space or no permission; the file is as it was before.
        """
        file = self.path / RUN_FILE
        temporary = self.path / f".{RUN_FILE}.{os.getpid()}.tmp"
        with _told(file):
            try:
                with temporary.open("w", encoding="utf-8") as stream:
                    stream.write(run_to_json(run))
                    stream.flush()
                    os.fsync(stream.fileno())
                temporary.replace(file)
            finally:
                temporary.unlink(missing_ok=True)

    def feed_path(self, case: str, variant: str, feed: int) -> Path:
        """Return where a failing feed is saved; its folder is made.

        Raises
        ------
        RunError
            The folder cannot be made.
        """
        return self._made(FEED_FOLDER) / f"{_file_name(case)}-{_file_name(variant)}-{feed}.npz"

    def save_picture(self, case: str, variant: str, ending: str, content: bytes) -> str:
        """Write a picture, ``ending`` behind its case and variant, and return its path relative to the run's folder.

        Raises
        ------
        RunError
            It cannot be written.
        """
        file = self._made(PICTURE_FOLDER) / f"{_file_name(case)}-{_file_name(variant)}-{ending}"
        with _told(file):
            file.write_bytes(content)
        return f"{PICTURE_FOLDER}/{file.name}"

    def _made(self, name: str) -> Path:
        folder = self.path / name
        with _told(folder):
            folder.mkdir(exist_ok=True)
        return folder


def create_run_folder(out: Path, name: str, now: datetime) -> RunFolder:
    """Make the folder ``<out>/<time>-<name>``; where that exists, a number is added.

    Raises
    ------
    RunError
        It cannot be made.
    """
    base = f"{now:%Y%m%d-%H%M%S}-{_file_name(name)}"
    with _told(out):
        out.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            path = out / (base if number == 1 else f"{base}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            break
    return RunFolder(path)


def open_run_folder(path: Path) -> tuple[RunFolder, Run]:
    """Open the folder of a saved run, or the run.json in it.

    Raises
    ------
    RunError
        There is no run, or it cannot be read.
    """
    run = load_run(path)
    return RunFolder(path if path.is_dir() else path.parent), run


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror or error}); free space or choose another folder with --out"
        ) from error


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9@._-]+", "-", text).lstrip(".") or "run"
