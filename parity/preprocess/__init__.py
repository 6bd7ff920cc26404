"""Preprocessing, named and pure: an image becomes the tensor that every runtime is given."""

from __future__ import annotations

from parity.preprocess.geometry import Geometry
from parity.preprocess.pipeline import PRESET_NAMES, Pipeline, Preprocessed, preset
from parity.preprocess.steps import (
    CenterCrop,
    Color,
    Dtype,
    Layout,
    Letterbox,
    Normalize,
    Resize,
    ResizeShorter,
    Scale,
    Step,
)

__all__ = [
    "PRESET_NAMES",
    "CenterCrop",
    "Color",
    "Dtype",
    "Geometry",
    "Layout",
    "Letterbox",
    "Normalize",
    "Pipeline",
    "Preprocessed",
    "Resize",
    "ResizeShorter",
    "Scale",
    "Step",
    "preset",
]
