"""What an agreement of decoded results came to: figures, gates and findings, judged and saved with a run.

Plain records. ``parity.detect`` measures the figures, ``parity.checks.decoded`` judges them by the case's gates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from parity.verdict import Verdict  # noqa: TC001 - pydantic reads the annotation at run time


class Better(StrEnum):
    """Which way a figure improves."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"
    """It describes what was judged: a change either way asks for a look."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Attributes
    ----------
    name
        Such as ``missed_share``; ``parity.detect.figures`` has them all.
    value
        None where there was nothing to measure it on.
    unit
        ``share`` (0 to 1), ``px`` (of the original image), ``iou``, ``score``, ``count``, ``ap``, ``correlation``,
        ``oks``.
    """

    name: str
    value: float | None
    unit: str


@dataclass(frozen=True, slots=True)
class JudgedFigure:
    """A figure with the gate that stands on it.

    ``verdict`` is None where no gate does; ``inconclusive`` where one does and there was nothing to measure.
    ``minimum`` and ``maximum`` are the gate's, None where that side is open; ``reason`` says why the gate is as it is.
    """

    figure: Figure
    minimum: float | None = None
    maximum: float | None = None
    verdict: Verdict | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BoxRecord:
    """A box that a finding shows: ``box`` is x1 y1 x2 y2 in original-image pixels."""

    box: tuple[float, float, float, float]
    score: float
    class_name: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not the same on both sides.

    Attributes
    ----------
    kind
        ``missed``, ``extra``, ``class flip``, ``duplicate``, ``moved``, ``score``, ``borderline``, ``top-1 flip``,
        ``lane point``, ….
    image
        The image's name: its file's, or its number.
    text
        A sentence that names the image, the class and both sides.
    severity
        To sort by; higher is worse.
    """

    kind: str
    image: str
    text: str
    severity: float
    reference: BoxRecord | None = None
    candidate: BoxRecord | None = None


@dataclass(frozen=True, slots=True)
class ImageAgreement:
    """How far both sides agree on one image.

    Attributes
    ----------
    image
        The image's name.
    feed, row
        The feed's number and the row in it.
    agreement
        0 to 1: 1 where both sides say the same.
    counts
        Such as ``{"reference": 7, "candidate": 6, "missed": 1}``.
    picture
        The overlay's file, relative to the run's folder; None where none was drawn.
    """

    image: str
    feed: int
    row: int
    agreement: float
    counts: dict[str, int] = field(default_factory=dict)
    picture: str | None = None


@dataclass(frozen=True, slots=True)
class ClassAgreement:
    """Figures of one class, by their names."""

    class_name: str
    figures: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class DecodedRecord:
    """What the ``decoded`` check found.

    Attributes
    ----------
    task
        ``detection``, ``classification``, ``lanes`` or ``segmentation``.
    decoder
        The decoder's name.
    figures
        All figures, those that fail first.
    findings
        The worst ones; ``finding_count`` says how many there were, ``finding_counts`` how many of each kind.
    images
        The worst images by agreement.
    reasons
        Why the verdict is not ``pass``, most important first.
    notes
        What a reader should know whatever the verdict: where boxes are in tensor pixels because the feed is no image.
    """

    task: str
    decoder: str
    figures: tuple[JudgedFigure, ...]
    findings: tuple[Finding, ...] = ()
    finding_count: int = 0
    finding_counts: dict[str, int] = field(default_factory=dict)
    images: tuple[ImageAgreement, ...] = ()
    classes: tuple[ClassAgreement, ...] = ()
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
