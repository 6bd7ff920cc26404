"""Settings that decoders share; each family adds its own in its own file. They are the tables of ``[decode]``."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from parity.decoded import Task
from parity.table import Count, Name, Table

Share = Annotated[float, Field(ge=0, le=1)]


class DecodeSettings(Table):
    """What every decoder knows. A family's table has ``name``, a literal, besides."""

    task: ClassVar[Task]

    name: str
    """The decoder."""
    outputs: dict[Name, Name] = Field(default_factory=dict)
    """Which output plays which part, by the decoder's names for them; found by their shapes if left out."""
    class_names: list[Name] = Field(default_factory=list)
    """Names of the classes, the first one's first; numbers are shown if left out."""


class DetectionSettings(DecodeSettings):
    """What decoders of boxes share."""

    task: ClassVar[Task] = Task.DETECTION

    score_threshold: Share = 0.25
    """The score from which a detection is shown to a user; what agreement is judged at."""
    ap_score_threshold: Share = 0.001
    """The score from which detections count for average precision, which needs the weak ones too."""
    max_detections: Count = 300
    """The most detections of an image; the strongest are kept."""


class NmsSettings(DetectionSettings):
    """What decoders share whose detections are thinned out here, not in the model."""

    nms_iou: Share = 0.45
    """The IoU above which the weaker of two boxes of one class is dropped."""
    class_agnostic: bool = False
    """Whether boxes of different classes drop each other as well."""
    max_candidates: Count = 30000
    """The most boxes of an image that enter non-maximum suppression; the strongest are kept."""
