"""Detections of both sides on their image: boxes or turned boxes, masks, keypoints, names and scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from parity.detect.matching import match
from parity.overlay.canvas import BLACK, GREEN, MAX_COORDINATE, SKY_BLUE, VERMILLION, WHITE, YELLOW
from parity.overlay.legend import Entry
from parity.overlay.lines import Stroke, cross, disc, draw_outline, draw_paths, filled_diamond, filled_square, ring
from parity.overlay.masks import contours, find_frame
from parity.overlay.tags import Tag, class_name, place_tags
from parity.overlay.view import Side

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parity.decoded import Detections
    from parity.detect.matching import Matches
    from parity.overlay.canvas import Canvas, Colour
    from parity.overlay.masks import Frame
    from parity.overlay.tags import Rectangle
    from parity.overlay.view import View

PAIR, MISSED, EXTRA, FLIP = WHITE, VERMILLION, SKY_BLUE, YELLOW
_QUIET, _LOUD = 1, 3
_TOLD_IOU = 0.9
"""A pair that overlaps less than this says by how much."""
_PAIR_WORDS = ": class, score of reference | candidate"
_MAX_QUIET_TAGS = 40
# The smallest and the largest mark at the corners and in the middle of a box, in picture pixels.
_CORNER_RADIUS = 3, 6
_CENTRE_RADIUS = 5, 24
_KEYPOINT_RADIUS = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What is drawn from: rows that are shown, and which belong together."""

    canvas: Canvas
    reference: Detections
    candidate: Detections
    matches: Matches
    view: View
    frame: Frame | None


def draw_detections(canvas: Canvas, reference: Detections, candidate: Detections, view: View) -> list[Entry]:
    """Draw what both sides show and return what the marks mean.

    Pairs are thin, the reference solid, the candidate dashed. What the candidate misses has filled squares at its
    corners, what it alone has is crossed out, a pair whose class flipped carries a diamond.
    """
    shown = _shown(reference, view.score_threshold), _shown(candidate, view.score_threshold)
    scene = _Scene(canvas, *shown, match(*shown, iou=view.match_iou), view, _frame(canvas, *shown))
    matches = scene.matches
    for row in range(len(matches.ious)):
        _draw_pair(scene, row)
    if view.side.has_reference:
        for row in matches.missed:
            _draw_missed(scene, row)
    if view.side.has_candidate:
        for row in matches.extra:
            _draw_extra(scene, row)
    tags = _tags(scene)
    untold = np.count_nonzero(~matches.is_flip) - sum(not tag.needed for tag in tags)
    return _legend(scene, int(untold) + place_tags(canvas, tags, _centre_marks(scene)))


def _shown(detections: Detections, score_threshold: float) -> Detections:
    """Return the rows that a user would see; boxes that are no boxes cannot be drawn."""
    rows = np.isfinite(detections.boxes).all(axis=1) & (detections.scores >= score_threshold)
    kept = detections.take(rows)
    return replace(kept, boxes=np.clip(kept.boxes, -MAX_COORDINATE, MAX_COORDINATE))


def _draw_pair(scene: _Scene, pair: int) -> None:
    reference, candidate = int(scene.matches.reference[pair]), int(scene.matches.candidate[pair])
    is_flip = bool(scene.matches.is_flip[pair])
    colour, width = (FLIP, _LOUD) if is_flip else (PAIR, _QUIET)
    if scene.view.side.has_reference:
        _draw_shape(scene, scene.reference, reference, Stroke(colour, width))
        _draw_keypoints(scene.canvas, scene.reference, reference, GREEN, is_candidate=False)
    if scene.view.side.has_candidate:
        _draw_shape(scene, scene.candidate, candidate, Stroke(colour, width, is_dashed=True))
        _draw_keypoints(scene.canvas, scene.candidate, candidate, WHITE, is_candidate=True)
    if is_flip:
        filled_diamond(scene.canvas, *_middle(_corners(scene.canvas, scene.reference, reference)), FLIP)


def _draw_missed(scene: _Scene, row: int) -> None:
    _draw_shape(scene, scene.reference, row, Stroke(MISSED, _LOUD))
    _draw_keypoints(scene.canvas, scene.reference, row, MISSED, is_candidate=False)
    corners = _corners(scene.canvas, scene.reference, row)
    radius = _radius(corners, 6, _CORNER_RADIUS)
    for corner in corners:
        filled_square(scene.canvas, corner[None], radius, MISSED)


def _draw_extra(scene: _Scene, row: int) -> None:
    _draw_shape(scene, scene.candidate, row, Stroke(EXTRA, _LOUD, is_dashed=True))
    _draw_keypoints(scene.canvas, scene.candidate, row, EXTRA, is_candidate=True)
    cross(scene.canvas, *_middle(_corners(scene.canvas, scene.candidate, row)), EXTRA)


def _middle(corners: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Return where the middle of a shape is, (1, 2), and how large a mark there should be."""
    return corners.mean(axis=0, keepdims=True), _radius(corners, 5, _CENTRE_RADIUS)


def _radius(corners: NDArray[np.float64], part: int, bounds: tuple[int, int]) -> int:
    """Return how large a mark is: a part of the shorter side of its shape, within bounds."""
    return int(np.clip(np.ptp(corners, axis=0).min() / part, *bounds))


def _draw_shape(scene: _Scene, detections: Detections, row: int, stroke: Stroke) -> None:
    """Draw a box, or its turned corners; with a mask, its contours too."""
    canvas = scene.canvas
    draw_outline(canvas, _corners(canvas, detections, row), stroke)
    if detections.masks is not None and scene.frame is not None:
        draw_paths(canvas, [canvas.place(path) for path in contours(detections.masks[row], scene.frame)], stroke)


def _frame(canvas: Canvas, reference: Detections, candidate: Detections) -> Frame | None:
    """Return the frame of the masks, by the reference's, which are the candidate's too."""
    size = np.array([canvas.width, canvas.height]) / canvas.scale
    with_masks = (side for side in (reference, candidate) if side.masks is not None and len(side))
    return next((find_frame(side, size) for side in with_masks), None)


def _corners(canvas: Canvas, detections: Detections, row: int) -> NDArray[np.float64]:
    """Return (4, 2) continuous picture pixels."""
    if detections.corners is not None and np.isfinite(detections.corners[row]).all():
        return canvas.place(detections.corners[row])
    x1, y1, x2, y2 = detections.boxes[row]
    return canvas.place([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])


def _draw_keypoints(canvas: Canvas, detections: Detections, row: int, colour: Colour, *, is_candidate: bool) -> None:
    if detections.keypoints is None:
        return
    keypoints = detections.keypoints[row]
    mark = ring if is_candidate else disc
    for point in canvas.place(keypoints[keypoints[:, 2] > 0, :2]):
        mark(canvas, point, _KEYPOINT_RADIUS, colour)


def _tags(scene: _Scene) -> list[Tag]:
    matches, side = scene.matches, scene.view.side
    tags = []
    if side.has_reference:
        tags += [_tag(scene, scene.reference, row, "missed ", MISSED) for row in matches.missed]
    if side.has_candidate:
        words = ("extra " if row < 0 else "duplicate " for row in matches.duplicate_of)
        extra = zip(matches.extra, words, strict=True)
        tags += [_tag(scene, scene.candidate, row, word, EXTRA) for row, word in extra]
    told = (*np.flatnonzero(matches.is_flip), *_told_pairs(scene))
    return tags + [_pair_tag(scene, int(pair)) for pair in told]


def _centre_marks(scene: _Scene) -> list[Rectangle]:
    """Return where crosses and diamonds are, which no text is to hide."""
    matches = scene.matches
    shapes = [_corners(scene.canvas, scene.candidate, row) for row in matches.extra]
    shapes += [_corners(scene.canvas, scene.reference, row) for row in matches.reference[matches.is_flip]]
    centres = [(*np.rint(centre[0]).astype(int), radius) for centre, radius in map(_middle, shapes)]
    return [(int(x - radius), int(y - radius), int(x + radius), int(y + radius)) for x, y, radius in centres]


def _told_pairs(scene: _Scene) -> NDArray[np.int64]:
    """Return the pairs that are told if there is room: of many those that overlap least."""
    rows = np.flatnonzero(~scene.matches.is_flip)
    return rows[np.argsort(scene.matches.ious[rows], kind="stable")][:_MAX_QUIET_TAGS]


def _tag(scene: _Scene, detections: Detections, row: int, word: str, colour: Colour) -> Tag:
    text = f"{word}{_told(scene, detections, row)}"
    return Tag(text, scene.canvas.place(detections.boxes[row]).reshape(4), colour)


def _pair_tag(scene: _Scene, pair: int) -> Tag:
    box = scene.canvas.place(scene.reference.boxes[scene.matches.reference[pair]]).reshape(4)
    is_flip = bool(scene.matches.is_flip[pair])
    return Tag(_pair_text(scene, pair), box, FLIP if is_flip else BLACK, needed=is_flip)


def _pair_text(scene: _Scene, pair: int) -> str:
    reference, candidate = int(scene.matches.reference[pair]), int(scene.matches.candidate[pair])
    if not scene.view.side.has_candidate:
        return _told(scene, scene.reference, reference)
    if not scene.view.side.has_reference:
        return _told(scene, scene.candidate, candidate)
    told = _told(scene, scene.reference, reference)
    if scene.matches.is_flip[pair]:
        return f"{told} -> {_told(scene, scene.candidate, candidate)}"
    iou = scene.matches.ious[pair]
    overlap = f", IoU {iou:.2f}" if iou < _TOLD_IOU else ""
    return f"{told} | {scene.candidate.scores[candidate]:.2f}{overlap}"


def _told(scene: _Scene, detections: Detections, row: int) -> str:
    return f"{class_name(scene.view.class_names, int(detections.classes[row]))} {detections.scores[row]:.2f}"


def _legend(scene: _Scene, left_out: int) -> list[Entry]:
    matches, side = scene.matches, scene.view.side
    flips = int(np.count_nonzero(matches.is_flip))
    entries = []
    if side.has_reference:
        entries.append(Entry("reference", Stroke(PAIR)))
    if side.has_candidate:
        entries.append(Entry("candidate", Stroke(PAIR, is_dashed=True)))
    entries.append(Entry(f"pairs {len(matches.ious) - flips}{_PAIR_WORDS if side is Side.BOTH else ''}"))
    if side.has_reference:
        entries.append(Entry(f"missed {len(matches.missed)}", Stroke(MISSED, _LOUD), filled_square, MISSED))
    if side.has_candidate:
        entries.append(Entry(f"extra {len(matches.extra)}", Stroke(EXTRA, _LOUD, is_dashed=True), cross, EXTRA))
    entries.append(Entry(f"class flip {flips}", Stroke(FLIP, _LOUD), filled_diamond, FLIP))
    if left_out:
        entries.append(Entry(f"{left_out} names left out for room"))
    return entries
