"""What a decoder is: settings, a test of the layout, and a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from parity.decode.settings import DecodeSettings
    from parity.decoded import Decoded
    from parity.preprocess import Geometry

Shapes = Mapping[str, tuple[int | str, ...]]
"""The shapes of a model's outputs, by name and in the model's order; a dimension that is open is a text."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How outputs fit a decoder's layout.

    Attributes
    ----------
    outputs
        Which output plays which part, by the decoder's names for them.
    certainty
        0 to 1: 1 where no other known family looks like this; low where the shapes fit many.
    reason
        What in the shapes says so, as a sentence.
    settings
        What the shapes show of the decoder's settings: ``{"class_count": 80}``.
    """

    outputs: Mapping[str, str]
    certainty: float
    reason: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Family:
    """A decoder.

    Attributes
    ----------
    settings
        The table of ``[decode]`` with this decoder's name.
    layout
        Returns how outputs fit the decoder's layout, None where they do not.
    decode
        Decodes the outputs of one feed, by the decoder's names for them, to one result an image. The arrays have a
        layout that ``layout`` accepted; one geometry an image. Raises DecodeError where values make no sense.
    expected
        The layout in words, for messages: ``(images, 4 + classes, places)``.
    """

    settings: type[DecodeSettings]
    layout: Callable[[Shapes], Fit | None]
    decode: Callable[[Any, Mapping[str, np.ndarray], Sequence[Geometry]], tuple[Decoded, ...]]
    expected: str
