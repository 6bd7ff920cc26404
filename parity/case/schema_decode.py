"""Decoded results in a case file: the decoder and its settings, agreement, gates, annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union

from pydantic import BaseModel, Discriminator, Field, Tag

from parity.decode import FAMILIES, DecodeSettings
from parity.decode.settings import Share  # noqa: TC001 - pydantic reads the annotation at run time
from parity.decoded import Task
from parity.table import Name, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parity.decode import Family

# TOML has no enums: this field takes the text of an enum's value.
_Task = Annotated[Task, Field(strict=False)]


class PythonDecodeTable(Table):
    """A Python function of the case folder: outputs and geometry of a feed -> one result an image."""

    required: ClassVar[tuple[str, ...]] = ("function", "task")

    name: Literal["python"]
    function: Name | None = None
    """file.py:function, in the case folder."""
    task: _Task | None = None
    """What it gives: detection, classification, lanes or segmentation."""
    class_names: list[Name] = Field(default_factory=list)
    """Names of the classes, the first one's first; numbers are shown if left out."""
    score_threshold: Share = 0.25
    """Of a detection: the score from which it is shown to a user; what agreement is judged at."""


def name(value: object) -> str | None:
    """Return the tag of a table that is told by its ``name``."""
    found = getattr(value, "name", None) if isinstance(value, BaseModel) else None
    found = value.get("name") if isinstance(value, dict) else found
    return None if found is None else f"@{found}"


def decode_spec(families: Mapping[str, Family]) -> Any:
    """Return the type of ``[decode]``: the settings of every decoder, told by their name, and ``python``."""
    branches = [Annotated[family.settings, Tag(f"@{key}")] for key, family in families.items()]
    python = Annotated[PythonDecodeTable, Tag("@python")]
    return Annotated[Union[(*branches, python)], Discriminator(name)]


if TYPE_CHECKING:
    DecodeSpec = DecodeSettings | PythonDecodeTable
else:
    DecodeSpec = decode_spec(FAMILIES)


class AgreementTable(Table):
    """How the decoded results of both sides are held against each other."""

    match_iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The IoU from which two boxes are a pair."""
    borderline_cap: Share = 0.02
    """The most that a score may lie beside the threshold to count as borderline."""
    small_margin: Share = 0.02
    """Of classes: the margin of the best over the second, as probability, up to which another best is no surprise."""
    pictures: Annotated[int, Field(ge=0)] = 5
    """For how many of the worst images an overlay is drawn."""


class GateTable(Table):
    """What a figure of decoded results may be. Of several that match, the last in the file wins."""

    required: ClassVar[tuple[str, ...]] = ("figure", "reason")

    variant: Name = "*"
    """A variant's name or a wildcard."""
    figure: Name | None = None
    """The figure's name, such as missed_share."""
    min: float | None = None
    """The least that is allowed."""
    max: float | None = None
    """The most that is allowed."""
    reason: Annotated[str, Field(min_length=1, pattern=r"\S")] | None = None
    """Why these numbers; shown beside every verdict."""


class AnnotationsTable(Table):
    """What is really in the evaluation images: a file or a function."""

    file: Name | None = None
    """A COCO file of instances in the case folder; its images are matched by the names of their files."""
    function: Name | None = None
    """file.py:function in the case folder; called with the number of images, yields what is in each."""
