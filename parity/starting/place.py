"""Where a first case is put: its folder, its copies, its file. Nothing that is there is written over."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError

from parity.case.coco import read_coco
from parity.case.feeds import told_apart
from parity.case.loader import CASE_FILE
from parity.environment import naming_advice
from parity.errors import ModelError, RunError
from parity.graph import iterate_initializers
from parity.starting.case_toml import Paths, case_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from parity.starting.draft import Draft
    from parity.starting.proposals import Proposed

ANNOTATIONS = "annotations.json"


def require_free(folder: Path, model: Path) -> None:
    """Check that a case may be put into a folder: one that is not there, is empty, or holds the model and no case.

    Raises
    ------
    RunError
        Something is there that would be written over, or the folder cannot be looked into.
    """
    file = folder / CASE_FILE
    try:
        if file.exists():
            raise RunError(f"{file}: exists, and is not written over; choose another folder with --out, or remove it")
        if folder.exists() and not folder.is_dir():
            raise RunError(f"{folder}: is a file; choose another folder with --out")
        is_taken = folder.is_dir() and any(folder.iterdir()) and not _is_inside(model, folder)
    except OSError as error:
        raise RunError(f"{folder}: cannot be looked into ({error.strerror}); choose another with --out") from error
    if is_taken:
        raise RunError(
            f"{folder}: exists and is not empty; choose another folder with --out, or move the model into it"
        )


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


@dataclass(frozen=True, slots=True)
class Placed:
    """A case on disk."""

    folder: Path
    paths: Paths

    @property
    def file(self) -> Path:
        """The case file."""
        return self.folder / CASE_FILE


def put(draft: Draft, folder: Path) -> Placed:
    """Write a case: its folder, the model with its external data, annotations, and the case file last.

    Raises
    ------
    RunError
        A file is there already, nothing can be written, or a file's name cannot stand in a case file.
    """
    require_free(folder, draft.facts.path)
    judged = _relative(draft.split.judged if draft.split else (), folder)
    calibrating = _relative(draft.split.calibrating if draft.split else (), folder)
    _require_utf8(draft.facts.path.name, *judged, *calibrating)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = Paths(
            model=_place_model(draft.facts.path, folder),
            annotations=_place_annotations(draft, folder),
            judged=judged,
            calibrating=calibrating,
        )
        placed = Placed(folder, paths)
        # Exclusive: of two that begin at once, the second is told.
        with placed.file.open("x", encoding="utf-8") as stream:
            stream.write(case_text(draft, paths))
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror or error}); choose another with --out") from error
    return placed


def _require_utf8(*names: str) -> None:
    """Check what a case file will hold before anything is copied: a path of Linux may be any bytes."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            advice = naming_advice() or "rename the file or its folder"
            raise RunError(f"{name}: is no UTF-8, as {CASE_FILE} has to be; {advice}") from None


def rewrite(placed: Placed, draft: Draft, proposed: Proposed) -> None:
    """Write the case file again, whole or not at all, with what the first run proposes.

    Raises
    ------
    RunError
        It cannot be written, or somebody has changed it since.
    """
    try:
        if placed.file.read_text(encoding="utf-8") != case_text(draft, placed.paths):
            raise RunError(f"{placed.file}: was changed meanwhile, so the proposed tolerances are not written into it")
        with tempfile.TemporaryDirectory(dir=placed.folder, prefix=".parity-") as folder:
            temporary = Path(folder) / CASE_FILE
            temporary.write_text(case_text(draft, placed.paths, proposed), encoding="utf-8")
            temporary.replace(placed.file)
    except OSError as error:
        raise RunError(f"{placed.file}: cannot be written ({error.strerror or error})") from error


def _place_model(model: Path, folder: Path) -> str:
    """Return how the case names its model, copied with its data where it does not lie in the case's folder."""
    if _is_inside(model, folder):
        return model.resolve().relative_to(folder.resolve()).as_posix()
    for name in dict.fromkeys((model.name, *_data_files(model))):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(model.parent / name, target)
    return model.name


def _data_files(model: Path) -> Iterable[str]:
    """Return the files that hold a model's data beside it; the model was read before, so they lie in its folder."""
    try:
        graph = onnx.load(str(model), load_external_data=False).graph
    except (OSError, DecodeError) as error:
        raise ModelError(f"{model}: has changed since it was read ({error}); run the command again") from error
    for tensor in iterate_initializers(graph):
        yield from (entry.value for entry in tensor.external_data if entry.key == "location")


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("xb") as write:
        shutil.copyfileobj(read, write)


def _place_annotations(draft: Draft, folder: Path) -> str:
    """Return how the case names its annotations: a file of the judged images alone, where it lies elsewhere."""
    source = draft.annotations
    if source is None or draft.split is None:
        return ""
    if _is_inside(source, folder):
        return source.resolve().relative_to(folder.resolve()).as_posix()
    wanted = set(told_apart(draft.split.judged))
    file = read_coco(source)
    images = [image for image in file.images if wanted & set(image.endings)]
    known = {image.id for image in images}
    kept = file.model_copy(
        update={"images": images, "annotations": [one for one in file.annotations if one.image_id in known]}
    )
    with (folder / ANNOTATIONS).open("x", encoding="utf-8") as stream:
        stream.write(kept.model_dump_json(indent=1, exclude_none=True))
    return ANNOTATIONS


def _relative(paths: Sequence[Path], folder: Path) -> tuple[str, ...]:
    """Return paths as the case's wildcards have them: relative to its folder, special characters taken as they are."""
    return tuple(glob.escape(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()) for path in paths)
