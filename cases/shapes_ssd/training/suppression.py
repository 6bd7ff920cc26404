"""What turns boxes and scores into rows of 7 inside the graph, and the same in NumPy to check it by.

A row is image, label, score, x1, y1, x2, y2: labels count from 1 because 0 is the background, corners are shares of the
image. There are always `KEPT` rows, the highest score first; those of nothing have image -1 and zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

KEPT = 100
"""Rows in the output."""
PER_CLASS = 50
MAX_OVERLAP = 0.45
MIN_SCORE = 0.01

Array = np.ndarray[Any, Any]


class _Tail:
    """Nodes and constants behind a graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, name: str, *inputs: str | Array, outputs: int = 1, **attributes: int | float) -> str:
        """Add a node, and its arrays as constants; return its first output."""
        names = [f"{name}_{index}" if index else name for index in range(outputs)]
        taken = [self._input(name, index, value) for index, value in enumerate(inputs)]
        self.nodes.append(helper.make_node(kind, taken, names, name=f"/suppression/{name}", **attributes))
        return names[0]

    def _input(self, name: str, index: int, value: str | Array) -> str:
        if isinstance(value, str):
            return value
        self.constants.append(numpy_helper.from_array(value, f"suppression.{name}.{index}"))
        return self.constants[-1].name


def with_suppression(model: onnx.ModelProto, boxes: str, scores: str) -> onnx.ModelProto:
    """Put suppression behind a model of batch 1.

    Parameters
    ----------
    boxes, scores
        Its outputs, (1, places, 4) and (1, classes, places), which vanish into the graph.

    Returns
    -------
    onnx.ModelProto
        Gives ``detections`` (1, 1, KEPT, 7) float32 and ``keep_count`` (1, 1, 1, 1) int32.
    """
    places = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    tail = _Tail()
    rows = _surviving_rows(tail, boxes, scores, places)
    _best_rows(tail, rows)
    graph = helper.make_graph(
        [*model.graph.node, *tail.nodes],
        model.graph.name,
        list(model.graph.input),
        [
            helper.make_tensor_value_info("detections", TensorProto.FLOAT, [1, 1, KEPT, 7]),
            helper.make_tensor_value_info("keep_count", TensorProto.INT32, [1, 1, 1, 1]),
        ],
        [*model.graph.initializer, *tail.constants],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _surviving_rows(tail: _Tail, boxes: str, scores: str, places: int) -> str:
    """Add what gives label, score and box of all that survives suppression, (survivors, 6)."""
    limits = (np.array([PER_CLASS], np.int64), np.array([MAX_OVERLAP], np.float32), np.array([MIN_SCORE], np.float32))
    survivors = tail.node("NonMaxSuppression", "survivors", boxes, scores, *limits)
    # Columns (survivors, 1) spare the graph reshapes of what has no fixed shape.
    column = tail.node("Gather", "class", survivors, np.array([1], np.int64), axis=1)
    place = tail.node("Gather", "place", survivors, np.array([2], np.int64), axis=1)
    start = tail.node("Mul", "class_start", column, np.array([places], np.int64))
    index = tail.node("Add", "score_index", start, place)
    flat_scores = tail.node("Reshape", "flat_scores", scores, np.array([-1], np.int64))
    score = tail.node("Gather", "score", flat_scores, index, axis=0)
    flat_boxes = tail.node("Reshape", "flat_boxes", boxes, np.array([-1, 4], np.int64))
    flat_place = tail.node("Gather", "flat_place", survivors, np.array(2, np.int64), axis=1)
    box = tail.node("Gather", "box", flat_boxes, flat_place, axis=0)
    number = tail.node("Cast", "class_number", column, to=TensorProto.FLOAT)
    counted = tail.node("Add", "label", number, np.array([1], np.float32))
    return tail.node("Concat", "rows", counted, score, box, axis=1)


def _best_rows(tail: _Tail, rows: str) -> None:
    """Add what pads rows (survivors, 6), takes the best and gives the graph's outputs."""
    padded = tail.node("Concat", "padded_rows", rows, np.zeros((KEPT, 6), np.float32), axis=0)
    scores = tail.node("Gather", "padded_scores", padded, np.array(1, np.int64), axis=1)
    best = tail.node("TopK", "best", scores, np.array([KEPT], np.int64), outputs=2, axis=0, largest=1, sorted=1)
    chosen = tail.node("Gather", "best_rows", padded, f"{best}_1", axis=0)
    positive = tail.node("Greater", "is_real", best, np.array(0, np.float32))
    real = tail.node("Cast", "real", positive, to=TensorProto.FLOAT)
    image = tail.node("Sub", "image_number", real, np.array(1, np.float32))
    column = tail.node("Reshape", "image_column", image, np.array([KEPT, 1], np.int64))
    numbered = tail.node("Concat", "numbered_rows", column, chosen, axis=1)
    tail.node("Reshape", "detections", numbered, np.array([1, 1, KEPT, 7], np.int64))
    total = tail.node("ReduceSum", "real_count", real, np.array([0], np.int64), keepdims=1)
    shaped = tail.node("Reshape", "real_count_shaped", total, np.array([1, 1, 1, 1], np.int64))
    tail.node("Cast", "keep_count", shaped, to=TensorProto.INT32)


def suppressed(boxes: Array, scores: Array) -> Array:
    """Return the rows (n, 7) of one image's boxes (places, 4) and scores (classes, places), the best first."""
    rows = [
        (0, label + 1, scores[label, place], *boxes[place])
        for label in range(len(scores))
        for place in _kept(boxes, scores[label])
    ]
    ordered = sorted(rows, key=lambda row: -row[2])[:KEPT]
    return np.array(ordered, np.float32).reshape(-1, 7)


def _kept(boxes: Array, scores: Array) -> list[int]:
    """Return the places of one class that no better one overlaps too much, the best first."""
    kept: list[int] = []
    for place in np.argsort(-scores, kind="stable")[: int((scores > MIN_SCORE).sum())].tolist():
        if len(kept) < PER_CLASS and not (_overlaps(boxes[place], boxes[kept]) > MAX_OVERLAP).any():
            kept.append(place)
    return kept


def _overlaps(box: Array, others: Array) -> Array:
    """Return intersection over union of a box (4,) and others (n, 4)."""
    shared = (np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])).clip(min=0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    return shared / ((box[2:] - box[:2]).prod() + areas - shared)
