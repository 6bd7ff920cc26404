"""Images for average precision and for kinds of errors, and what other tools say of them."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.detect.ap_images import ApImage

if TYPE_CHECKING:
    from collections.abc import Sequence


def make_image(truth: Sequence[Sequence[float]], found: Sequence[Sequence[float]]) -> ApImage:
    """Return an image from rows x1 y1 x2 y2 class [crowd [area]] and x1 y1 x2 y2 class score."""
    objects = np.array([[*row, *(0, (row[2] - row[0]) * (row[3] - row[1]))[len(row) - 5 :]] for row in truth])
    objects, rows = objects.reshape(-1, 7), np.array(found, np.float64).reshape(-1, 6)
    return ApImage(
        truth_boxes=objects[:, :4],
        truth_classes=objects[:, 4].astype(np.int64),
        truth_is_crowd=objects[:, 5].astype(np.bool_),
        truth_areas=objects[:, 6],
        boxes=rows[:, :4],
        scores=rows[:, 5],
        classes=rows[:, 4].astype(np.int64),
    )


def draw_images(rng: np.random.Generator, count: int, objects: int, *, classes: int = 3) -> list[ApImage]:
    """Return images of up to so many objects, and a detector that shifts, confuses, misses, doubles and invents."""
    return [_draw_image(rng, int(rng.integers(1, objects + 1)), classes) for _ in range(count)]


def _draw_image(rng: np.random.Generator, count: int, classes: int) -> ApImage:
    near = rng.uniform(0, 200, (count, 2))
    boxes = np.hstack([near, near + rng.uniform(10, 60, (count, 2))])
    kinds = rng.integers(0, classes, count)
    chosen = np.concatenate([np.flatnonzero(rng.random(count) < 0.9), rng.integers(0, count, count // 3)])
    found = np.sort((boxes[chosen] + rng.normal(0, 5, (len(chosen), 4))).reshape(-1, 2, 2), axis=1).reshape(-1, 4)
    found_kinds = np.where(rng.random(len(chosen)) < 0.85, kinds[chosen], rng.integers(0, classes, len(chosen)))
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return ApImage(boxes, kinds, np.zeros(count, np.bool_), areas, found, rng.random(len(chosen)), found_kinds)


def width_height(box: np.ndarray) -> list[float]:
    """Return x, y, width, height of a box x1 y1 x2 y2."""
    return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]


def coco_records(images: Sequence[ApImage], first_id: int = 1) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return COCO's data set of the truth, and its list of detections."""
    annotations: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    for number, image in enumerate(images):
        for box, kind, crowd, area in zip(
            image.truth_boxes, image.truth_classes, image.truth_is_crowd, image.truth_areas, strict=True
        ):
            where = {"id": len(annotations) + first_id, "image_id": number, "category_id": int(kind)}
            annotations.append({**where, "bbox": width_height(box), "area": float(area), "iscrowd": int(crowd)})
        for box, kind, score in zip(image.boxes, image.classes, image.scores, strict=True):
            where = {"image_id": number, "category_id": int(kind), "score": float(score)}
            detections.append({**where, "bbox": width_height(box)})
    kinds = {record["category_id"] for record in [*annotations, *detections]}
    images_part = [{"id": number} for number in range(len(images))]
    return {
        "images": images_part,
        "annotations": annotations,
        "categories": [{"id": k} for k in sorted(kinds)],
    }, detections


def coco_precision(images: Sequence[ApImage], max_detections: int, first_id: int = 1) -> dict[str, Any]:
    """Return what pycocotools says: ``ap``, ``ap50``, ``ap75`` and ``per_class``, None where it says -1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, found = COCO(), COCO()
    truth.dataset, detections = coco_records(images, first_id)
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        # loadRes takes no empty list.
        found.dataset = {**truth.dataset, "annotations": []}
        found.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(detections) if detections else found, "bbox")
        evaluation.params.maxDets = [max_detections]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    table = evaluation.eval["precision"][:, :, :, 0, 0]
    classes = {kind["id"]: _mean(table[:, :, row]) for row, kind in enumerate(truth.dataset["categories"])}
    per_class = {kind: value for kind, value in classes.items() if value is not None}
    return {"ap": _mean(table), "ap50": _mean(table[0]), "ap75": _mean(table[5]), "per_class": per_class}


def _mean(part: np.ndarray) -> float | None:
    known = part[part > -1]
    return float(known.mean()) if known.size else None
