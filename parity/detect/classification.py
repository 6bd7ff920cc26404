"""How far two classifiers agree."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from parity.agreement import ClassAgreement, Finding, ImageAgreement
from parity.decoded import Task
from parity.detect.bootstrap import share_interval
from parity.detect.figures import figures_of
from parity.detect.protocol import Measured
from parity.detect.wording import add_flaws, class_name, least_agreeing, share, squash, worst_findings
from parity.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from parity.decoded import Classification
    from parity.detect.protocol import ImageKey, Truth

    Floats = NDArray[np.float64]
    Values = dict[str, float | None]

_SHOWN = 5
"""How many classes are the top ones."""
_SEED = 0
# One or two images may be hard.
_FEWEST_TRUE = 3


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was seen of one image.

    ``first`` and ``candidate_first`` are each side's first class, -1 where its scores are not all finite; ``score`` and
    ``candidate_score`` are theirs. ``margin`` is the reference's first score less its second. ``shift`` is the largest
    difference of a score, ``bias`` that of the reference's first class, candidate less reference; these three are NaN
    where a side is not finite. ``truth`` is -1 where it is not known.
    """

    image: ImageKey
    first: int
    candidate_first: int
    score: float
    candidate_score: float
    margin: float
    shift: float
    bias: float
    top_share: float
    truth: int

    @property
    def is_flip(self) -> bool:
        return self.first != self.candidate_first or self.first < 0


class ClassificationAgreement:
    """Measures how far two classifiers agree; see ``parity.detect.protocol.Agreement``.

    Score differences are those of each image's class that moved the most: among a thousand classes most scores are
    near 0 on both sides, and would hide it.

    Parameters
    ----------
    class_names
        May be empty.
    small_margin
        Up to which margin of the reference, in units of the scores, a flip is reported apart.
    """

    def __init__(self, class_names: Sequence[str] = (), *, small_margin: float = 0.02) -> None:
        self._names = class_names
        self._small_margin = small_margin
        self._seen: list[_Seen] = []
        self._flaws: dict[str, int] = {}
        self._class_count: int | None = None
        self._varies = False
        self._previous: Floats | None = None

    def update(
        self, image: ImageKey, reference: Classification, candidate: Classification, truth: Truth | None = None
    ) -> None:
        """Take one image.

        Raises
        ------
        StructureError
            The sides have different numbers of classes, or others than the image before.
        """
        self._check(image, reference.scores, candidate.scores)
        add_flaws(self._flaws, "reference", reference.flaws)
        add_flaws(self._flaws, "candidate", candidate.flaws)
        if self._previous is not None and not np.array_equal(self._previous, reference.scores, equal_nan=True):
            self._varies = True
        self._previous = reference.scores
        known = -1 if truth is None or not len(truth.classes) else int(truth.classes[0])
        self._seen.append(_look(image, reference.scores, candidate.scores, known))

    def result(self) -> Measured:
        """Return what was measured over all images."""
        return Measured(
            figures=figures_of(
                Task.CLASSIFICATION,
                {**self._agreement_figures(), **self._score_figures(), **self._accuracy_figures()},
            ),
            findings=worst_findings(found for seen in self._seen if (found := self._finding(seen))),
            images=least_agreeing(_image_agreement(seen) for seen in self._seen),
            classes=tuple(self._class_rows()),
            degenerate=self._degenerate(),
            flaws=dict(self._flaws),
            notes=tuple(self._notes()),
        )

    def _check(self, image: ImageKey, reference: Floats, candidate: Floats) -> None:
        expected = len(reference) if self._class_count is None else self._class_count
        if not len(reference) == len(candidate) == expected or not expected:
            raise StructureError(
                f"{image.name}: the reference has {len(reference)} classes and the candidate {len(candidate)}; "
                f"expected {expected or 'one or more'} on both sides of all images"
            )
        self._class_count = expected

    def _is_small(self, seen: _Seen) -> bool:
        return seen.margin <= self._small_margin

    def _agreement_figures(self) -> Values:
        count = len(self._seen)
        flips = [seen for seen in self._seen if seen.is_flip]
        small = sum(map(self._is_small, flips))
        top = [seen.top_share for seen in self._seen] if (self._class_count or 0) > _SHOWN else []
        return {
            "image_count": count,
            "top1_agreement": share(count - len(flips), count),
            "top5_agreement": share(sum(top), len(top)),
            "flip_share": share(len(flips) - small, count),
            "small_margin_flip_share": share(small, count),
            "small_margin_share": share(sum(map(self._is_small, self._seen)), count),
        }

    def _score_figures(self) -> Values:
        margins, shifts, biases = (
            _finite([getattr(seen, name) for seen in self._seen]) for name in ("margin", "shift", "bias")
        )
        if not shifts.size:
            return {}
        return {
            "margin_p5": float(np.quantile(margins, 0.05)),
            "score_difference_mean": float(shifts.mean()),
            "score_difference_p99": float(np.quantile(shifts, 0.99)),
            "score_difference_max": float(shifts.max()),
            "score_bias": float(biases.mean()),
        }

    def _accuracy_figures(self) -> Values:
        known = [seen for seen in self._seen if seen.truth >= 0]
        reference = np.array([seen.first == seen.truth for seen in known], np.bool_)
        candidate = np.array([seen.candidate_first == seen.truth for seen in known], np.bool_)
        interval = share_interval(reference, candidate, seed=_SEED)
        if interval is None:
            return {}
        return {
            "accuracy_reference": float(reference.mean()),
            "accuracy_candidate": float(candidate.mean()),
            "accuracy_drop": float(reference.mean() - candidate.mean()),
            "accuracy_drop_low": interval[0],
            "accuracy_drop_high": interval[1],
        }

    def _finding(self, seen: _Seen) -> Finding | None:
        """Return what is to be told of an image; None where its scores moved by no more than a small margin."""
        name = seen.image.name
        first, second = self._name(seen.first), self._name(seen.candidate_first)
        if np.isnan(seen.shift):
            text = f"{name}: scores are not all finite; the reference's top-1 is {first!r}, the candidate's {second!r}"
            return Finding("non-finite score", name, text, severity=3.0)
        if seen.is_flip:
            small = self._is_small(seen)
            was = f"top-1 {first!r} ({seen.score:.2f}, margin {seen.margin:.2f})"
            text = f"{name}: {was} became {second!r} ({seen.candidate_score:.2f})"
            kind = "small-margin flip" if small else "top-1 flip"
            return Finding(kind, name, text, severity=(1.0 if small else 2.0) + squash(seen.margin))
        if seen.shift <= self._small_margin:
            return None
        moved = f"top-1 {first!r} keeps its place, its score goes from {seen.score:.3f} to {seen.candidate_score:.3f}"
        text = f"{name}: {moved}; the score that moved most moved by {seen.shift:.3f}"
        return Finding("score", name, text, severity=squash(seen.shift))

    def _name(self, number: int) -> str:
        return class_name(self._names, number) if number >= 0 else "none"

    def _class_rows(self) -> Iterator[ClassAgreement]:
        by_class = sorted(self._seen, key=lambda seen: seen.first)
        for number, group in groupby(by_class, key=lambda seen: seen.first):
            rows = list(group)
            biases = _finite([seen.bias for seen in rows])
            yield ClassAgreement(
                self._name(number),
                {
                    "image_count": len(rows),
                    "top1_agreement": share(sum(not seen.is_flip for seen in rows), len(rows)),
                    "score_difference_max": float(np.nanmax([seen.shift for seen in rows])) if biases.size else None,
                    "score_bias": float(biases.mean()) if biases.size else None,
                },
            )

    def _degenerate(self) -> str:
        if not self._seen:
            return "No image was compared."
        if self._class_count == 1:
            return "There is one class: it is the first on both sides whatever the model computes."
        if all(np.isnan(seen.margin) for seen in self._seen):
            return "The scores of no image are finite on both sides."
        if not any(seen.margin > 0 for seen in self._seen):
            return "In every image the reference's first two scores are equal: its first class means nothing."
        if len(self._seen) > 1 and not self._varies:
            return "The reference gives the same scores for every image: give images that differ."
        return self._useless_truth()

    def _useless_truth(self) -> str:
        known = [seen for seen in self._seen if seen.truth >= 0]
        if len(known) < _FEWEST_TRUE or any(seen.first == seen.truth for seen in known):
            return ""
        return (
            f"The reference itself is right in none of {len(known)} annotated images: a drop from there shows nothing; "
            f"look whether the annotations number classes as the model does."
        )

    def _notes(self) -> Iterator[str]:
        firsts = {seen.first for seen in self._seen}
        if len(self._seen) > 1 and len(firsts) == 1:
            yield f"The reference puts {self._name(firsts.pop())!r} first in all {len(self._seen)} images."
        known = sum(seen.truth >= 0 for seen in self._seen)
        if 0 < known < len(self._seen):
            yield f"Accuracy is that of the {known} of {len(self._seen)} images that have an annotation."


def _look(image: ImageKey, reference: Floats, candidate: Floats, truth: int) -> _Seen:
    """Return what both sides say of one image."""
    first, second = _first(reference), _first(candidate)
    finite = first >= 0 and second >= 0
    moved = candidate - reference if finite else np.full(1, np.nan)
    shown = _top(reference) & _top(candidate) if finite else set()
    return _Seen(
        image=image,
        first=first,
        candidate_first=second,
        score=float(reference[first]),
        candidate_score=float(candidate[second]),
        margin=_margin(reference) if finite else np.nan,
        shift=float(np.abs(moved).max()),
        bias=float(moved[first]) if finite else np.nan,
        top_share=len(shown) / min(_SHOWN, len(reference)),
        truth=truth,
    )


def _first(scores: Floats) -> int:
    """Return the class with the highest score, -1 where a score is not finite."""
    return int(np.argmax(scores)) if np.isfinite(scores).all() else -1


def _top(scores: Floats) -> set[int]:
    return set(map(int, np.argsort(-scores, kind="stable")[:_SHOWN]))


def _margin(scores: Floats) -> float:
    if len(scores) == 1:
        return 0.0
    second, first = np.partition(scores, -2)[-2:]
    return float(first - second)


def _finite(values: Sequence[float]) -> Floats:
    array = np.array(values, np.float64)
    return array[np.isfinite(array)]


def _image_agreement(seen: _Seen) -> ImageAgreement:
    closeness = 0.0 if np.isnan(seen.shift) else 1.0 / (1.0 + seen.shift)
    # A flip is worse than any score that moved without one.
    agreement = closeness / 2 if seen.is_flip else (1.0 + closeness) / 2
    return ImageAgreement(
        seen.image.name, seen.image.feed, seen.image.row, agreement, {"top-1 flip": int(seen.is_flip)}
    )
