"""Train the detector of this case and export it.

``python cases/shapes_yolo/training/train.py`` writes ``model.onnx`` and ``metrics.json`` into the case's folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

CASE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CASE), str(CASE.parent)]

import data  # noqa: E402 - the case's folder is no package: its path comes first
import training_support as support  # noqa: E402 - as above
from average_precision import detections, precision_table, unpadded  # noqa: E402 - as above
from detection_augmentation import augmented  # noqa: E402 - as above
from losses import Truth, cost  # noqa: E402 - as above
from network import SIDE, Detector  # noqa: E402 - as above

_PADDING = 114


def sample(split: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a letterboxed image (3, 320, 320) uint8 RGB, its boxes (6, 4) in pixels and classes (6,), padded with -1."""
    scene = data.draw(split, index)
    image, scale, offset = letterboxed(scene.image)
    boxes = np.zeros((data.MAX_SHAPES, 4), np.float32)
    labels = np.full(data.MAX_SHAPES, -1, np.int64)
    boxes[: len(scene.boxes)] = scene.boxes * np.tile(scale, 2) + np.tile(offset, 2)
    labels[: len(scene.labels)] = scene.labels
    return np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)), boxes, labels


def letterboxed(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit an image into 320x320, centred on grey.

    Returns
    -------
    tuple
        The image (320, 320, 3) uint8, the scale of x and y (2,) and the offset of x and y in pixels (2,).
    """
    height, width = image.shape[:2]
    ratio = SIDE / max(height, width)
    new_width, new_height = round(width * ratio), round(height * ratio)
    # Halves are rounded as YOLO's preprocessing rounds them: an odd remainder goes to the right and the bottom.
    left, top = (round((SIDE - side) / 2 - 0.1) for side in (new_width, new_height))
    canvas = np.full((SIDE, SIDE, 3), _PADDING, np.uint8)
    resized = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    canvas[top : top + new_height, left : left + new_width] = resized
    return canvas, np.array([new_width / width, new_height / height]), np.array([left, top])


def load(split: int, count: int, workers: int, device: torch.device) -> tuple[Tensor, Truth]:
    """Draw images (count, 3, 320, 320) uint8 and their objects onto `device`."""
    images = torch.empty((count, 3, SIDE, SIDE), dtype=torch.uint8)
    boxes = torch.empty((count, data.MAX_SHAPES, 4))
    labels = torch.empty((count, data.MAX_SHAPES), dtype=torch.int64)
    for index, drawing in enumerate(support.drawn(sample, split, count, workers)):
        for store, part in zip((images, boxes, labels), drawing, strict=True):
            store[index] = torch.from_numpy(part)
    return images.to(device), Truth(boxes.to(device), labels.to(device))


def train(model: Detector, images: Tensor, truth: Truth, settings: support.Settings, rate: float) -> Detector:
    """Train `model` and return the moving average of its weights."""

    def loss(chosen: Tensor) -> Tensor:
        batch, boxes = augmented(images[chosen].float() / 255, truth.boxes[chosen])
        return cost(model, batch, Truth(boxes, truth.labels[chosen]))

    return support.fit(model, loss, settings, images.device, rate)


@torch.inference_mode()
def precision(model: Detector, images: Tensor, truth: Truth) -> dict[str, float]:
    """Return average precision by class at IoU 0.5, its mean, and the mean over IoU 0.5 to 0.95."""
    outputs = torch.cat([model(part.float() / 255).cpu() for part in images.split(64)]).numpy()
    found = [detections(output) for output in outputs]
    return precision_table(found, unpadded(truth.boxes.cpu().numpy(), truth.labels.cpu().numpy()), data.CLASSES)


def run(settings: support.Settings, device: torch.device, rate: float) -> None:
    """Draw, train, measure and export."""
    images, truth = load(data.TRAINING, settings.images, settings.workers, device)
    print(f"drew {settings.images} images", flush=True)
    model = train(Detector(len(data.CLASSES)).to(device), images, truth, settings, rate)
    support.exact()
    images, truth = load(data.EVALUATION, settings.evaluation, settings.workers, device)
    support.write_metrics(model, settings, precision(model, images, truth))
    support.export(model.cpu(), images[:4].cpu().float() / 255, ("images", "output0"), settings.out)


if __name__ == "__main__":
    chosen_settings = support.parse_settings(CASE / "model.onnx", images=12_000, batch=128, epochs=40)
    run(chosen_settings, support.start(chosen_settings), rate=3e-3)
