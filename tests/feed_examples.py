"""Models' inputs and small sources of feeds: images on disk, and a function of a case's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.case.model import PythonSource
from parity.graph import ModelInterface, TensorInfo, model_interface
from parity.preprocess import Pipeline, preset
from tests.tiny_models import conv_relu, two_inputs, write_images

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = model_interface(conv_relu())
TOKENS = model_interface(two_inputs())
YOLO = preset("yolo", (8, 8))


def interface_of(*inputs: TensorInfo) -> ModelInterface:
    return ModelInterface(inputs, ())


def images_in(folder: Path, count: int, size: tuple[int, int] = (8, 8)) -> tuple[Path, ...]:
    names = [f"{index}.png" for index in range(count)]
    write_images(folder, names, size)
    return tuple(folder / name for name in names)


def python_source(folder: Path, code: str, count: int = 2, preprocess: Pipeline | None = None) -> PythonSource:
    (folder / "data.py").write_text(code, encoding="utf-8")
    return PythonSource(folder, "data.py:make", count, "images" if preprocess else "", preprocess)


FEED_CODE = """
import numpy as np

def make(count):
    for index in range(count):
        yield {"images": np.full((1, 3, 8, 8), index, np.float32)}
"""
