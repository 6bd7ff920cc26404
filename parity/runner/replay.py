"""A failing feed in a file, with what its judgement depended on besides the case: its scale over all feeds."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotation at run time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from parity.case.files import load_npz, write_npz
from parity.errors import FeedError
from parity.preprocess import Geometry  # noqa: TC001 - pydantic reads the annotation at run time
from parity.run_file import as_unicode

if TYPE_CHECKING:
    from pathlib import Path

NOTE_KEY = "__parity__"
"""The array of the file that holds the note: JSON as bytes. No ONNX input is called so."""


@dataclass(frozen=True, slots=True)
class FeedNote:
    """Where a saved feed came from.

    Attributes
    ----------
    case, variant
        The case's name and the variant's, without its backend.
    feed
        The feed's number in the run.
    name
        The feed's own name.
    scales
        The root mean square of every region of the reference over all feeds of the run, by the region's label: a
        tolerance in units of it must not change when one feed is judged alone.
    dtypes
        The inputs' dtypes, which the file's format does not keep for bfloat16 and float8.
    geometry, sources
        Of images, where each lies in the input tensor and what it is called, one for each row; else None and empty.
    """

    case: str = ""
    variant: str = ""
    feed: int = 0
    name: str = ""
    scales: Mapping[str, float] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    geometry: tuple[Geometry, ...] | None = None
    sources: tuple[str, ...] = ()


def write_feed(path: Path, tensors: Mapping[str, np.ndarray], note: FeedNote) -> None:
    """Save a feed with its note.

    Raises
    ------
    RunError
        The file cannot be written.
    """
    # Names of images may be no Unicode, which JSON takes and its readers do not.
    text = json.dumps(as_unicode(asdict(note)))
    write_npz(path, {**tensors, NOTE_KEY: np.frombuffer(text.encode(), np.uint8)})


def read_feed(path: Path) -> tuple[dict[str, np.ndarray], FeedNote | None]:
    """Read a feed and its note; a file that was not written by a run has none.

    Raises
    ------
    FeedError
        The file cannot be read, or its note is damaged.
    """
    tensors = load_npz(path)
    if NOTE_KEY not in tensors:
        return tensors, None
    try:
        note = _parse_note(tensors.pop(NOTE_KEY).tobytes())
        restored = {name: tensor.view(np.dtype(note.dtypes[name])) for name, tensor in tensors.items()}
    except (ValueError, TypeError, KeyError) as error:
        raise FeedError(f"{path}: its note is damaged ({error}); run the case again to save the feed anew") from error
    return restored, note


def _parse_note(content: bytes) -> FeedNote:
    """Return a note; one that was written before a key was added has the key's default.

    Raises
    ------
    ValueError
        It is damaged.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        note = TypeAdapter(FeedNote).validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")) from error
    if note.geometry is not None and len(note.geometry) != len(note.sources):
        raise ValueError(f"{len(note.geometry)} geometries for {len(note.sources)} images")
    return note
