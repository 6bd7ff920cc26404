"""Detections of both sides on their image: boxes or turned boxes, masks, keypoints, names and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.overlay.canvas import BLACK, GREEN, SKY_BLUE, VERMILLION, WHITE, YELLOW
from parity.overlay.legend import Entry
from parity.overlay.lines import Stroke, cross, disc, draw_outline, draw_paths, filled_diamond, filled_square, ring
from parity.overlay.pairs import pair_up
from parity.overlay.tags import Tag, class_name, place_tags

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parity.decoded import Detections
    from parity.overlay.canvas import Canvas, Colour
    from parity.overlay.pairs import Pairing
    from parity.overlay.tags import Rectangle
    from parity.overlay.view import View

PAIR, MISSED, EXTRA, FLIP = WHITE, VERMILLION, SKY_BLUE, YELLOW
_QUIET, _LOUD = 1, 3
_TOLD_IOU = 0.9
"""A pair that overlaps less than this says by how much."""
_MAX_QUIET_TAGS = 40
_CORNER_RADIUS = 6
_CENTRE_RADIUS = 10, 24
"""The smallest and the largest mark in the middle of a box; picture pixels."""
_KEYPOINT_RADIUS = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What is drawn from: rows that are shown, and which belong together."""

    canvas: Canvas
    reference: Detections
    candidate: Detections
    pairing: Pairing
    view: View

    @property
    def is_flip(self) -> NDArray[np.bool_]:
        pairs = self.pairing.pairs
        return np.asarray(self.reference.classes[pairs[:, 0]] != self.candidate.classes[pairs[:, 1]])


def draw_detections(canvas: Canvas, reference: Detections, candidate: Detections, view: View) -> list[Entry]:
    """Draw what both sides show and return what the marks mean.

    Pairs are thin, the reference solid, the candidate dashed. What the candidate misses has filled squares at its
    corners, what it alone has is crossed out, a pair whose class flipped carries a diamond.
    """
    shown = _shown(reference, view.score_threshold), _shown(candidate, view.score_threshold)
    scene = _Scene(canvas, *shown, pair_up(*shown, view.match_iou), view)
    pairing, flips = scene.pairing, scene.is_flip
    for row in np.argsort(flips, kind="stable"):
        _draw_pair(scene, pairing.pairs[row], is_flip=bool(flips[row]))
    if view.side.has_reference:
        for row in pairing.missed:
            _draw_missed(scene, row)
    if view.side.has_candidate:
        for row in pairing.extra:
            _draw_extra(scene, row)
    tags = _tags(scene)
    untold = len(flips) - int(flips.sum()) - sum(not tag.needed for tag in tags)
    return _legend(scene, untold + place_tags(canvas, tags, _centre_marks(scene)))


def _shown(detections: Detections, score_threshold: float) -> Detections:
    """Return the rows that a user would see; boxes that are no boxes cannot be drawn."""
    rows = np.isfinite(detections.boxes).all(axis=1) & (detections.scores >= score_threshold)
    return detections.take(rows)


def _draw_pair(scene: _Scene, rows: NDArray[np.int64], *, is_flip: bool) -> None:
    reference, candidate = rows.tolist()
    colour, width = (FLIP, _LOUD) if is_flip else (PAIR, _QUIET)
    if scene.view.side.has_reference:
        _draw_shape(scene.canvas, scene.reference, reference, Stroke(colour, width))
        _draw_keypoints(scene.canvas, scene.reference, reference, GREEN, is_candidate=False)
    if scene.view.side.has_candidate:
        _draw_shape(scene.canvas, scene.candidate, candidate, Stroke(colour, width, is_dashed=True))
        _draw_keypoints(scene.canvas, scene.candidate, candidate, WHITE, is_candidate=True)
    if is_flip:
        filled_diamond(scene.canvas, *_middle(_corners(scene.canvas, scene.reference, reference)), FLIP)


def _draw_missed(scene: _Scene, row: int) -> None:
    _draw_shape(scene.canvas, scene.reference, row, Stroke(MISSED, _LOUD))
    _draw_keypoints(scene.canvas, scene.reference, row, MISSED, is_candidate=False)
    for corner in _corners(scene.canvas, scene.reference, row):
        filled_square(scene.canvas, corner[None], _CORNER_RADIUS, MISSED)


def _draw_extra(scene: _Scene, row: int) -> None:
    _draw_shape(scene.canvas, scene.candidate, row, Stroke(EXTRA, _LOUD, is_dashed=True))
    _draw_keypoints(scene.canvas, scene.candidate, row, EXTRA, is_candidate=True)
    cross(scene.canvas, *_middle(_corners(scene.canvas, scene.candidate, row)), EXTRA)


def _middle(corners: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Return where the middle of a shape is, (1, 2), and how large a mark there should be."""
    radius = int(np.clip(np.ptp(corners, axis=0).min() / 6, *_CENTRE_RADIUS))
    return corners.mean(axis=0, keepdims=True), radius


def _draw_shape(canvas: Canvas, detections: Detections, row: int, stroke: Stroke) -> None:
    """Draw a box, or its turned corners; with a mask, its contour too."""
    draw_outline(canvas, _corners(canvas, detections, row), stroke)
    if detections.masks is not None:
        draw_paths(canvas, _contours(canvas, detections.masks[row]), stroke)


def _corners(canvas: Canvas, detections: Detections, row: int) -> NDArray[np.float64]:
    """Return (4, 2) continuous picture pixels."""
    if detections.corners is not None and np.isfinite(detections.corners[row]).all():
        return canvas.place(detections.corners[row])
    x1, y1, x2, y2 = detections.boxes[row]
    return canvas.place([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])


def _contours(canvas: Canvas, mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Return the closed contours of a mask that covers the image, at its own resolution, in picture pixels."""
    import cv2

    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cell = np.array([canvas.width / mask.shape[1], canvas.height / mask.shape[0]])
    return [(np.concatenate([contour, contour[:1]]).reshape(-1, 2) + 0.5) * cell for contour in found]


def _draw_keypoints(canvas: Canvas, detections: Detections, row: int, colour: Colour, *, is_candidate: bool) -> None:
    if detections.keypoints is None:
        return
    keypoints = detections.keypoints[row]
    mark = ring if is_candidate else disc
    for point in canvas.place(keypoints[keypoints[:, 2] > 0, :2]):
        mark(canvas, point, _KEYPOINT_RADIUS, colour)


def _tags(scene: _Scene) -> list[Tag]:
    pairing, side = scene.pairing, scene.view.side
    tags = []
    if side.has_reference:
        tags += [_tag(scene, scene.reference, row, "missed ", MISSED) for row in pairing.missed]
    if side.has_candidate:
        tags += [_tag(scene, scene.candidate, row, "extra ", EXTRA) for row in pairing.extra]
    tags += [_pair_tag(scene, row, is_flip=True) for row in np.flatnonzero(scene.is_flip).tolist()]
    return tags + [_pair_tag(scene, row, is_flip=False) for row in _told_pairs(scene).tolist()]


def _centre_marks(scene: _Scene) -> list[Rectangle]:
    """Return where crosses and diamonds are, which no text is to hide."""
    pairing = scene.pairing
    shapes = [_corners(scene.canvas, scene.candidate, row) for row in pairing.extra]
    shapes += [_corners(scene.canvas, scene.reference, row) for row in pairing.pairs[scene.is_flip, 0]]
    centres = [(*np.rint(centre[0]).astype(int), radius) for centre, radius in map(_middle, shapes)]
    return [(int(x - radius), int(y - radius), int(x + radius), int(y + radius)) for x, y, radius in centres]


def _told_pairs(scene: _Scene) -> NDArray[np.int64]:
    """Return the pairs that are told if there is room: of many those that overlap least."""
    rows = np.flatnonzero(~scene.is_flip)
    return np.asarray(rows[np.argsort(scene.pairing.iou[rows], kind="stable")][:_MAX_QUIET_TAGS], np.int64)


def _tag(scene: _Scene, detections: Detections, row: int, word: str, colour: Colour) -> Tag:
    text = f"{word}{_told(scene, detections, row)}"
    return Tag(text, scene.canvas.place(detections.boxes[row]).reshape(4), colour)


def _pair_tag(scene: _Scene, row: int, *, is_flip: bool) -> Tag:
    box = scene.canvas.place(scene.reference.boxes[scene.pairing.pairs[row, 0]]).reshape(4)
    return Tag(_pair_text(scene, row, is_flip=is_flip), box, FLIP if is_flip else BLACK, needed=is_flip)


def _pair_text(scene: _Scene, row: int, *, is_flip: bool) -> str:
    reference, candidate = scene.pairing.pairs[row]
    if not scene.view.side.has_candidate:
        return _told(scene, scene.reference, reference)
    if not scene.view.side.has_reference:
        return _told(scene, scene.candidate, candidate)
    told = _told(scene, scene.reference, reference)
    if is_flip:
        return f"{told} -> {_told(scene, scene.candidate, candidate)}"
    iou = scene.pairing.iou[row]
    overlap = f", IoU {iou:.2f}" if iou < _TOLD_IOU else ""
    return f"{told} | {scene.candidate.scores[candidate]:.2f}{overlap}"


def _told(scene: _Scene, detections: Detections, row: int) -> str:
    return f"{class_name(scene.view.class_names, int(detections.classes[row]))} {detections.scores[row]:.2f}"


def _legend(scene: _Scene, left_out: int) -> list[Entry]:
    pairing, flips = scene.pairing, scene.is_flip
    entries = []
    if scene.view.side.has_reference:
        entries.append(Entry("reference", Stroke(PAIR)))
    if scene.view.side.has_candidate:
        entries.append(Entry("candidate", Stroke(PAIR, is_dashed=True)))
    entries.append(Entry(f"pairs {len(flips) - int(flips.sum())}: class, score of reference | candidate"))
    if scene.view.side.has_reference:
        entries.append(Entry(f"missed {len(pairing.missed)}", Stroke(MISSED, _LOUD), filled_square, MISSED))
    if scene.view.side.has_candidate:
        entries.append(Entry(f"extra {len(pairing.extra)}", Stroke(EXTRA, _LOUD, is_dashed=True), cross, EXTRA))
    entries.append(Entry(f"class flip {int(flips.sum())}", Stroke(FLIP, _LOUD), filled_diamond, FLIP))
    if left_out:
        entries.append(Entry(f"{left_out} names left out for room"))
    return entries
