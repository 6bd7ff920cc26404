"""SSD's raw head, decoded by OpenCV's Caffe layer DetectionOutput to rows of 7, and by torchvision's SSD to boxes.

Two implementations that know nothing of each other: our decoder of rows has to give torchvision's boxes. Those are also
stored as a model of torchvision gives them, with what it makes of them in the original image.
Run with ``opencv-python-headless==4.13.0.92`` (OpenCV 5 reads no Caffe files), torch and torchvision:
``python -m tests.oracles.ssd_layers`` in the repository's root.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from tests.oracles.making import CLASSES, INPUT, LOWEST, NMS_IOU, store

if TYPE_CHECKING:
    from collections.abc import Sequence

_PACKAGES = ("opencv-python-headless", "torch", "torchvision")
_ORIGINALS = ((150, 200), (251, 143))
_BOXES, _KEPT, _POINTS = 60, 80, 5
_VARIANCES = (0.1, 0.1, 0.2, 0.2)
_NETWORK = f"""
input: "loc" input_shape {{ dim: 2 dim: {_BOXES * 4} }}
input: "conf" input_shape {{ dim: 2 dim: {_BOXES * (CLASSES + 1)} }}
input: "priors" input_shape {{ dim: 1 dim: 2 dim: {_BOXES * 4} }}
layer {{ name: "out" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors" top: "out"
  detection_output_param {{
    num_classes: {CLASSES + 1} background_label_id: 0 share_location: true clip: true
    code_type: CENTER_SIZE nms_param {{ nms_threshold: {NMS_IOU} top_k: {_BOXES} }}
    keep_top_k: {_KEPT} confidence_threshold: {LOWEST} }} }}
"""

Results = list[dict[str, torch.Tensor]]


def run_caffe(offsets: np.ndarray, chances: np.ndarray, priors: np.ndarray) -> np.ndarray:
    """Return rows (1, 1, n, 7) of all images."""
    network = cv2.dnn.readNetFromCaffe(np.frombuffer(_NETWORK.encode(), np.uint8))
    network.setInput(offsets.reshape(len(offsets), -1), "loc")
    network.setInput(chances.reshape(len(chances), -1), "conf")
    variances = np.tile(np.float32(_VARIANCES), len(priors))
    network.setInput(np.stack([priors.ravel(), variances])[None], "priors")
    return network.forward()


def run_torchvision(offsets: np.ndarray, logits: np.ndarray, priors: np.ndarray) -> Results:
    """Return boxes in tensor pixels, scores and labels from 1, of each image."""
    model = SimpleNamespace(
        box_coder=BoxCoder(tuple(1 / variance for variance in _VARIANCES)),
        score_thresh=LOWEST,
        nms_thresh=NMS_IOU,
        topk_candidates=_BOXES,
        detections_per_img=_KEPT,
    )
    anchors = torch.from_numpy(priors) * torch.tensor([INPUT[1], INPUT[0], INPUT[1], INPUT[0]])
    head = {"bbox_regression": torch.from_numpy(offsets), "cls_logits": torch.from_numpy(logits)}
    return SSD.postprocess_detections(model, head, [anchors] * len(offsets), [INPUT] * len(offsets))


def to_image(results: Results, originals: Sequence[tuple[int, int]]) -> list[dict[str, np.ndarray]]:
    """Return each image's results in its own pixels; classes are labels less the background."""
    transform = GeneralizedRCNNTransform(1, 1, [0.0], [1.0]).eval()
    copies = [{part: value.clone() for part, value in result.items()} for result in results]
    mapped = transform.postprocess(copies, [INPUT] * len(originals), list(originals))
    return [
        {**{part: own[part].numpy() for part in own if part != "labels"}, "classes": own["labels"].numpy() - 1}
        for own in mapped
    ]


def main() -> None:
    """Store the rows for ``ssd_rows``, and one image's boxes and keypoints for ``torchvision_boxes``."""
    rng = np.random.default_rng(30)
    corner, extent = rng.uniform(0.02, 0.6, (_BOXES, 2)), rng.uniform(0.1, 0.38, (_BOXES, 2))
    priors = np.concatenate([corner, corner + extent], axis=1).astype(np.float32)
    offsets = rng.normal(0, 0.6, (len(_ORIGINALS), _BOXES, 4)).astype(np.float32)
    logits = rng.normal(0, 1.5, (len(_ORIGINALS), _BOXES, CLASSES + 1)).astype(np.float32)
    logits[..., 0] += 4
    chances = torch.from_numpy(logits).softmax(dim=2).numpy()
    results = run_torchvision(offsets, logits, priors)
    rows = run_caffe(offsets, chances, priors)
    store("ssd_rows", _PACKAGES, {"detections": rows}, to_image(results, _ORIGINALS), originals=_ORIGINALS)

    first = results[0]
    points = rng.uniform(0, 100, (len(first["boxes"]), _POINTS, 3)).astype(np.float32)
    points[..., 2] = 1
    first["keypoints"] = torch.from_numpy(points)
    outputs = {part: value.numpy() for part, value in first.items()}
    found = to_image([first], _ORIGINALS[1:])
    store("torchvision_boxes", ("torchvision", "torch"), outputs, found, originals=_ORIGINALS[1:])


if __name__ == "__main__":
    main()
