"""Models executed, detections decoded, matched and measured without the package: what its figures are held against.

Formulas: docs/judging.md, docs/decoders.md, docs/layers.md. Average precision is that of pycocotools.
"""

from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.optimize import linear_sum_assignment

SIZE = 320
"""Sides of every image, in pixels."""
SHOWN, WEAKEST, NMS_IOU, PAIR_IOU = 0.25, 0.001, 0.45, 0.5


def coarsen(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose convolutions have 17 levels a tensor."""
    for tensor in model.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.dtype == np.float32 and weights.ndim == 4:
            step = np.abs(weights).max() / 8
            tensor.CopyFrom(numpy_helper.from_array((np.round(weights / step) * step).astype(np.float32), tensor.name))
    return model


def execute(model: onnx.ModelProto, feeds: list[np.ndarray], names: list[str] | None = None) -> list[list[np.ndarray]]:
    """Return the outputs of a model for each feed, node by node as it stands."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    return [session.run(names, {given.name: feed}) for feed in feeds]


def decode(head: np.ndarray) -> np.ndarray:
    """Return what a head, (9, places), detects: each place's best class, thinned out by class; (n, 6), best first."""
    center, size, scores = head[:2], head[2:4], head[4:]
    corners = np.float32(
        np.concatenate([np.float32(center) - np.float32(size) / 2, np.float32(center) + np.float32(size) / 2])
    )
    rows = np.column_stack([corners.T.astype(np.float64), scores.max(axis=0), scores.argmax(axis=0)])
    rows = rows[rows[:, 4] >= WEAKEST]
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    kept: list[np.ndarray] = []
    for row in rows:
        rivals = [one for one in kept if one[5] == row[5]]
        if not rivals or overlaps(row[None], np.array(rivals)).max() <= NMS_IOU:
            kept.append(row)
    found = np.array(kept[:300]).reshape(-1, 6)
    found[:, :4] = found[:, :4].clip(0, SIZE)
    return found


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the IoU of every box with every other, (n, m)."""
    low, high = (
        np.maximum(first[:, None, :2], second[None, :, :2]),
        np.minimum(first[:, None, 2:4], second[None, :, 2:4]),
    )
    common = (high - low).clip(0).prod(axis=2)
    areas = [(side[:, 2:4] - side[:, :2]).prod(axis=1) for side in (first, second)]
    return common / (areas[0][:, None] + areas[1][None] - common)


def pairs_of(reference: np.ndarray, candidate: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Return the pairs of one class of what both sides show, with their IoUs, where the sum of these is the largest."""
    first, second = (side[side[:, 4] >= SHOWN] for side in (reference, candidate))
    found = overlaps(first, second) * (first[:, None, 5] == second[None, :, 5])
    found[found < PAIR_IOU] = 0.0
    rows, columns = linear_sum_assignment(found, maximize=True)
    return [
        (first[row], second[column], found[row, column])
        for row, column in zip(rows, columns, strict=True)
        if found[row, column]
    ]


def coco_precision(truth: list[np.ndarray], found: list[np.ndarray], classes: list[int]) -> np.ndarray:
    """Return the average precision at the ten IoUs, (10,), of pycocotools: all detections, all areas."""
    boxes = [
        {
            "id": 0,
            "image_id": image,
            "category_id": int(row[5]),
            "bbox": [*row[:2], *(row[2:4] - row[:2])],
            "area": float((row[2:4] - row[:2]).prod()),
            "iscrowd": 0,
        }
        for image, rows in enumerate(truth)
        for row in rows
    ]
    results = [
        {
            "image_id": image,
            "category_id": int(row[5]),
            "bbox": [*row[:2], *(row[2:4] - row[:2])],
            "score": float(row[4]),
        }
        for image, rows in enumerate(found)
        for row in rows
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image} for image in range(len(truth))],
            "categories": [{"id": number} for number in classes],
            "annotations": [box | {"id": place + 1} for place, box in enumerate(boxes)],
        }
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(results), "bbox")
        judge.params.maxDets = [1, 10, 300]
        judge.evaluate()
        judge.accumulate()
    # (IoUs, recalls, classes, areas, limits); -1 where a class has no truth.
    precision = judge.eval["precision"][:, :, :, 0, 2]
    per_class = np.where(precision[:, 0] < 0, np.nan, precision.mean(axis=1))
    return np.nanmean(per_class, axis=1)


def decibels(expected: np.ndarray, found: np.ndarray) -> float:
    """Return the SQNR; infinite where nothing differs."""
    noise = ((found.astype(np.float64) - expected) ** 2).sum()
    return 10 * math.log10((expected.astype(np.float64) ** 2).sum() / noise) if noise else math.inf


def every_tensor(model: onnx.ModelProto, feed: np.ndarray) -> dict[str, np.ndarray]:
    """Return the float tensors inside a model by their names."""
    kinds = onnx.shape_inference.infer_shapes(model).graph.value_info
    names = [value.name for value in kinds if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return dict(zip(names, execute(opened, [feed], names)[0], strict=True))


def alone(model: onnx.ModelProto, node: onnx.NodeProto, given: np.ndarray) -> np.ndarray:
    """Return what a node with weights gives for a tensor."""
    inputs = [onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, given.shape)]
    weights = [tensor for tensor in model.graph.initializer if tensor.name in node.input]
    graph = onnx.helper.make_graph([node], "alone", inputs, [onnx.ValueInfoProto(name=node.output[0])], weights)
    part = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return execute(part, [given])[0][0]
