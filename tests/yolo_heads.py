"""Random heads of the YOLO families, and what a decoder in plain Python makes of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.decode.yolo_anchors import YoloAnchors
from parity.decode.yolov5 import YoloV5
from parity.decode.yolov8 import YoloV8
from parity.decode.yolov10 import YoloV10
from parity.decode.yolox import YoloX
from tests import scalar_decoding as scalar
from tests.scalar_decoding import Found

if TYPE_CHECKING:
    from collections.abc import Callable

    from parity.decode import DecodeSettings

SIDE = 64
CLASSES = 3
STRIDES = (8, 16, 32)
CELLS = [(y, x, stride) for stride in STRIDES for y in range(SIDE // stride) for x in range(SIDE // stride)]
ANCHORS = [[[4.0, 6.0], [9.0, 5.0], [12.0, 12.0]], [[20.0, 14.0], [15.0, 30.0], [28.0, 28.0]], [[40.0, 30.0]] * 3]
# Random boxes often lie in the margin; from ``score_threshold`` on that would count as a flaw.
LOOSE = {"score_threshold": 1.0, "ap_score_threshold": 0.3, "nms_iou": 0.45371}


@dataclass(frozen=True)
class Head:
    """A family's settings, random outputs of a batch, and the candidates of one image of them, by the oracle."""

    settings: DecodeSettings
    make: Callable[[np.random.Generator, int], dict[str, np.ndarray]]
    candidates: Callable[[dict[str, np.ndarray], int], list[Found]]
    places_axis: int | None = None
    thins_out: bool = True


def boxes_of(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.concatenate([rng.uniform(5, 59, (*shape, 2)), rng.uniform(3, 25, (*shape, 2))], axis=-1)


def make_v8(rng: np.random.Generator, batch: int) -> dict[str, np.ndarray]:
    parts = [boxes_of(rng, (batch, 84)), rng.uniform(0, 0.9, (batch, 84, CLASSES))]
    return {"output0": np.concatenate(parts, axis=-1).swapaxes(1, 2).astype(np.float32)}


def find_v8(outputs: dict[str, np.ndarray], row: int) -> list[Found]:
    return [
        scalar.best(scalar.corners(*map(float, p[:4])), [float(s) for s in p[4:]]) for p in outputs["output0"][row].T
    ]


def make_v8_logits(rng: np.random.Generator, batch: int) -> dict[str, np.ndarray]:
    [output] = make_v8(rng, batch).values()
    output[:, 4:] = rng.normal(-1, 2, output[:, 4:].shape)
    output[:, [0, 2]] /= 2 * SIDE
    output[:, [1, 3]] /= SIDE
    return {"output0": output}


def find_v8_logits(outputs: dict[str, np.ndarray], row: int) -> list[Found]:
    found = []
    for p in outputs["output0"][row].T.tolist():
        box = scalar.corners(p[0] * 2 * SIDE, p[1] * SIDE, p[2] * 2 * SIDE, p[3] * SIDE)
        found.append(scalar.best(box, [scalar.sigmoid(x) for x in p[4:]]))
    return found


def make_v5(rng: np.random.Generator, batch: int) -> dict[str, np.ndarray]:
    parts = [boxes_of(rng, (batch, 252)), rng.uniform(0, 1, (batch, 252, 1 + CLASSES))]
    return {"output": np.concatenate(parts, axis=-1).astype(np.float32)}


def find_v5(outputs: dict[str, np.ndarray], row: int) -> list[Found]:
    rows = outputs["output"][row].tolist()
    return [scalar.best(scalar.corners(*p[:4]), [p[4] * score for score in p[5:]]) for p in rows]


def make_yolox(rng: np.random.Generator, batch: int) -> dict[str, np.ndarray]:
    shape = (batch, len(CELLS))
    parts = [rng.uniform(-1, 1, (*shape, 4)), rng.uniform(0, 1, (*shape, 1 + CLASSES))]
    return {"output": np.concatenate(parts, axis=-1).astype(np.float32)}


def find_yolox(outputs: dict[str, np.ndarray], row: int) -> list[Found]:
    found = []
    for p, (y, x, stride) in zip(outputs["output"][row].tolist(), CELLS, strict=True):
        box = scalar.corners((p[0] + x) * stride, (p[1] + y) * stride, np.exp(p[2]) * stride, np.exp(p[3]) * stride)
        found.append(scalar.best(tuple(map(float, box)), [p[4] * score for score in p[5:]]))
    return found


def make_v10(rng: np.random.Generator, batch: int) -> dict[str, np.ndarray]:
    center = boxes_of(rng, (batch, 40))
    boxes = np.concatenate([center[..., :2] - center[..., 2:] / 2, center[..., :2] + center[..., 2:] / 2], axis=-1)
    labels = rng.integers(0, CLASSES, (batch, 40, 1))
    rows = np.concatenate([boxes, rng.uniform(0, 1, (batch, 40, 1)), labels], axis=-1)
    rows[:, 30:] = 0
    return {"output0": rows.astype(np.float32)}


def find_v10(outputs: dict[str, np.ndarray], row: int) -> list[Found]:
    return [Found(tuple(p[:4]), p[4], int(p[5])) for p in outputs["output0"][row].tolist() if any(p)]


def make_maps(rng: np.random.Generator, batch: int) -> dict[str, np.ndarray]:
    """Make maps in an order that is not by size."""
    channels = 3 * (5 + CLASSES)
    sizes = [SIDE // stride for stride in (16, 32, 8)]
    return {f"map{size}": rng.normal(0, 1.5, (batch, channels, size, size)).astype(np.float32) for size in sizes}


def find_maps(formula: str, reach: list[float]) -> Callable[[dict[str, np.ndarray], int], list[Found]]:
    def find(outputs: dict[str, np.ndarray], row: int) -> list[Found]:
        return [
            _anchored(outputs[f"map{SIDE // stride}"][row][:, y, x].tolist(), (level, anchor, x, y), formula, reach)
            for level, stride in enumerate(STRIDES)
            for anchor, y, x in np.ndindex(3, SIDE // stride, SIDE // stride)
        ]

    return find


def _anchored(cell: list[float], index: tuple[int, ...], formula: str, reach: list[float]) -> Found:
    level, anchor, *corner = index
    p = cell[anchor * (5 + CLASSES) : (anchor + 1) * (5 + CLASSES)]
    far = reach[level]
    if formula == "v5":
        center = [(2 * scalar.sigmoid(p[i]) - 0.5 + corner[i]) * STRIDES[level] for i in (0, 1)]
        size = [(2 * scalar.sigmoid(p[2 + i])) ** 2 * ANCHORS[level][anchor][i] for i in (0, 1)]
    else:
        center = [(far * scalar.sigmoid(p[i]) - (far - 1) / 2 + corner[i]) * STRIDES[level] for i in (0, 1)]
        size = [math.exp(p[2 + i]) * ANCHORS[level][anchor][i] for i in (0, 1)]
    objectness = scalar.sigmoid(p[4])
    return scalar.best(scalar.corners(*center, *size), [objectness * scalar.sigmoid(logit) for logit in p[5:]])


def _anchor_head(formula: str, reach: list[float]) -> Head:
    settings: dict[str, Any] = {"anchors": ANCHORS, "formula": formula, "scale_x_y": reach, **LOOSE}
    return Head(YoloAnchors(**settings), make_maps, find_maps(formula, reach))


HEADS: dict[str, Head] = {
    "yolov8": Head(YoloV8(**LOOSE), make_v8, find_v8, places_axis=2),
    "yolov8 logits, normalized": Head(
        YoloV8(scores="logit", normalized_to=[SIDE, 2 * SIDE], **LOOSE), make_v8_logits, find_v8_logits, places_axis=2
    ),
    "yolov5": Head(YoloV5(**LOOSE), make_v5, find_v5, places_axis=1),
    "yolov10": Head(
        YoloV10(score_threshold=1.0, ap_score_threshold=0.3), make_v10, find_v10, places_axis=1, thins_out=False
    ),
    "yolox": Head(YoloX(**LOOSE), make_yolox, find_yolox),
    "yolov3 maps": _anchor_head("v3", [1.0, 1.0, 1.0]),
    "yolov4 maps": _anchor_head("v4", [1.2, 1.1, 1.05]),
    "yolov5 maps": _anchor_head("v5", [2.0, 2.0, 2.0]),
}
