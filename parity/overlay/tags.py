"""Names and scores beside what they belong to, placed so that they hide neither each other nor leave the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.overlay.canvas import BLACK, WHITE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from parity.overlay.canvas import Canvas, Colour, Pixels

TEXT_HEIGHT = 12
"""Picture pixels from the base of a line of text to the top of its capitals."""
LINE_HEIGHT = 20
_FONT_SCALE = 0.45
_MAX_NAME = 24
_PAD = 3
_QUIET_OPACITY = 0.6
_DARK = 140.0  # Luma, 0 to 255, below which text is white.
_BLUE_GREEN_RED_LUMA = (0.114, 0.587, 0.299)  # ITU-R BT.601

Rectangle = tuple[int, int, int, int]
"""x1 y1 x2 y2 in picture pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Tag:
    """A text that belongs to a box.

    ``box`` is x1 y1 x2 y2 in continuous picture pixels. Where there is no room, one that is not ``needed`` is left out.
    """

    text: str
    box: NDArray[np.float64]
    colour: Colour
    needed: bool = True


def place_tags(canvas: Canvas, tags: Iterable[Tag], kept_clear: Iterable[Rectangle] = ()) -> int:
    """Draw tags, those first that are needed, and return how many found no room."""
    taken = list(kept_clear)
    left_out = 0
    for tag in sorted(tags, key=lambda tag: not tag.needed):
        place = _free_place(canvas, tag, taken)
        if place is None:
            left_out += 1
            continue
        taken.append(place)
        _draw_tag(canvas.pixels, tag, place)
    return left_out


def _draw_tag(pixels: Pixels, tag: Tag, place: Rectangle) -> None:
    """Draw a text on a filled rectangle; the image is seen through one that is not needed."""
    x1, y1, x2, y2 = place
    opacity = 1.0 if tag.needed else _QUIET_OPACITY
    ground = pixels[y1:y2, x1:x2]
    ground[:] = np.rint(opacity * np.array(tag.colour) + (1 - opacity) * ground).astype(np.uint8)
    ink = WHITE if np.dot(tag.colour, _BLUE_GREEN_RED_LUMA) < _DARK else BLACK
    put_text(pixels, tag.text, x1 + _PAD, y2 - _PAD - 1, ink)


def put_text(pixels: Pixels, text: str, x: int, base: int, colour: Colour) -> None:
    """Write one line: ``x`` is its left edge, ``base`` its base line, in picture pixels."""
    import cv2

    cv2.putText(pixels, text, (x, base), cv2.FONT_HERSHEY_SIMPLEX, _FONT_SCALE, colour, 1, cv2.LINE_AA)


def text_width(text: str) -> int:
    """Return how wide a line of text is, in picture pixels."""
    import cv2

    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, _FONT_SCALE, 1)[0][0])


def short_name(text: str, length: int = _MAX_NAME) -> str:
    """Return a name on one line, without what cannot be printed, cut where it is long."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return shown if len(shown) <= length else f"{shown[: length - 3]}..."


def class_name(names: tuple[str, ...], number: int) -> str:
    """Return a class's name; its number where there is none."""
    return short_name(names[number]) if 0 <= number < len(names) else f"class {number}"


def _free_place(canvas: Canvas, tag: Tag, taken: list[Rectangle]) -> Rectangle | None:
    places = [_inside(canvas, place) for place in _places(tag)]
    free = next((place for place in places if not _overlaps(place, taken)), None)
    return places[0] if free is None and tag.needed else free


def _places(tag: Tag) -> list[Rectangle]:
    """Return where a tag may stand, best first: above its box, below it, inside, to its sides, then farther off."""
    x1, y1, x2, y2 = (int(value) for value in np.rint(np.clip(tag.box, -1e4, 1e4)))
    width, height = text_width(tag.text) + 2 * _PAD, TEXT_HEIGHT + 2 * _PAD
    near = ((x1, y1 - height), (x1, y2), (x2 - width, y1 - height), (x2 - width, y2), (x1, y1), (x2, y1))
    far = ((x1 - width, y1), (x1, y1 - 2 * height), (x1, y2 + height), (x2, y1 - height), (x1 - width, y2))
    return [(x, y, x + width, y + height) for x, y in (*near, *far)]


def _inside(canvas: Canvas, place: Rectangle) -> Rectangle:
    width, height = place[2] - place[0], place[3] - place[1]
    x = max(min(place[0], canvas.width - width), 0)
    y = max(min(place[1], canvas.height - height), 0)
    return x, y, x + width, y + height


def _overlaps(place: Rectangle, taken: list[Rectangle]) -> bool:
    x1, y1, x2, y2 = place
    return any(x1 < right and left < x2 and y1 < bottom and top < y2 for left, top, right, bottom in taken)
