"""A pipeline: steps in order, from an image to an input tensor; and the named ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from parity.errors import FeedError
from parity.preprocess.geometry import Geometry
from parity.preprocess.steps import (
    Canvas,
    CenterCrop,
    Color,
    Dtype,
    Layout,
    Letterbox,
    Normalize,
    Resize,
    ResizeShorter,
    Scale,
    Size,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Preprocessed:
    """One image as the model takes it: ``tensor`` is (1, 3, h, w) or (1, h, w, 3)."""

    tensor: np.ndarray
    geometry: Geometry


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Steps that make an input tensor of an image.

    Raises
    ------
    ValueError
        The steps' order makes no sense; every mistake is in the message, with its step.

    Examples
    --------
    >>> import numpy as np
    >>> pipeline = preset("yolo", size=(32, 64))
    >>> pipeline(np.zeros((20, 40, 3), np.uint8)).tensor.shape
    (1, 3, 32, 64)
    """

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        mistakes = order_mistakes(self.steps)
        if mistakes:
            raise ValueError("; ".join(f"steps[{index}]: {message}" for index, message in mistakes))

    def __call__(self, image: np.ndarray) -> Preprocessed:
        """Preprocess one image.

        Parameters
        ----------
        image
            (h, w, 3) uint8, BGR as OpenCV reads it; left as it is.

        Raises
        ------
        FeedError
            Not such an image, or too small or thin for a step.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise FeedError(f"image: expected uint8 (height, width, 3); found {image.dtype} {image.shape}")
        start = Canvas(image, Geometry(image.shape[0], image.shape[1]))
        end = reduce(lambda canvas, step: step.apply(canvas), self.steps, start)
        return Preprocessed(end.pixels, end.geometry)


def order_mistakes(steps: Sequence[Step]) -> tuple[tuple[int, str], ...]:
    """Return what is wrong with an order of steps: each mistake with the index of its step."""
    mistakes = [(index, message) for index, step in enumerate(steps) if (message := _mistake(step, steps[:index]))]
    if not any(isinstance(step, Layout) for step in steps):
        mistakes.append((len(steps), "there is no layout step; end with layout nchw or nhwc"))
    return tuple(mistakes)


def _mistake(step: Step, before: Sequence[Step]) -> str:
    """Return what is wrong with a step behind others, empty if nothing."""
    return _place_mistake(step, before) or _value_mistake(step, before)


def _place_mistake(step: Step, before: Sequence[Step]) -> str:
    if any(isinstance(other, Dtype) for other in before):
        return f"{step.name} stands behind dtype; dtype is the last step"
    has_layout = any(isinstance(other, Layout) for other in before)
    if has_layout and not isinstance(step, Dtype):
        return f"{step.name} stands behind layout; only dtype may"
    if isinstance(step, Dtype) and not has_layout:
        return "dtype stands before layout; put it behind"
    return ""


def _value_mistake(step: Step, before: Sequence[Step]) -> str:
    changed = next((other.name for other in before if isinstance(other, Scale | Normalize)), "")
    match step:
        case Dtype(dtype="uint8") if changed:
            return f"dtype uint8 would cut off what {changed} computed; leave {changed} out"
        case Letterbox() if changed:
            return f"letterbox would pad pixels that {changed} has changed with {step.value}; put it before {changed}"
        case Normalize(is_named=True) if _order_of(before) != "rgb":
            return "'imagenet' is in RGB order and the image is BGR here; put color rgb before it"
    return ""


def _order_of(steps: Sequence[Step]) -> str:
    return next((step.order for step in reversed(steps) if isinstance(step, Color)), "bgr")


def _imagenet(size: Size) -> tuple[Step, ...]:
    # 224 is cut out of 256; other sizes keep that proportion.
    shorter = round(max(size) * 256 / 224)
    return (
        ResizeShorter(shorter),
        CenterCrop(size),
        Color("rgb"),
        Scale(divisor=255),
        Normalize("imagenet", "imagenet"),
        Layout("nchw"),
    )


def _yolo(size: Size) -> tuple[Step, ...]:
    return (Letterbox(size), Color("rgb"), Scale(divisor=255), Layout("nchw"))


def _yolox(size: Size) -> tuple[Step, ...]:
    return (Letterbox(size, anchor="top-left"), Color("bgr"), Layout("nchw"), Dtype("float32"))


def _rtdetr(size: Size) -> tuple[Step, ...]:
    return (Resize(size), Color("rgb"), Scale(divisor=255), Layout("nchw"))


_PRESETS: dict[str, tuple[Callable[[Size], tuple[Step, ...]], Size]] = {
    "imagenet": (_imagenet, (224, 224)),
    "yolo": (_yolo, (640, 640)),
    "yolox": (_yolox, (640, 640)),
    "rtdetr": (_rtdetr, (640, 640)),
}
PRESET_NAMES = tuple(_PRESETS)


def preset(name: str, size: Size | None = None) -> Pipeline:
    """Return a named pipeline.

    Parameters
    ----------
    name
        ``imagenet``: shorter side 256, middle 224 x 224, RGB, / 255, ImageNet's mean and std. ``yolo``: letterbox,
        RGB, / 255. ``yolox``: letterbox from the upper left, BGR, 0 to 255. ``rtdetr``: stretched, RGB, / 255.
        All of them NCHW float32.
    size
        (height, width) of the tensor in place of the preset's own.

    Raises
    ------
    ValueError
        There is no preset of that name.
    """
    if name not in _PRESETS:
        raise ValueError(f"expected one of {', '.join(PRESET_NAMES)}; got {name!r}")
    steps_of, default = _PRESETS[name]
    return Pipeline(steps_of(size or default))
