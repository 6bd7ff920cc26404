"""How far two maps of labels agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.agreement import ClassAgreement, Finding, ImageAgreement
from parity.decoded import Task
from parity.detect.figures import figures_of
from parity.detect.protocol import Measured
from parity.detect.wording import add_flaws, class_name, least_agreeing, share, worst_findings
from parity.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from parity.decoded import LabelMap
    from parity.detect.protocol import ImageKey, Truth

    Booleans = NDArray[np.bool_]
    Integers = NDArray[np.int64]

LABEL_LIMIT = 1024
"""How many classes a map may tell apart: the counts of both sides' labels are kept as a table."""
_FINDINGS_AN_IMAGE = 5
# Of a class of fewer pixels a small object's edges are all there is.
_LEAST_SHARE = 0.001
_NO_MARGINS = "The reference gives labels without scores: every pixel whose class changed counts as one it was sure of."


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """How many pixels of an image flipped, and how many of them where the reference's margin is small."""

    image: ImageKey
    pixels: int
    flips: int
    boundary_flips: int


class SegmentationAgreement:
    """Measures how far two maps of labels agree; see ``parity.detect.protocol.Agreement``.

    Flips of pixels whose reference margin is small, most of them at the boundary of two objects, are counted apart.
    Truth is not looked at.

    Parameters
    ----------
    class_names
        May be empty.
    small_margin
        Up to which margin of the reference, in units of the scores, a flip is a boundary's.
    """

    def __init__(self, class_names: Sequence[str] = (), *, small_margin: float = 0.02) -> None:
        self._names = class_names
        self._small_margin = small_margin
        self._seen: list[_Seen] = []
        self._findings: list[Finding] = []
        self._flaws: dict[str, int] = {}
        self._table = np.zeros((0, 0), np.int64)
        self._has_margins = False

    def update(
        self,
        image: ImageKey,
        reference: LabelMap,
        candidate: LabelMap,
        truth: Truth | None = None,  # noqa: ARG002 - the protocol's; no annotations of pixels are read
    ) -> None:
        """Take one image.

        Raises
        ------
        StructureError
            The sides have different sizes, or labels that are no class numbers.
        """
        _check(image, reference.labels, candidate.labels)
        add_flaws(self._flaws, "reference", reference.flaws)
        add_flaws(self._flaws, "candidate", candidate.flaws)
        flipped = reference.labels != candidate.labels
        boundary = np.zeros_like(flipped)
        if reference.margins is not None:
            self._has_margins = True
            boundary = flipped & (reference.margins <= self._small_margin)
        self._table = _add(self._table, _count(reference.labels, candidate.labels))
        self._findings += self._tell(image, reference.labels, candidate.labels, flipped & ~boundary, "pixel flip")
        self._findings += self._tell(image, reference.labels, candidate.labels, boundary, "boundary flip")
        self._seen.append(_Seen(image, flipped.size, int(flipped.sum()), int(boundary.sum())))

    def result(self) -> Measured:
        """Return what was measured over all images."""
        pixels, flips = int(self._table.sum()), sum(seen.flips for seen in self._seen)
        boundary = sum(seen.boundary_flips for seen in self._seen)
        ious = _class_ious(self._table)
        known = ious[~np.isnan(ious)]
        lost = np.flatnonzero((ious == 0) & (self._table.sum(axis=1) >= max(_LEAST_SHARE * pixels, 1)))
        return Measured(
            figures=figures_of(
                Task.SEGMENTATION,
                {
                    "image_count": len(self._seen),
                    "pixel_agreement": share(pixels - flips, pixels),
                    "class_iou_mean": float(known.mean()) if known.size else None,
                    "class_iou_min": float(known.min()) if known.size else None,
                    "lost_class_count": len(lost),
                    "boundary_flip_share": share(boundary, pixels),
                    "flip_share": share(flips - boundary, pixels),
                },
            ),
            findings=worst_findings([*self._findings, *self._lost_classes(lost)]),
            images=least_agreeing(map(_image_agreement, self._seen)),
            classes=tuple(self._class_rows(ious)),
            degenerate=self._degenerate(),
            flaws=dict(self._flaws),
            notes=() if self._has_margins or not self._seen else (_NO_MARGINS,),
        )

    def _tell(
        self, image: ImageKey, reference: Integers, candidate: Integers, where: Booleans, kind: str
    ) -> Iterator[Finding]:
        """Tell of the most frequent flips of an image."""
        table = _count(reference[where], candidate[where])
        order = np.argsort(-table, axis=None, kind="stable")[:_FINDINGS_AN_IMAGE]
        for first, second in zip(*np.unravel_index(order, table.shape), strict=True):
            count = int(table[first, second])
            if not count:
                return
            part = count / where.size
            old, new = class_name(self._names, int(first)), class_name(self._names, int(second))
            text = f"{image.name}: {count} pixels ({part:.2%}) of {old!r} became {new!r}"
            # Flips with a clear margin come before those at boundaries, however many these are.
            yield Finding(kind, image.name, text, severity=part + (kind == "pixel flip"))

    def _lost_classes(self, lost: Integers) -> Iterator[Finding]:
        for number in lost.tolist():
            name, count = class_name(self._names, number), int(self._table[number].sum())
            text = f"all {len(self._seen)} images: none of the reference's {count} pixels of {name!r} is one any more"
            yield Finding("lost class", "all images", text, severity=5.0)

    def _class_rows(self, ious: NDArray[np.float64]) -> Iterator[ClassAgreement]:
        for number in np.flatnonzero(~np.isnan(ious)).tolist():
            counts = {
                "reference_pixel_count": int(self._table[number].sum()),
                "candidate_pixel_count": int(self._table[:, number].sum()),
            }
            yield ClassAgreement(class_name(self._names, number), {**counts, "iou": float(ious[number])})

    def _degenerate(self) -> str:
        labels = np.flatnonzero(self._table.sum(axis=1))
        if not len(labels):
            return "No pixel was compared."
        if len(labels) == 1:
            name = class_name(self._names, int(labels[0]))
            return f"The reference says {name!r} for every pixel of every image: agreement on that shows nothing."
        return ""


def _check(image: ImageKey, reference: Integers, candidate: Integers) -> None:
    if reference.shape != candidate.shape:
        raise StructureError(
            f"{image.name}: the reference has {reference.shape} labels and the candidate {candidate.shape}; "
            f"expected the same on both sides"
        )
    for side, labels in (("reference", reference), ("candidate", candidate)):
        if labels.size and not 0 <= labels.min() <= labels.max() < LABEL_LIMIT:
            raise StructureError(
                f"{image.name}: the {side} has labels from {labels.min()} to {labels.max()}; expected 0 to "
                f"{LABEL_LIMIT - 1}"
            )


def _count(reference: Integers, candidate: Integers) -> Integers:
    """Return (c, c) how often labels stand in one place: rows are the reference's, columns the candidate's."""
    size = int(max(reference.max(initial=0), candidate.max(initial=0))) + 1
    codes = reference.ravel() * size + candidate.ravel()
    return np.bincount(codes, minlength=size * size).reshape(size, size)


def _add(first: Integers, second: Integers) -> Integers:
    """Return the sum of two tables, the smaller one padded."""
    size = max(len(first), len(second))
    total = np.zeros((size, size), np.int64)
    total[: len(first), : len(first)] += first
    total[: len(second), : len(second)] += second
    return total


def _class_ious(table: Integers) -> NDArray[np.float64]:
    """Return (c,) the IoU of both sides' pixels of each class, NaN where neither side has any."""
    common = np.diag(table).astype(np.float64)
    either = table.sum(axis=0) + table.sum(axis=1) - common
    ious = np.full(len(table), np.nan)
    np.divide(common, either, out=ious, where=either > 0)
    return ious


def _image_agreement(seen: _Seen) -> ImageAgreement:
    agreement = 1.0 - seen.flips / seen.pixels if seen.pixels else 1.0
    counts = {"pixels": seen.pixels, "flipped": seen.flips, "flipped at boundaries": seen.boundary_flips}
    return ImageAgreement(seen.image.name, seen.image.feed, seen.image.row, agreement, counts)
