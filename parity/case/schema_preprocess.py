"""Preprocessing in a case file: a preset's name, a preset with a size, or a list of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag

from parity.preprocess import (
    CenterCrop,
    Color,
    Dtype,
    Layout,
    Letterbox,
    Normalize,
    Pipeline,
    Resize,
    ResizeShorter,
    Scale,
    Step,
    preset,
)
from parity.preprocess.pipeline import order_mistakes
from parity.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

_Size = Annotated[list[Annotated[int, Field(ge=1, le=16384)]], Field(min_length=2, max_length=2)]
_Interpolation = Literal["nearest", "linear", "cubic", "area"]
_Three = Annotated[list[float], Field(min_length=3, max_length=3)]
_MeanOrStd = Annotated[
    Annotated[Literal["imagenet"], Tag("@text")] | Annotated[_Three, Tag("@list")],
    Discriminator(lambda value: "@text" if isinstance(value, str) else "@list"),
]
_PresetName = Literal["imagenet", "yolo", "yolox", "rtdetr"]


class ResizeTable(Table):
    """Stretch to a size."""

    step: Literal["resize"]
    size: _Size
    """[height, width]"""
    interpolation: _Interpolation = "linear"
    """OpenCV's interpolation."""


class ResizeShorterTable(Table):
    """Resize so that the shorter side has a size."""

    step: Literal["resize_shorter"]
    size: Annotated[int, Field(ge=1, le=16384)]
    """The shorter side, in pixels."""
    interpolation: _Interpolation = "linear"
    """OpenCV's interpolation."""


class LetterboxTable(Table):
    """Resize by one factor and pad to a size."""

    step: Literal["letterbox"]
    size: _Size
    """[height, width]"""
    value: Annotated[int, Field(ge=0, le=255)] = 114
    """The padding's grey level."""
    anchor: Literal["center", "top-left"] = "center"
    """Where the image lies: center rounds as Ultralytics does, top-left truncates as YOLOX does."""
    scaleup: bool = True
    """Whether small images are enlarged."""
    interpolation: _Interpolation = "linear"
    """OpenCV's interpolation."""


class CenterCropTable(Table):
    """Cut out the middle."""

    step: Literal["center_crop"]
    size: _Size
    """[height, width]"""


class ColorTable(Table):
    """Put the channels into an order; images are read as BGR."""

    step: Literal["color"]
    order: Literal["rgb", "bgr"]
    """The order from here on."""


class ScaleTable(Table):
    """Multiply by a factor or divide by a divisor."""

    step: Literal["scale"]
    factor: float | None = None
    """What pixels are multiplied by."""
    divisor: float | None = None
    """What pixels are divided by."""


class NormalizeTable(Table):
    """Subtract the mean and divide by the standard deviation, per channel."""

    step: Literal["normalize"]
    mean: _MeanOrStd
    """Three numbers, or imagenet."""
    std: _MeanOrStd
    """Three numbers, or imagenet."""


class LayoutTable(Table):
    """Put the axes into an order."""

    step: Literal["layout"]
    order: Literal["nchw", "nhwc"]
    """The tensor's axes."""


class DtypeTable(Table):
    """Convert to the model's dtype."""

    step: Literal["dtype"]
    dtype: Literal["float32", "float16", "uint8"]
    """The tensor's dtype."""


class PresetTable(Table):
    """A preset with another size."""

    preset: _PresetName
    """The preset's name."""
    size: _Size | None = None
    """[height, width] in place of the preset's own."""


def step(value: object) -> str | None:
    """Return the tag of a step's table."""
    if isinstance(value, BaseModel):
        return f"@{getattr(value, 'step', '')}"
    found = value.get("step") if isinstance(value, dict) else None
    return None if found is None else f"@{found}"


def _form(value: object) -> str:
    """Return the tag of the form in which preprocessing is written."""
    if isinstance(value, list):
        return "@steps"
    return "@preset" if isinstance(value, dict | BaseModel) else "@name"


StepTable = Annotated[
    Annotated[ResizeTable, Tag("@resize")]
    | Annotated[ResizeShorterTable, Tag("@resize_shorter")]
    | Annotated[LetterboxTable, Tag("@letterbox")]
    | Annotated[CenterCropTable, Tag("@center_crop")]
    | Annotated[ColorTable, Tag("@color")]
    | Annotated[ScaleTable, Tag("@scale")]
    | Annotated[NormalizeTable, Tag("@normalize")]
    | Annotated[LayoutTable, Tag("@layout")]
    | Annotated[DtypeTable, Tag("@dtype")],
    Discriminator(step),
]
PreprocessSpec = Annotated[
    Annotated[_PresetName, Tag("@name")]
    | Annotated[PresetTable, Tag("@preset")]
    | Annotated[Annotated[list[StepTable], Field(min_length=1)], Tag("@steps")],
    Discriminator(_form),
]

_STEPS: dict[str, Any] = {
    builder.name: builder
    for builder in (Resize, ResizeShorter, Letterbox, CenterCrop, Color, Scale, Normalize, Layout, Dtype)
}


def build_pipeline(spec: str | PresetTable | Sequence[Table]) -> tuple[Pipeline | None, list[tuple[str, str]]]:
    """Return the pipeline that a case file asks for, or None and its mistakes, each with its path below the spec's."""
    if isinstance(spec, str):
        return preset(spec), []
    if isinstance(spec, PresetTable):
        size = (spec.size[0], spec.size[1]) if spec.size else None
        return preset(spec.preset, size), []
    steps: list[Step] = []
    mistakes: list[tuple[str, str]] = []
    for index, table in enumerate(spec):
        try:
            steps.append(_build_step(table))
        except ValueError as error:
            mistakes.append((f"[{index}]", str(error)))
    if not mistakes:
        mistakes = [(f"[{index}]" if index < len(steps) else "", message) for index, message in order_mistakes(steps)]
    return (None, mistakes) if mistakes else (Pipeline(tuple(steps)), [])


def _build_step(table: Table) -> Step:
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in table}
    built: Step = _STEPS[str(settings.pop("step"))](**settings)
    return built
