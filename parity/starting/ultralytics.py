"""What Ultralytics writes into the metadata of an export: untrusted text, read as literals."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto

_LONGEST = 1_000_000
"""Characters of one entry: names of ten thousand classes are shorter."""

_FAMILIES = {
    "detect": ("yolov8", "yolov10", "rtdetr_ultralytics"),
    "segment": ("yolov8_seg", "yolo26_seg"),
    "pose": ("yolov8_pose", "yolo26_pose"),
    "obb": ("yolov8_obb", "yolo26_obb"),
    "classify": ("classification",),
}


@dataclass(frozen=True, slots=True)
class Metadata:
    """What an export says of itself; None or empty where it says nothing.

    Attributes
    ----------
    names
        Class names, the first one's first.
    image_size
        (height, width).
    keypoints
        (number, values) of a pose model.
    """

    author: str = ""
    description: str = ""
    task: str = ""
    names: tuple[str, ...] = ()
    stride: int | None = None
    image_size: tuple[int, int] | None = None
    is_half: bool = False
    keypoints: tuple[int, int] | None = None

    @property
    def is_letterboxed(self) -> bool:
        """Whether Ultralytics' own software feeds the model as it feeds everything but classifiers.

        YOLOv5 and others write class names as well; they do not name the author.
        """
        return self.author == "Ultralytics" and bool(self.families) and self.task != "classify"

    @property
    def families(self) -> tuple[str, ...]:
        """The decoders that the task means; empty where the export does not name one."""
        return _FAMILIES.get(self.task, ())


def read_metadata(model: ModelProto) -> Metadata | None:
    """Return what an Ultralytics export says of itself; None where it is none."""
    entries = {entry.key: entry.value for entry in model.metadata_props if len(entry.value) <= _LONGEST}
    if "names" not in entries and "task" not in entries:
        return None
    values = {key: _literal(value) for key, value in entries.items()}
    return Metadata(
        author=entries.get("author", ""),
        description=entries.get("description", ""),
        task=entries.get("task", ""),
        names=_names(values.get("names")),
        stride=_positive(values.get("stride")),
        image_size=_pair(values.get("imgsz")),
        is_half="'half': True" in entries.get("args", "") or values.get("half") is True,
        keypoints=_pair(values.get("kpt_shape")),
    )


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        # Most entries are plain text.
        return text


def _names(value: object) -> tuple[str, ...]:
    """Return names of a mapping of 0, 1, … or of a list; none where it is neither."""
    if isinstance(value, Mapping):
        wanted = range(len(value))
        return tuple(str(value[number]) for number in wanted) if set(value) == set(wanted) else ()
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _pair(value: object) -> tuple[int, int] | None:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    first, second = _positive(value[0]), _positive(value[1])
    return None if first is None or second is None else (first, second)
