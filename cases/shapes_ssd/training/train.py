"""Train the detector of this case and export it with its suppression.

``python cases/shapes_ssd/training/train.py`` writes ``model.onnx`` and ``metrics.json`` into the case's folder.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import torch
from torch import Tensor

CASE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CASE), str(CASE.parent)]

import data  # noqa: E402 - the case's folder is no package: its path comes first
import training_support as support  # noqa: E402 - as above
from average_precision import Objects, precision_table, unpadded  # noqa: E402 - as above
from detection_augmentation import augmented  # noqa: E402 - as above
from losses import Truth, cost  # noqa: E402 - as above
from network import SIDE, Detector  # noqa: E402 - as above
from suppression import suppressed, with_suppression  # noqa: E402 - as above

_CHECKED_IMAGES = 8
_WHOLE = 255.0


def sample(split: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a stretched image (3, 300, 300) uint8 BGR, its boxes (6, 4) in pixels and classes (6,), padded with -1."""
    scene = data.draw(split, index)
    height, width = scene.image.shape[:2]
    image = cv2.resize(scene.image, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    boxes = np.zeros((data.MAX_SHAPES, 4), np.float32)
    labels = np.full(data.MAX_SHAPES, -1, np.int64)
    boxes[: len(scene.boxes)] = scene.boxes * np.tile([SIDE / width, SIDE / height], 2)
    labels[: len(scene.labels)] = scene.labels
    return np.ascontiguousarray(image.transpose(2, 0, 1)), boxes, labels


@dataclass(frozen=True, slots=True)
class Drawings:
    """Images with their truth.

    Attributes
    ----------
    images
        (N, 3, 300, 300) uint8 BGR.
    boxes
        (N, 6, 4) float32, left, top, right, bottom in input pixels.
    labels
        (N, 6) int64; -1 marks padding.
    """

    images: Tensor
    boxes: Tensor
    labels: Tensor


def load(split: int, count: int, workers: int, device: torch.device) -> Drawings:
    """Draw a split's first images onto `device`."""
    images = torch.empty((count, 3, SIDE, SIDE), dtype=torch.uint8)
    boxes = torch.empty((count, data.MAX_SHAPES, 4))
    labels = torch.empty((count, data.MAX_SHAPES), dtype=torch.int64)
    for index, drawing in enumerate(support.drawn(sample, split, count, workers)):
        for store, part in zip((images, boxes, labels), drawing, strict=True):
            store[index] = torch.from_numpy(part)
    return Drawings(images.to(device), boxes.to(device), labels.to(device))


def train(model: Detector, drawings: Drawings, settings: support.Settings, rate: float) -> Detector:
    """Train `model` and return the moving average of its weights."""

    def loss(chosen: Tensor) -> Tensor:
        images, boxes = augmented(drawings.images[chosen].float() / _WHOLE, drawings.boxes[chosen])
        return cost(model, images * _WHOLE, Truth(boxes / SIDE, drawings.labels[chosen]))

    return support.fit(model, loss, settings, drawings.images.device, rate)


@torch.inference_mode()
def precision(model: Detector, drawings: Drawings) -> dict[str, float]:
    """Return average precision by class at IoU 0.5, its mean, and the mean over IoU 0.5 to 0.95."""
    found = []
    for part in drawings.images.split(64):
        outputs = (output.cpu().numpy() for output in model(part.float()))
        for corners, scores in zip(*outputs, strict=True):
            rows = suppressed(corners, scores)
            found.append(Objects(rows[:, 3:] * SIDE, rows[:, 1].astype(np.int64) - 1, rows[:, 2]))
    return precision_table(found, unpadded(drawings.boxes.cpu().numpy(), drawings.labels.cpu().numpy()), data.CLASSES)


def export(model: Detector, images: Tensor, out: Path) -> None:
    """Write `model` with its suppression as ONNX and check it on `images` (n, 3, 300, 300) float32, on the CPU.

    Raises
    ------
    AssertionError
        Where ONNX Runtime and torch with NumPy's suppression disagree.
    """
    trunk = support.export_graph(model, images[:1], ("image", "boxes", "scores"), dynamic=False)
    for image in images.split(1):
        support.verify(trunk, image, dict(zip(("boxes", "scores"), support.outputs_of(model, image), strict=True)))
    whole = with_suppression(trunk, "boxes", "scores")
    support.save(whole, out)
    plain, ending = (
        onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        for proto in (trunk, whole)
    )
    for image in images.split(1):
        feed = {"image": image.numpy()}
        boxes, scores = plain.run(["boxes", "scores"], feed)
        check_rows(suppressed(boxes[0], scores[0]), *ending.run(["detections", "keep_count"], feed))


def check_rows(expected: np.ndarray, detections: np.ndarray, count: np.ndarray) -> None:
    """Compare the graph's rows with those expected; equal scores may come in any order, so both are put into one."""
    (kept,) = count.ravel().tolist()
    assert kept == len(expected), f"{kept} rows are kept, {len(expected)} are expected"
    rows = detections[0, 0]
    np.testing.assert_array_equal(rows[kept:, 0], -1)
    np.testing.assert_array_equal(rows[kept:, 1:], 0)
    in_order = [side[np.lexsort(side.T[::-1])] for side in (rows[:kept], expected)]
    np.testing.assert_allclose(*in_order, rtol=1e-5, atol=1e-6)


def run(settings: support.Settings, device: torch.device, rate: float) -> None:
    """Draw, train, measure and export."""
    evaluation = load(data.EVALUATION, settings.evaluation, settings.workers, device)
    checked = evaluation.images[:_CHECKED_IMAGES].cpu().float()
    model = Detector(len(data.CLASSES))
    # What cannot be exported should fail before the training, not behind it.
    export(model.eval(), checked, settings.out)
    drawings = load(data.TRAINING, settings.images, settings.workers, device)
    print(f"drew {settings.images} images", flush=True)
    trained = train(model.train().to(device), drawings, settings, rate)
    support.exact()
    support.write_metrics(trained, settings, precision(trained, evaluation))
    export(trained.cpu(), checked, settings.out)


if __name__ == "__main__":
    chosen_settings = support.parse_settings(CASE / "model.onnx", images=12_000, batch=128, epochs=30)
    run(chosen_settings, support.start(chosen_settings), rate=3e-3)
