"""What is not the same on both sides, detection by detection, in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.agreement import BoxRecord, Finding
from parity.detect.detection_observe import State
from parity.detect.wording import class_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from parity.detect.detection_observe import DetectionOptions, PairRows
    from parity.detect.detection_tally import SideTally, Tally
    from parity.detect.protocol import ImageKey

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Kind:
    """Findings of one kind, not yet put into words.

    Attributes
    ----------
    severities
        (n,) of each.
    rows
        (n,) what ``tell`` is called with.
    """

    name: str
    rows: Integers
    severities: Floats
    tell: Callable[[int], _Told]


@dataclass(frozen=True, slots=True)
class _Told:
    """A finding in words: rows of each side that it shows, -1 for none, and what comes behind the image's name."""

    reference: int
    candidate: int
    text: str


class DetectionFindings:
    """Puts into words what is not the same, of the worst ones only: there may be one for each detection."""

    def __init__(self, tally: Tally, options: DetectionOptions, images: Sequence[ImageKey]) -> None:
        self._tally = tally
        self._options = options
        self._images = images
        self._absent = tally.absent_rows
        self._gone = self._missing_whole()
        self._kinds = self._all_kinds()

    def counts(self) -> dict[str, int]:
        """Return how many findings there are of each kind."""
        counts = dict(Counter(finding.kind for finding in self._gone))
        for kind in self._kinds:
            if len(kind.rows):
                counts[kind.name] = counts.get(kind.name, 0) + len(kind.rows)
        return counts

    def worst(self) -> tuple[Finding, ...]:
        """Return the worst findings, worst first; of equals by kind, then in the order of the images."""
        severities = np.concatenate([kind.severities for kind in self._kinds])
        which = np.repeat(np.arange(len(self._kinds)), [len(kind.rows) for kind in self._kinds])
        rows = np.concatenate([kind.rows for kind in self._kinds])
        order = np.argsort(-severities, kind="stable")[: self._options.max_findings]
        told = (self._finding(self._kinds[which[at]], int(rows[at]), float(severities[at])) for at in order)
        return (*self._gone, *told)[: self._options.max_findings]

    def _missing_whole(self) -> tuple[Finding, ...]:
        """Return what is missing whole, which says more than what is missing of it."""
        empty = self._one_sided()
        return empty or (*self._lost_classes(), *self._one_sided_images())

    def _lost_classes(self) -> Iterator[Finding]:
        rows = self._tally.reference.rows
        for number in self._tally.lost_classes.tolist():
            name, count = class_name(self._options.class_names, number), int(np.count_nonzero(rows.classes == number))
            told = f"the candidate has none of the reference's {count} detections of {name!r}"
            yield Finding("lost class", "all images", f"all {self._tally.image_count} images: {told}", severity=5.0)

    def _one_sided_images(self) -> Iterator[Finding]:
        count = self._tally.image_count
        sides = {"reference": self._tally.reference, "candidate": self._tally.candidate}
        shown = {name: np.bincount(side.images, minlength=count) for name, side in sides.items()}
        for number in self._tally.one_sided_images.tolist():
            image = self._images[number].name
            empty, other = sorted(shown, key=lambda name: int(shown[name][number]))
            told = f"the {empty} shows nothing, the {other} {shown[other][number]} detections"
            yield Finding("one-sided image", image, f"{image}: {told}", severity=4.0)

    def _one_sided(self) -> tuple[Finding, ...]:
        counts = {"reference": len(self._tally.reference), "candidate": len(self._tally.candidate)}
        empty = [name for name, count in counts.items() if not count]
        if len(empty) != 1:
            return ()
        other = "candidate" if empty[0] == "reference" else "reference"
        told = f"the {empty[0]} shows nothing in any image, the {other} {counts[other]} detections"
        return (Finding("empty", "all images", f"all {self._tally.image_count} images: {told}", severity=10.0),)

    def _all_kinds(self) -> tuple[_Kind, ...]:
        reference, candidate = self._tally.reference, self._tally.candidate
        same, flips = self._tally.same, self._tally.flips
        scores, other_scores = reference.rows.scores, candidate.rows.scores
        missed, extra, duplicates = (
            reference.having(State.ALONE),
            candidate.having(State.ALONE),
            candidate.having(State.DUPLICATE),
        )
        absent = np.isin(extra, self._absent)
        limits = self._options.told
        moved = (same.ious < limits.iou) | (same.shifts > limits.shift)
        changed = np.abs(same.score_steps) > limits.score_step
        strength = np.maximum(scores[same.reference], other_scores[same.candidate])
        flip_strength = np.maximum(scores[flips.reference], other_scores[flips.candidate])
        near, other_near = reference.having(State.BORDERLINE), candidate.having(State.BORDERLINE)
        return (
            _Kind("missed", missed, 1.0 + scores[missed], self._missed),
            _Kind("extra", extra, 1.0 + other_scores[extra] + absent, self._extra),
            _Kind("class flip", np.arange(len(flips.ious)), 1.0 + flip_strength, self._flip),
            _Kind("duplicate", duplicates, 0.5 + 0.5 * other_scores[duplicates], self._duplicate),
            _Kind("moved", np.flatnonzero(moved), ((1.0 - same.ious) * strength)[moved], self._moved),
            _Kind("score", np.flatnonzero(changed), np.abs(same.score_steps)[changed], self._score),
            _Kind("borderline", near, 0.01 * scores[near], self._borderline),
            _Kind("borderline", other_near, 0.01 * other_scores[other_near], self._other_borderline),
        )

    def _finding(self, kind: _Kind, row: int, severity: float) -> Finding:
        told = kind.tell(row)
        reference, candidate = self._tally.reference, self._tally.candidate
        number = reference.images[told.reference] if told.reference >= 0 else candidate.images[told.candidate]
        image = self._images[number].name
        return Finding(
            kind=kind.name,
            image=image,
            text=f"{image}: {told.text}",
            severity=severity,
            reference=self._record(reference, told.reference),
            candidate=self._record(candidate, told.candidate),
        )

    def _missed(self, row: int) -> _Told:
        side = self._tally.reference
        return _Told(row, -1, f"missed {self._shown(side, row)}; {self._instead(side, row, 'candidate')}")

    def _extra(self, row: int) -> _Told:
        side = self._tally.candidate
        if row in self._absent:
            instead = f"the reference shows {self._name(side, row)!r} in no image"
        else:
            instead = self._instead(side, row, "reference")
        return _Told(-1, row, f"extra {self._shown(side, row)}; {instead}")

    def _duplicate(self, row: int) -> _Told:
        on = int(self._tally.candidate.rows.lies_on[row])
        shown = self._shown(self._tally.candidate, row)
        return _Told(
            on, row, f"duplicate {shown}; its object {self._shown(self._tally.reference, on)} has a partner already"
        )

    def _flip(self, pair: int) -> _Told:
        row, other, iou = _pair(self._tally.flips, pair)
        second = self._tally.candidate
        became = f"became {self._name(second, other)!r} {second.rows.scores[other]:.3g}"
        return _Told(row, other, f"class flip: {self._shown(self._tally.reference, row)} {became} (IoU {iou:.2f})")

    def _moved(self, pair: int) -> _Told:
        row, other, iou = _pair(self._tally.same, pair)
        moved = f"moved by {self._tally.same.shifts[pair]:.3g} px (IoU {iou:.2f})"
        to = _coordinates(self._tally.candidate, other)
        return _Told(row, other, f"{self._shown(self._tally.reference, row)} {moved} to {to}")

    def _score(self, pair: int) -> _Told:
        row, other, _ = _pair(self._tally.same, pair)
        first, second = self._tally.reference, self._tally.candidate
        became = f"score {first.rows.scores[row]:.3g} became {second.rows.scores[other]:.3g}"
        return _Told(row, other, f"{self._name(first, row)!r} at {_coordinates(first, row)}: {became}")

    def _borderline(self, row: int) -> _Told:
        return _Told(row, -1, self._near(self._tally.reference, row, "reference"))

    def _other_borderline(self, row: int) -> _Told:
        return _Told(-1, row, self._near(self._tally.candidate, row, "candidate"))

    def _near(self, side: SideTally, row: int, name: str) -> str:
        gap, limit = abs(side.rows.scores[row] - self._options.score_threshold), self._tally.score_delta
        if gap < limit:
            why = f"its score is {gap:.2g} from the threshold of {self._options.score_threshold:g}"
        else:
            why = f"an IoU of it is {side.rows.nms_gaps[row]:.2g} from NMS's threshold of {self._options.nms_iou:g}"
        return f"borderline {self._shown(side, row)} is the {name}'s alone; {why}"

    def _instead(self, side: SideTally, row: int, other: str) -> str:
        weak = side.rows.weak_scores[row]
        if np.isnan(weak):
            return f"the {other} has nothing there"
        return f"the {other} has it with {weak:.3g}, under the threshold of {self._options.score_threshold:g}"

    def _shown(self, side: SideTally, row: int) -> str:
        return f"{self._name(side, row)!r} {side.rows.scores[row]:.3g} at {_coordinates(side, row)}"

    def _name(self, side: SideTally, row: int) -> str:
        return class_name(self._options.class_names, int(side.rows.classes[row]))

    def _record(self, side: SideTally, row: int) -> BoxRecord | None:
        if row < 0:
            return None
        left, top, right, bottom = side.rows.boxes[row].tolist()
        return BoxRecord((left, top, right, bottom), float(side.rows.scores[row]), self._name(side, row))


def _pair(pairs: PairRows, pair: int) -> tuple[int, int, float]:
    return int(pairs.reference[pair]), int(pairs.candidate[pair]), float(pairs.ious[pair])


def _coordinates(side: SideTally, row: int) -> str:
    return f"[{' '.join(f'{value:.1f}' for value in side.rows.boxes[row])}]"
