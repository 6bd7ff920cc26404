"""What every task's accumulator has in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from parity.agreement import ClassAgreement, Figure, Finding, ImageAgreement
    from parity.decoded import Decoded

Result_contra = TypeVar("Result_contra", bound="Decoded", contravariant=True)


@dataclass(frozen=True, slots=True)
class ImageKey:
    """Which image: its name, its feed's number, its row there, and its size in pixels."""

    name: str
    feed: int
    row: int
    height: int
    width: int


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is really in one image.

    Attributes
    ----------
    boxes
        (n, 4) float64, x1 y1 x2 y2, original-image pixels.
    classes
        (n,) int64, counted from 0 as the decoder counts them; of a classification one number.
    is_crowd
        (n,) bool: regions of many objects, which count for nothing.
    areas
        (n,) float64, square pixels, of the objects; of their boxes where annotations have none.
    """

    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    is_crowd: NDArray[np.bool_]
    areas: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measured:
    """What an accumulator measured.

    Attributes
    ----------
    figures
        Every figure of the task; ``value`` is None where there was nothing to measure. Figures on annotations may be
        left out where there are none.
    findings
        The worst ones, worst first.
    images
        Every image, least agreement first.
    degenerate
        Why the data shows nothing, as a sentence; empty where it shows something. Then there is no pass.
    flaws
        Of each side, rows that were left out by reason: ``candidate: nan score`` -> 3.
    finding_counts
        How many findings there are of each kind where ``findings`` holds the worst alone; empty where it holds all.
    """

    figures: tuple[Figure, ...]
    findings: tuple[Finding, ...]
    images: tuple[ImageAgreement, ...]
    classes: tuple[ClassAgreement, ...]
    degenerate: str
    flaws: dict[str, int]
    notes: tuple[str, ...] = ()
    finding_counts: Mapping[str, int] = field(default_factory=dict)


class Agreement(Protocol[Result_contra]):
    """Measures how far two sides agree, image by image."""

    def update(
        self, image: ImageKey, reference: Result_contra, candidate: Result_contra, truth: Truth | None = None
    ) -> None:
        """Take one image. ``truth`` is given for all images that annotations know, else None."""
        ...

    def result(self) -> Measured:
        """Return what was measured over all images."""
        ...
