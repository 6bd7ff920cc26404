"""The steps that a pipeline is made of: frozen parameters, and what they do to a canvas.

Geometry steps keep ``Geometry`` in step with the pixels. OpenCV resizes, without antialiasing unless ``area`` is asked
for: a model trained on PIL's antialiased images sees slightly other pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import numpy as np

from parity.errors import FeedError

if TYPE_CHECKING:
    from parity.preprocess.geometry import Geometry

Interpolation = Literal["nearest", "linear", "cubic", "area"]
Order = Literal["bgr", "rgb"]
Size = tuple[int, int]

# Mean and standard deviation of ImageNet's training images in R, G, B, of pixels in 0...1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Canvas:
    """An image on its way: ``pixels`` is (h, w, 3) until the layout step, then (1, 3, h, w) or (1, h, w, 3)."""

    pixels: np.ndarray
    geometry: Geometry
    order: Order = "bgr"

    @property
    def size(self) -> Size:
        """Height and width, before the layout step."""
        height, width = self.pixels.shape[:2]
        return int(height), int(width)


class Step(Protocol):
    """One step of a pipeline."""

    name: ClassVar[str]

    def apply(self, canvas: Canvas) -> Canvas:
        """Return the canvas after this step."""
        ...


def _check_size(size: Size) -> None:
    if min(size) < 1:
        raise ValueError(f"size: expected [height, width], both at least 1; got {list(size)}")


def _resized(canvas: Canvas, size: Size, interpolation: Interpolation) -> np.ndarray:
    if min(size) < 1:
        height, width = canvas.size
        raise FeedError(
            f"image of {height} x {width} pixels: would be resized to {size[0]} x {size[1]}; "
            "expected at least one pixel each way, leave out images as thin as that"
        )
    if canvas.size == size:
        return canvas.pixels
    import cv2

    method = {
        "nearest": cv2.INTER_NEAREST,
        "linear": cv2.INTER_LINEAR,
        "cubic": cv2.INTER_CUBIC,
        "area": cv2.INTER_AREA,
    }[interpolation]
    return cv2.resize(canvas.pixels, (size[1], size[0]), interpolation=method)


@dataclass(frozen=True, slots=True)
class Resize:
    """Stretch to ``size`` (height, width), whatever that does to the aspect ratio."""

    name: ClassVar[str] = "resize"
    size: Size
    interpolation: Interpolation = "linear"

    def __post_init__(self) -> None:
        _check_size(self.size)

    def apply(self, canvas: Canvas) -> Canvas:
        """Return the stretched canvas."""
        height, width = canvas.size
        pixels = _resized(canvas, self.size, self.interpolation)
        geometry = canvas.geometry.scaled(self.size[1] / width, self.size[0] / height)
        return replace(canvas, pixels=pixels, geometry=geometry)


@dataclass(frozen=True, slots=True)
class ResizeShorter:
    """Resize so that the shorter side has ``size`` pixels; the longer one is truncated, as in torchvision."""

    name: ClassVar[str] = "resize_shorter"
    size: int
    interpolation: Interpolation = "linear"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size: expected at least 1; got {self.size}")

    def apply(self, canvas: Canvas) -> Canvas:
        """Return the resized canvas."""
        height, width = canvas.size
        longer = int(self.size * max(height, width) / min(height, width))
        size = (self.size, longer) if height <= width else (longer, self.size)
        return Resize(size, self.interpolation).apply(canvas)


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Resize by one factor and pad to ``size`` (height, width) with ``value``.

    Attributes
    ----------
    anchor
        ``center`` splits the padding and rounds as Ultralytics does; ``top-left`` puts the image into that corner
        and truncates as YOLOX does. The two differ by up to one pixel in the resized size as well.
    scaleup
        Whether an image smaller than ``size`` is enlarged.
    """

    name: ClassVar[str] = "letterbox"
    size: Size
    value: int = 114
    anchor: Literal["center", "top-left"] = "center"
    scaleup: bool = True
    interpolation: Interpolation = "linear"

    def __post_init__(self) -> None:
        _check_size(self.size)
        if not 0 <= self.value <= 255:
            raise ValueError(f"value: expected 0 to 255; got {self.value}")

    def apply(self, canvas: Canvas) -> Canvas:
        """Return the padded canvas."""
        ratio, inner = self._fit(canvas.size)
        top, left = self._offset(inner)
        resized = _resized(canvas, inner, self.interpolation)
        pixels = np.full((*self.size, 3), self.value, canvas.pixels.dtype)
        pixels[top : top + inner[0], left : left + inner[1]] = resized
        # The factor, not the rounded size, maps boxes back: that is what the families' own decoders do.
        return replace(canvas, pixels=pixels, geometry=canvas.geometry.scaled(ratio, ratio).moved(left, top))

    def _fit(self, size: Size) -> tuple[float, Size]:
        height, width = size
        ratio = min(self.size[0] / height, self.size[1] / width)
        ratio = ratio if self.scaleup else min(ratio, 1.0)
        whole = round if self.anchor == "center" else int
        return ratio, (whole(height * ratio), whole(width * ratio))

    def _offset(self, inner: Size) -> tuple[int, int]:
        if self.anchor == "top-left":
            return 0, 0
        # An odd pixel of padding goes to the bottom and the right.
        return round((self.size[0] - inner[0]) / 2 - 0.1), round((self.size[1] - inner[1]) / 2 - 0.1)


@dataclass(frozen=True, slots=True)
class CenterCrop:
    """Cut ``size`` (height, width) out of the middle; half pixels go to the even side, as in torchvision."""

    name: ClassVar[str] = "center_crop"
    size: Size

    def __post_init__(self) -> None:
        _check_size(self.size)

    def apply(self, canvas: Canvas) -> Canvas:
        """Return the cropped canvas.

        Raises
        ------
        FeedError
            The image is smaller than the crop.
        """
        (height, width), (crop_height, crop_width) = canvas.size, self.size
        if crop_height > height or crop_width > width:
            raise FeedError(
                f"image of {height} x {width} pixels: is smaller than the crop of {crop_height} x {crop_width}; "
                "resize before the crop"
            )
        top, left = round((height - crop_height) / 2), round((width - crop_width) / 2)
        pixels = canvas.pixels[top : top + crop_height, left : left + crop_width]
        return replace(canvas, pixels=pixels, geometry=canvas.geometry.moved(-left, -top))


@dataclass(frozen=True, slots=True)
class Color:
    """Put the channels into an order; images are read as BGR."""

    name: ClassVar[str] = "color"
    order: Order

    def apply(self, canvas: Canvas) -> Canvas:
        """Return the canvas with its channels in order."""
        if canvas.order == self.order:
            return canvas
        return replace(canvas, pixels=canvas.pixels[..., ::-1], order=self.order)


@dataclass(frozen=True, slots=True)
class Scale:
    """Multiply by ``factor`` or divide by ``divisor``, in float32; the two are not the same to the last bit."""

    name: ClassVar[str] = "scale"
    factor: float | None = None
    divisor: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.factor, self.divisor) if value is not None]
        if len(given) != 1:
            raise ValueError("expected either factor or divisor")
        if not np.isfinite(given[0]) or given[0] == 0:
            raise ValueError(f"expected a finite number other than 0; got {given[0]}")

    def apply(self, canvas: Canvas) -> Canvas:
        """Return the scaled canvas, float32."""
        pixels = canvas.pixels.astype(np.float32)
        if self.divisor is not None:
            return replace(canvas, pixels=pixels / np.float32(self.divisor))
        return replace(canvas, pixels=pixels * np.float32(self.factor))


@dataclass(frozen=True, slots=True)
class Normalize:
    """Subtract ``mean`` and divide by ``std``, per channel in the order of the moment, in float32.

    ``mean="imagenet"`` or ``std="imagenet"`` stand for ImageNet's numbers, which are in RGB order.
    """

    name: ClassVar[str] = "normalize"
    mean: tuple[float, ...] | Literal["imagenet"]
    std: tuple[float, ...] | Literal["imagenet"]

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values != "imagenet" and (len(values) != 3 or not np.all(np.isfinite(values))):
                raise ValueError(f"{name}: expected three finite numbers or 'imagenet'; got {list(values)}")
        if self.std != "imagenet" and min(self.std) <= 0:
            raise ValueError(f"std: expected numbers above 0; got {list(self.std)}")

    @property
    def is_named(self) -> bool:
        """Whether ImageNet's numbers are asked for by name."""
        return "imagenet" in (self.mean, self.std)

    def apply(self, canvas: Canvas) -> Canvas:
        """Return the normalized canvas, float32."""
        mean = IMAGENET_MEAN if self.mean == "imagenet" else self.mean
        std = IMAGENET_STD if self.std == "imagenet" else self.std
        pixels = (canvas.pixels.astype(np.float32) - np.array(mean, np.float32)) / np.array(std, np.float32)
        return replace(canvas, pixels=pixels)


@dataclass(frozen=True, slots=True)
class Layout:
    """Add the batch axis and put the axes into an order."""

    name: ClassVar[str] = "layout"
    order: Literal["nchw", "nhwc"]

    def apply(self, canvas: Canvas) -> Canvas:
        """Return the canvas as (1, 3, h, w) or (1, h, w, 3), contiguous."""
        axes = canvas.pixels.transpose(2, 0, 1) if self.order == "nchw" else canvas.pixels
        return replace(canvas, pixels=np.ascontiguousarray(axes[np.newaxis]))


@dataclass(frozen=True, slots=True)
class Dtype:
    """Convert to the model's dtype."""

    name: ClassVar[str] = "dtype"
    dtype: Literal["float32", "float16", "uint8"]

    def apply(self, canvas: Canvas) -> Canvas:
        """Return the converted canvas."""
        return replace(canvas, pixels=canvas.pixels.astype(self.dtype))
