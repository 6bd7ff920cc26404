"""How far two lane detectors agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.agreement import ClassAgreement, Finding, ImageAgreement
from parity.decoded import Task
from parity.detect.figures import figures_of
from parity.detect.protocol import Measured
from parity.detect.wording import add_flaws, least_agreeing, share, squash, worst_findings
from parity.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from parity.decoded import Lanes
    from parity.detect.protocol import ImageKey, Truth

    Booleans = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Values = dict[str, float | None]

# One lane that is gone is a miss like others.
_FEWEST_GONE = 2
_SIDES = ("reference", "candidate")


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What was seen of one image.

    Attributes
    ----------
    reference, candidate
        (lanes, anchors) whether there is a point.
    points
        (2, lanes, anchors, 2) of both sides.
    shifts
        (lanes, anchors) pixels between both sides' points, NaN where a side has none.
    attributes
        (2, kinds, lanes) the classes of both sides.
    """

    image: ImageKey
    reference: Booleans
    candidate: Booleans
    points: Floats
    shifts: Floats
    attributes: NDArray[np.int64]

    @property
    def on_both(self) -> Booleans:
        """Return (lanes,) whether a lane has a point on both sides."""
        return _is_there(self.reference) & _is_there(self.candidate)

    @property
    def on_either(self) -> Booleans:
        """Return (lanes,) whether a lane has a point on a side."""
        return _is_there(self.reference | self.candidate)

    @property
    def same_attributes(self) -> Booleans:
        """Return (kinds, lanes) whether both sides say the same class."""
        same: Booleans = self.attributes[0] == self.attributes[1]
        return same


class LaneAgreement:
    """Measures how far two lane detectors agree; see ``parity.detect.protocol.Agreement``.

    Lanes are compared by their number: a detector on row anchors gives each lane its place. Truth is not looked at.

    Parameters
    ----------
    moved
        From how many pixels on a moved lane is told of.
    """

    def __init__(self, *, moved: float = 1.0) -> None:
        self._moved = moved
        self._seen: list[_Seen] = []
        self._flaws: dict[str, int] = {}
        self._varies = False
        self._first: Floats | None = None

    def update(self, image: ImageKey, reference: Lanes, candidate: Lanes, truth: Truth | None = None) -> None:  # noqa: ARG002 - the protocol's; no annotations of lanes are read
        """Take one image.

        Raises
        ------
        StructureError
            The sides have different lanes, anchors or kinds of attributes.
        """
        _check(image, reference, candidate)
        add_flaws(self._flaws, "reference", reference.flaws)
        add_flaws(self._flaws, "candidate", candidate.flaws)
        if self._first is None:
            self._first = reference.points
        self._varies = self._varies or not np.array_equal(self._first, reference.points, equal_nan=True)
        self._seen.append(
            _Seen(
                image,
                _present(reference.points),
                _present(candidate.points),
                np.stack([reference.points, candidate.points]),
                np.linalg.norm(candidate.points - reference.points, axis=2),
                np.stack([reference.attributes, candidate.attributes]),
            )
        )

    def result(self) -> Measured:
        """Return what was measured over all images."""
        return Measured(
            figures=figures_of(Task.LANES, {**self._point_figures(), **self._shift_figures(), **self._lane_figures()}),
            findings=worst_findings(found for seen in self._seen for found in self._findings(seen)),
            images=least_agreeing(map(_image_agreement, self._seen)),
            classes=self._lane_rows(),
            degenerate=self._degenerate(),
            flaws=dict(self._flaws),
        )

    def _point_figures(self) -> Values:
        reference = _join([seen.reference for seen in self._seen])
        candidate = _join([seen.candidate for seen in self._seen])
        expected, found, common = int(reference.sum()), int(candidate.sum()), int((reference & candidate).sum())
        return {
            "image_count": len(self._seen),
            "reference_point_count": expected,
            "candidate_point_count": found,
            "point_agreement": share(int((reference == candidate).sum()), reference.size),
            "missed_point_share": share(expected - common, expected),
            "extra_point_share": share(found - common, found),
        }

    def _one_sided_count(self) -> int:
        """Return in how many images a side has two lanes or more, and the other none."""
        sides = ((int(_is_there(seen.reference).sum()), int(_is_there(seen.candidate).sum())) for seen in self._seen)
        return sum(min(counts) == 0 and max(counts) >= _FEWEST_GONE for counts in sides)

    def _shift_figures(self) -> Values:
        shifts = np.concatenate([np.empty(0), *(seen.shifts[seen.reference & seen.candidate] for seen in self._seen)])
        if not shifts.size:
            return {}
        p50, p99, largest = np.quantile(shifts, [0.5, 0.99, 1.0]).tolist()
        return {"point_shift_p50": p50, "point_shift_p99": p99, "point_shift_max": largest}

    def _lane_figures(self) -> Values:
        both, either = _join([seen.on_both for seen in self._seen]), _join([seen.on_either for seen in self._seen])
        same = _join([seen.same_attributes[:, seen.on_both] for seen in self._seen])
        return {
            "lane_agreement": share(int(both.sum()), int(either.sum())),
            "one_sided_image_count": self._one_sided_count(),
            "attribute_agreement": share(int(same.sum()), same.size),
        }

    def _findings(self, seen: _Seen) -> Iterator[Finding]:
        for lane in np.flatnonzero(seen.on_either).tolist():
            yield from _presence(seen, lane)
            yield from self._movement(seen, lane)
            yield from _attributes(seen, lane)

    def _movement(self, seen: _Seen, lane: int) -> Iterator[Finding]:
        shifts = np.where(seen.reference[lane] & seen.candidate[lane], seen.shifts[lane], 0.0)
        anchor = int(np.argmax(shifts))
        largest = float(shifts[anchor])
        if not largest or largest < self._moved:
            return
        (x, y), (new_x, new_y) = seen.points[0, lane, anchor], seen.points[1, lane, anchor]
        text = (
            f"{seen.image.name}: lane {lane} moved by up to {largest:.2f} px, "
            f"at anchor {anchor} from ({x:.1f}, {y:.1f}) to ({new_x:.1f}, {new_y:.1f})"
        )
        yield Finding("lane moved", seen.image.name, text, severity=squash(largest))

    def _lane_rows(self) -> tuple[ClassAgreement, ...]:
        lanes = max((len(seen.reference) for seen in self._seen), default=0)
        return tuple(_lane_row(number, self._seen) for number in range(lanes))

    def _degenerate(self) -> str:
        if not self._seen:
            return "No image was compared."
        if not any(seen.on_either.any() for seen in self._seen):
            return "No lane is in any image, on either side: agreement on nothing shows nothing."
        if len(self._seen) > 1 and not self._varies:
            return "The reference gives the same lanes for every image: give images that differ."
        return ""


def _check(image: ImageKey, reference: Lanes, candidate: Lanes) -> None:
    points, attributes = reference.points.shape, reference.attributes.shape
    if points != candidate.points.shape or attributes != candidate.attributes.shape:
        raise StructureError(
            f"{image.name}: the reference has points {points} and attributes {attributes}, the candidate "
            f"{candidate.points.shape} and {candidate.attributes.shape}; expected the same on both sides"
        )


def _presence(seen: _Seen, lane: int) -> Iterator[Finding]:
    """Tell of points, or of the whole lane, that one side alone has."""
    reference, candidate = seen.reference[lane], seen.candidate[lane]
    name, expected, found = seen.image.name, int(reference.sum()), int(candidate.sum())
    common = int((reference & candidate).sum())
    if not found:
        yield Finding("missed lane", name, f"{name}: lane {lane} is missed, with {expected} points", severity=5.0)
    elif not expected:
        yield Finding("extra lane", name, f"{name}: lane {lane} is extra, with {found} points", severity=4.0)
    elif lost := expected + found - 2 * common:
        text = f"{name}: lane {lane} has {expected - common} of {expected} points missed and {found - common} extra"
        yield Finding("lane point", name, text, severity=1.0 + squash(lost))


def _attributes(seen: _Seen, lane: int) -> Iterator[Finding]:
    if not seen.on_both[lane]:
        return
    for kind in np.flatnonzero(~seen.same_attributes[:, lane]).tolist():
        old, new = seen.attributes[:, kind, lane]
        text = f"{seen.image.name}: lane {lane} has attribute {kind} of class {old} on the reference and {new} now"
        yield Finding("lane attribute", seen.image.name, text, severity=3.0)


def _lane_row(number: int, seen: list[_Seen]) -> ClassAgreement:
    """Return the figures of the lane of one number."""
    rows = [one for one in seen if number < len(one.reference)]
    reference, candidate = (np.concatenate([getattr(one, side)[number] for one in rows]) for side in _SIDES)
    shifts = np.concatenate([one.shifts[number][one.reference[number] & one.candidate[number]] for one in rows])
    return ClassAgreement(
        f"lane {number}",
        {
            "reference_point_count": int(reference.sum()),
            "candidate_point_count": int(candidate.sum()),
            "point_agreement": share(int((reference == candidate).sum()), reference.size),
            "point_shift_max": float(shifts.max()) if shifts.size else None,
        },
    )


def _image_agreement(seen: _Seen) -> ImageAgreement:
    """Return the share of points on both sides, of those on either, less what they moved and what lanes are now."""
    both, either = int((seen.reference & seen.candidate).sum()), int((seen.reference | seen.candidate).sum())
    shifts = seen.shifts[seen.reference & seen.candidate]
    closeness = 1.0 / (1.0 + float(shifts.max())) if shifts.size else 1.0
    attributes = seen.same_attributes[:, seen.on_both]
    kept = float(attributes.mean()) if attributes.size else 1.0
    counts = {
        "reference": int(seen.reference.sum()),
        "candidate": int(seen.candidate.sum()),
        "missed": int((seen.reference & ~seen.candidate).sum()),
        "extra": int((seen.candidate & ~seen.reference).sum()),
    }
    present = both / either if either else 1.0
    return ImageAgreement(
        seen.image.name, seen.image.feed, seen.image.row, present * (1.0 + closeness + kept) / 3.0, counts
    )


def _is_there(points: Booleans) -> Booleans:
    """Return (lanes,) whether a lane has a point."""
    found: Booleans = np.any(points, axis=1)
    return found


def _present(points: Floats) -> Booleans:
    """Return (lanes, anchors) whether there is a point."""
    finite = np.isfinite(points)
    return finite[..., 0] & finite[..., 1]


def _join(parts: list[Booleans]) -> Booleans:
    return np.concatenate([np.empty(0, np.bool_), *(part.ravel() for part in parts)])
