"""YOLOv8's heads, YOLOv10's rows and RT-DETR as Ultralytics decodes them.

Run with ``ultralytics==8.3.203``, whose RT-DETR has a score for each class, and its requirements, torchvision among
them: ``python -m tests.oracles.ultralytics_heads`` in the repository's root.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
import torchvision  # noqa: F401 - Ultralytics thins out with it where it is loaded
from ultralytics.models.rtdetr.predict import RTDETRPredictor
from ultralytics.nn.modules.head import Detect
from ultralytics.utils import nms, ops
from ultralytics.utils.metrics import batch_probiou

from tests.oracles.making import CLASSES, INPUT, LOWEST, NMS_IOU, ORIGINALS, PLACES, draw_head, store

_PACKAGES = ("ultralytics", "torch", "torchvision")
_POINTS, _COEFFICIENTS = 5, 6
# This release maps boxes back by rounded padding and keypoints by unrounded; here the padding is a whole number.
_WHOLE = ((150, 200), (160, 150))

Found = dict[str, np.ndarray]


def thin_out(head: np.ndarray, classes: int = CLASSES, *, multi_label: bool = False, rotated: bool = False) -> list:
    """Return the kept rows of each image of a head, (images, places, channels)."""
    channels_first = torch.from_numpy(head.swapaxes(1, 2).copy())
    return nms.non_max_suppression(
        channels_first, LOWEST, NMS_IOU, multi_label=multi_label, nc=classes, rotated=rotated, max_time_img=60
    )


def rows_to_found(rows: torch.Tensor, original: tuple[int, int]) -> Found:
    """Return boxes in the original image's pixels, scores and classes of rows x1 y1 x2 y2 score class."""
    boxes = ops.scale_boxes(INPUT, rows[:, :4].clone(), original)
    return {"boxes": boxes.numpy(), "scores": rows[:, 4].numpy(), "classes": rows[:, 5].numpy().astype(np.int64)}


def make_yolov8(rng: np.random.Generator) -> None:
    head = draw_head(rng)
    for name, multi_label in (("yolov8", False), ("yolov8_multi_label", True)):
        rows = thin_out(head, multi_label=multi_label)
        found = [rows_to_found(*pair) for pair in zip(rows, ORIGINALS, strict=True)]
        store(name, _PACKAGES, {"output0": head.swapaxes(1, 2)}, found)


def make_pose(rng: np.random.Generator) -> None:
    head = draw_head(rng, classes=2)
    offsets = rng.uniform(-0.6, 0.6, (*head.shape[:2], _POINTS, 2)) * head[..., None, 2:4]
    visible = rng.uniform(0, 1, (*head.shape[:2], _POINTS, 1))
    points = np.concatenate([head[..., None, :2] + offsets, visible], axis=3).astype(np.float32)
    head = np.concatenate([head, points.reshape(*head.shape[:2], -1)], axis=2)
    found = []
    for rows, original in zip(thin_out(head, 2), _WHOLE, strict=True):
        keypoints = ops.scale_coords(INPUT, rows[:, 6:].reshape(-1, _POINTS, 3).clone(), original)
        found.append({**rows_to_found(rows, original), "keypoints": keypoints.numpy()})
    store("yolov8_pose", _PACKAGES, {"output0": head.swapaxes(1, 2)}, found, _WHOLE)


def make_seg(rng: np.random.Generator) -> None:
    coefficients = rng.normal(size=(len(ORIGINALS), PLACES, _COEFFICIENTS))
    head = np.concatenate([draw_head(rng), coefficients], axis=2).astype(np.float32)
    waves = rng.normal(size=(len(ORIGINALS), _COEFFICIENTS, 4, 5)).astype(np.float32)
    prototypes = torch.nn.functional.interpolate(torch.from_numpy(waves), scale_factor=8, mode="bilinear")
    prototypes = prototypes.half().float()
    found = []
    for rows, original, own in zip(thin_out(head), ORIGINALS, prototypes, strict=True):
        masks = ops.process_mask(own, rows[:, 6:], rows[:, :4], INPUT)
        found.append({**rows_to_found(rows, original), "masks": masks.numpy() > 0})
    outputs = {"output0": head.swapaxes(1, 2), "output1": prototypes.numpy().astype(np.float16)}
    store("yolov8_seg", _PACKAGES, outputs, found)


def make_obb(rng: np.random.Generator) -> None:
    angles = rng.uniform(-np.pi / 4, 3 * np.pi / 4, (len(ORIGINALS), PLACES, 1))
    head = np.concatenate([draw_head(rng), angles], axis=2).astype(np.float32)
    found = []
    for rows, original in zip(thin_out(head, rotated=True), ORIGINALS, strict=True):
        turned = ops.regularize_rboxes(torch.cat([rows[:, :4], rows[:, -1:]], dim=-1))
        turned[:, :4] = ops.scale_boxes(INPUT, turned[:, :4], original, xywh=True)
        corners = ops.xywhr2xyxyxyxy(turned).numpy()
        found.append({"corners": corners, "scores": rows[:, 4].numpy(), "classes": rows[:, 5].numpy().astype(np.int64)})
    store("yolov8_obb", _PACKAGES, {"output0": head.swapaxes(1, 2)}, found)


def make_probiou(rng: np.random.Generator) -> None:
    boxes = np.concatenate([rng.uniform(20, 60, (40, 2)), rng.uniform(2, 60, (40, 2)), rng.uniform(-1, 3, (40, 1))], 1)
    boxes = torch.from_numpy(boxes.astype(np.float32))
    store("probiou", _PACKAGES, {"boxes": boxes}, [{"overlaps": batch_probiou(boxes, boxes)}])


def make_yolov10(rng: np.random.Generator) -> None:
    head = torch.from_numpy(draw_head(rng))
    head[..., :4] = ops.xywh2xyxy(head[..., :4])
    rows = Detect.postprocess(head, 100, CLASSES)
    kept = nms.non_max_suppression(rows, LOWEST, end2end=True)
    found = [rows_to_found(*pair) for pair in zip(kept, ORIGINALS, strict=True)]
    store("yolov10", _PACKAGES, {"output0": rows.numpy()}, found)


def make_rtdetr(rng: np.random.Generator) -> None:
    head = draw_head(rng)[:, :300]
    head[..., :4] /= np.float32([INPUT[1], INPUT[0], INPUT[1], INPUT[0]])
    predictor = SimpleNamespace(
        args=SimpleNamespace(conf=LOWEST, classes=None, max_det=300),
        batch=[[""] * len(ORIGINALS)],
        model=SimpleNamespace(names={number: str(number) for number in range(CLASSES)}),
    )
    images = [np.zeros((*original, 3), np.uint8) for original in ORIGINALS]
    results = RTDETRPredictor.postprocess(predictor, [torch.from_numpy(head)], None, images)
    # Its boxes may reach beyond the image; ours are cut.
    found = [
        {
            "boxes": own.boxes.xyxy.numpy().clip(0, [width, height, width, height]),
            "scores": own.boxes.conf.numpy(),
            "classes": own.boxes.cls.numpy(),
        }
        for own, (height, width) in zip(results, ORIGINALS, strict=True)
    ]
    store("rtdetr_ultralytics", _PACKAGES, {"output0": head}, found)


if __name__ == "__main__":
    for seed, make in enumerate((make_yolov8, make_pose, make_seg, make_obb, make_yolov10, make_rtdetr, make_probiou)):
        make(np.random.default_rng(seed))
