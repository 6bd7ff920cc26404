"""Pictures of a run, taken into its report. ``run.json`` names them, and it may come from anybody.

A name leads to a picture of the run's own folder or nowhere; what cannot be shown is told where it would stand.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from parity.errors import RunError
from parity.report.decoded import counts_text, decoded_outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from parity.agreement import ImageAgreement
    from parity.results import Outcome, Run

    Key = tuple[str, str, str]

MAX_EMBEDDED_BYTES = 12 * 2**20
"""What the pictures of one report may take together; the least agreeing images come first."""
_MAX_FILE_BYTES = 2**20
_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
_SUFFIXES = (".png", ".jpg")
_SIDES = ("reference", "candidate")


@dataclass(frozen=True, slots=True)
class View:
    """One way to see an image: ``both``, ``reference`` or ``candidate``; ``source`` is a data URI."""

    name: str
    source: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of one image; ``problem`` says why there is none."""

    image: str
    alt: str
    views: tuple[View, ...]
    problem: str = ""


@dataclass(slots=True)
class _Room:
    """How many bytes are left for pictures."""

    left: int

    def take(self, content: bytes) -> bool:
        if len(content) > self.left:
            return False
        self.left -= len(content)
        return True


def embedded_pictures(run: Run, folder: Path, max_bytes: int = MAX_EMBEDDED_BYTES) -> dict[Key, list[Picture]]:
    """Return the pictures of each outcome, to be shown from within the report.

    Views of one side alone are taken where room is left behind the pictures of both.
    """
    room = _Room(max_bytes)
    named = [(outcome, image) for outcome in decoded_outcomes(run) for image in _named(outcome)]
    first = [_picture(folder, outcome, image, room) for outcome, image in named]
    pictures: dict[Key, list[Picture]] = {}
    for (outcome, image), picture in zip(named, first, strict=True):
        sides = () if picture.problem else tuple(_side_views(folder, str(image.picture), room))
        complete = Picture(picture.image, picture.alt, (*picture.views, *sides), picture.problem)
        pictures.setdefault(outcome.key, []).append(complete)
    return pictures


def read_picture(folder: Path, name: str) -> bytes:
    """Return the content of a picture of the run.

    Raises
    ------
    RunError
        The name leads out of the run's folder or to no picture, the file is missing, too large or not what it claims.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or path.suffix not in _SUFFIXES:
        raise RunError(f"{name}: is no picture of this run; expected a .png or .jpg below its folder")
    try:
        file = (folder / path).resolve()
        if not file.is_relative_to(folder.resolve()):
            raise RunError(f"{name}: leads out of the run's folder; expected a file in it")
        with file.open("rb") as stream:
            content = stream.read(_MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise RunError(f"{name}: is missing or cannot be read; run the case again to draw it") from error
    if len(content) > _MAX_FILE_BYTES or _mime_type(content) is None:
        raise RunError(f"{name}: is not a PNG or JPEG file of at most 1 MiB; run the case again to draw it")
    return content


def _named(outcome: Outcome) -> Iterator[ImageAgreement]:
    assert outcome.decoded is not None
    return (image for image in outcome.decoded.images if image.picture is not None)


def _picture(folder: Path, outcome: Outcome, image: ImageAgreement, room: _Room) -> Picture:
    alt = (
        f"{image.image} in {outcome.case} / {outcome.variant}, reference solid, candidate dashed: "
        f"agreement {image.agreement:.3f}; {counts_text(image)}"
    )
    name = str(image.picture)
    try:
        content = read_picture(folder, name)
    except RunError as error:
        return Picture(image.image, alt, (), str(error))
    if not room.take(content):
        return Picture(image.image, alt, (), f"{name}: stands in the run's folder; this report has no room for it")
    return Picture(image.image, alt, (View("both", _data_uri(content)),))


def _side_views(folder: Path, name: str, room: _Room) -> Iterator[View]:
    """Yield the views of one side alone that were drawn: they may be missing, which costs a picture nothing."""
    for side in _SIDES:
        path = PurePosixPath(name)
        for suffix in _SUFFIXES:
            try:
                content = read_picture(folder, str(path.with_name(f"{path.stem}-{side}{suffix}")))
            except RunError:
                continue
            if room.take(content):
                yield View(side, _data_uri(content))
            break


def _mime_type(content: bytes) -> str | None:
    return next((kind for start, kind in _TYPES.items() if content.startswith(start)), None)


def _data_uri(content: bytes) -> str:
    return f"data:{_mime_type(content)};base64,{b64encode(content).decode()}"
