"""What a picture shows, and of whom."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Side(StrEnum):
    """Both sides in one picture, or one of them alone, to flick between."""

    BOTH = "both"
    REFERENCE = "reference"
    CANDIDATE = "candidate"

    @property
    def has_reference(self) -> bool:
        """Whether the reference's results are drawn."""
        return self is not Side.CANDIDATE

    @property
    def has_candidate(self) -> bool:
        """Whether the candidate's results are drawn."""
        return self is not Side.REFERENCE


@dataclass(frozen=True, slots=True)
class View:
    """How results are shown.

    Attributes
    ----------
    class_names
        Numbers are shown for classes that have none.
    score_threshold
        Detections from this score on are drawn.
    match_iou
        The IoU from which two boxes are a pair.
    side
        Whose results; label maps and classifications always show both.
    """

    class_names: tuple[str, ...] = ()
    score_threshold: float = 0.0
    match_iou: float = 0.5
    side: Side = Side.BOTH
