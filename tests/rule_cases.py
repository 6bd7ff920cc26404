"""Cases with annotations whose model is right under one preprocessing and one decoder alone: made in code, by seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from parity.case.loader import load_case
from parity.graph import load_model
from parity.preprocess import Pipeline

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from parity.case import Case
    from parity.preprocess.steps import Step

SIDE = 16
CLASSES = 12
BOX_SIDE = 64


@dataclass(frozen=True)
class Made:
    """A case and its model."""

    case: Case
    model: onnx.ModelProto


def pictures(seed: int) -> list[np.ndarray]:
    """Return images with a band each, (60, 120, 3) uint8; every other one is the last with its channels reversed."""
    rng = np.random.default_rng(seed)
    made: list[np.ndarray] = []
    for number in range(CLASSES):
        coarse = rng.uniform(0, 0.5, (6, 4, 3))
        coarse[number // 2] += 0.5
        shades = ((60 + 15 * number) * coarse).astype(np.uint8)
        made.append(made[-1][..., ::-1].copy() if number % 2 else shades.repeat(10, axis=0).repeat(30, axis=1))
    return made


def template_case(
    folder: Path, seed: int, trained: Sequence[Step], given: str, *, known: Sequence[np.ndarray] | None = None
) -> Made:
    """Write a case whose classifier knows its images under the ``trained`` steps, and is ``given`` others.

    It knows other images than it is shown where some are ``known``.
    """
    import cv2

    (folder / "images").mkdir(parents=True)
    shown = pictures(seed)
    for number, image in enumerate(shown):
        (folder / "images" / f"{number:02}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    templates = np.stack([Pipeline(tuple(trained))(image).tensor.reshape(-1) for image in known or shown]).astype(
        np.float32
    )
    onnx.save(_nearest(templates), folder / "model.onnx")
    (folder / "truth.py").write_text("def truth(count):\n    return ({'classes': [n]} for n in range(count))\n")
    (folder / "case.toml").write_text(
        'model = "model.onnx"\nbatch_size = 4\n'
        f'[inputs]\nkind = "images"\nfiles = ["images/*.png"]\npreprocess = [{given}]\n'
        '[decode]\nname = "classification"\n[annotations]\nfunction = "truth.py:truth"\n'
        '[variants.fp32]\nprecision = "fp32"\n'
    )
    return Made(load_case(folder), load_model(folder / "model.onnx"))


def _nearest(templates: np.ndarray) -> onnx.ModelProto:
    """Return images (n, 3, side, side) -> less the squared distance to each template, but for the image's own norm."""
    constants = [
        numpy_helper.from_array(np.ascontiguousarray(2 * templates.T), "twice"),
        numpy_helper.from_array(-np.square(templates).sum(axis=1), "norms"),
    ]
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "twice", "norms"], ["logits"], "gemm"),
    ]
    value = helper.make_tensor_value_info
    inputs = [value("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])]
    outputs = [value("logits", TensorProto.FLOAT, ["n", len(templates)])]
    graph = helper.make_graph(nodes, "nearest", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def objects(seed: int, count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes that lie apart, (count, 4) cx cy w h in pixels, and their classes out of 3, each there."""
    rng = np.random.default_rng(seed)
    cells = np.stack(np.meshgrid([12, 32, 52], [16, 46]), axis=-1).reshape(-1, 2)[:count]
    sizes = rng.uniform(9, 18, (count, 2))
    return np.concatenate([cells + rng.uniform(-2, 2, (count, 2)), sizes], axis=1), np.arange(count) % 3


def yolov8_rows(seed: int, places: int = 84) -> np.ndarray:
    """Return a sound YOLOv8 head, (7, places): boxes in pixels, three scores; most places show nothing."""
    rng = np.random.default_rng(seed)
    boxes, classes = objects(seed)
    head = np.full((7, places), 0.0005, np.float32)
    head[:4] = np.array([[30.0], [30.0], [8.0], [8.0]])
    head[:4, : len(boxes)] = boxes.T
    head[4 + classes, np.arange(len(boxes))] = rng.uniform(0.2, 0.45, len(boxes))
    return head


def head_case(folder: Path, seed: int, head: np.ndarray, decode: str, *, truth: bool = True) -> Made:
    """Write a case whose model says ``head`` of every image, decoded by the keys of ``decode``."""
    import cv2

    (folder / "images").mkdir(parents=True)
    for number in range(2):
        image = np.full((BOX_SIDE, BOX_SIDE, 3), 40 * number, np.uint8)
        (folder / "images" / f"{number}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    onnx.save(_saying(head), folder / "model.onnx")
    boxes, classes = objects(seed)
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    one = {"boxes": corners.tolist(), "classes": classes.tolist()}
    (folder / "truth.py").write_text(f"def truth(count):\n    return ({one!r} for _ in range(count))\n")
    annotations = '[annotations]\nfunction = "truth.py:truth"\n' if truth else ""
    (folder / "case.toml").write_text(
        'model = "model.onnx"\n[inputs]\nkind = "images"\nfiles = ["images/*.png"]\n'
        f'preprocess = {{ preset = "yolo", size = [{BOX_SIDE}, {BOX_SIDE}] }}\n'
        f'[decode]\n{decode}\n{annotations}[variants.fp32]\nprecision = "fp32"\n'
    )
    return Made(load_case(folder), load_model(folder / "model.onnx"))


def _saying(head: np.ndarray) -> onnx.ModelProto:
    """Return images -> (n, *head.shape), the same of every image."""
    constants = [
        numpy_helper.from_array(head[None].astype(np.float32), "head"),
        numpy_helper.from_array(np.array(0, np.float32), "nothing"),
        numpy_helper.from_array(np.array([-1, 1, 1], np.int64), "shape"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], "mean", axes=[1, 2, 3], keepdims=1),
        helper.make_node("Flatten", ["mean"], ["flat"], "flatten"),
        helper.make_node("Mul", ["flat", "nothing"], ["zero"], "zero"),
        helper.make_node("Reshape", ["zero", "shape"], ["column"], "reshape"),
        helper.make_node("Add", ["column", "head"], ["output0"], "add"),
    ]
    value = helper.make_tensor_value_info
    inputs = [value("image", TensorProto.FLOAT, ["n", 3, BOX_SIDE, BOX_SIDE])]
    outputs = [value("output0", TensorProto.FLOAT, ["n", *head.shape])]
    graph = helper.make_graph(nodes, "saying", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
