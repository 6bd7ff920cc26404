"""YOLOv5's raw maps, and what its own head and thinning out make of them.

Run with ``yolov5==7.0.14`` and its requirements, ``setuptools<80`` among them: ``python -m tests.oracles.yolov5_head``
in the repository's root.
"""

from __future__ import annotations

import numpy as np
import torch
from yolov5.models.yolo import Detect
from yolov5.utils.general import non_max_suppression, scale_boxes

from tests.oracles.making import CLASSES, INPUT, LOWEST, NMS_IOU, store
from tests.oracles.maps import ANCHORS, STRIDES, draw_maps

# Its head maps back by unrounded padding, so the padding of both images is a whole number.
_ORIGINALS = ((150, 200), (160, 150))
_PACKAGES = ("yolov5", "torch", "torchvision")


def make_head() -> Detect:
    """Return the head with convolutions that pass on what comes in."""
    channels = 3 * (5 + CLASSES)
    head = Detect(CLASSES, [np.ravel(level).tolist() for level in ANCHORS], [channels] * len(STRIDES))
    head.stride = torch.tensor(STRIDES, dtype=torch.float32)
    head.anchors /= head.stride[:, None, None]
    for convolution in head.m:
        convolution.weight.data = torch.eye(channels)[..., None, None]
        convolution.bias.data.zero_()
    return head.eval()


def main() -> None:
    """Store the decoded head for ``yolov5`` and the raw maps for ``yolo_anchors``."""
    maps = draw_maps(np.random.default_rng(10), len(_ORIGINALS))
    with torch.no_grad():
        predictions, _ = make_head()([torch.from_numpy(level) for level in maps])
    found = []
    kept = non_max_suppression(predictions.clone(), LOWEST, NMS_IOU)
    for rows, original in zip(kept, _ORIGINALS, strict=True):
        boxes = scale_boxes(INPUT, rows[:, :4].clone(), original).numpy()
        found.append({"boxes": boxes, "scores": rows[:, 4].numpy(), "classes": rows[:, 5].numpy().astype(np.int64)})
    decoded = {"output": predictions.numpy()}
    raw = {f"map{stride}": level for stride, level in zip(STRIDES, maps, strict=True)}
    store("yolov5", _PACKAGES, decoded, found, originals=_ORIGINALS)
    store("yolo_anchors_v5", _PACKAGES, raw, found, originals=_ORIGINALS)


if __name__ == "__main__":
    main()
