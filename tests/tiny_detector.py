"""A detector small enough to be judged in milliseconds, whose objects are known, and ways to break what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from parity.backends.fake import OutputFault
from tests.tiny_models import write_images

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CLASS_NAMES = ("circle", "square", "star")
SIZE = 64
IMAGE_COUNT = 4

# x1 y1 x2 y2 in pixels, score, class. Nobody sees the last one, and no other is a star.
OBJECTS = (
    (4.0, 4.0, 24.0, 24.0, 0.9, 0.0),
    (36.0, 6.0, 60.0, 30.0, 0.8, 1.0),
    (8.0, 36.0, 32.0, 60.0, 0.7, 0.0),
    (40.0, 40.0, 56.0, 60.0, 0.6, 1.0),
    (28.0, 28.0, 36.0, 36.0, 0.0, 2.0),
)
SCORE, CLASS = 4, 5

CASE_FILE = f"""\
model = "model.onnx"
batch_size = 2

[inputs]
kind = "images"
files = ["images/*.png"]
preprocess = [{{ step = "scale", factor = 0.00390625 }}, {{ step = "layout", order = "nchw" }}]

[decode]
name = "python"
function = "decoder.py:decode"
task = "detection"
class_names = {list(CLASS_NAMES)}

[variants.fp32]
precision = "fp32"

[variants.fp16]
precision = "fp16"
"""

DECODER = """\
def decode(outputs, geometry):
    for rows in outputs["rows"]:
        yield {"boxes": rows[:, :4], "scores": rows[:, 4], "classes": rows[:, 5].astype(int)}
"""


def tiny_detector(objects: Sequence[Sequence[float]] = OBJECTS) -> onnx.ModelProto:
    """Return images (n, 3, 64, 64) -> rows (n, objects, 6): every image's objects, moved by its mean colour."""
    moves = np.zeros((3, 6), np.float32)
    moves[:, :4] = 1.0
    constants = [
        numpy_helper.from_array(np.array([objects], np.float32), "objects"),
        numpy_helper.from_array(moves, "moves"),
        numpy_helper.from_array(np.array([0, 1, 3], np.int64), "shape"),
    ]
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["mean"], "pool"),
        helper.make_node("Reshape", ["mean", "shape"], ["colour"], "reshape"),
        helper.make_node("MatMul", ["colour", "moves"], ["move"], "move"),
        helper.make_node("Add", ["objects", "move"], ["rows"], "add"),
    ]
    value = helper.make_tensor_value_info
    inputs = [value("images", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])]
    outputs = [value("rows", TensorProto.FLOAT, ["n", len(objects), 6])]
    graph = helper.make_graph(nodes, "tiny_detector", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_detector_case(
    folder: Path,
    *,
    objects: Sequence[Sequence[float]] = OBJECTS,
    text: str = CASE_FILE,
    decoder: str = DECODER,
) -> Path:
    """Write the case of a tiny detector and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save_model(tiny_detector(objects), folder / "model.onnx")
    write_images(folder / "images", [f"{number}.png" for number in range(IMAGE_COUNT)], (SIZE, SIZE), SIZE // 4)
    (folder / "decoder.py").write_text(decoder, encoding="utf-8")
    (folder / "case.toml").write_text(text, encoding="utf-8")
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeObjects(OutputFault):
    """Numbers of objects multiplied and moved: ``image`` and ``row`` count in a feed, all of them if None."""

    columns: tuple[int, ...]
    image: int | None = None
    row: int | None = None
    factor: float = 1.0
    offset: float = 0.0

    def change(self, array: np.ndarray) -> np.ndarray:
        """Return the changed rows."""
        changed = array.copy()
        images = slice(None) if self.image is None else self.image
        rows = slice(None) if self.row is None else self.row
        for column in self.columns:
            changed[images, rows, column] = changed[images, rows, column] * self.factor + self.offset
        return changed
