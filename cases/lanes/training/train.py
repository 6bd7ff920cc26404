"""Train the lane detector of this case and export it.

``python cases/lanes/training/train.py`` writes ``model.onnx`` and ``metrics.json`` into the case's folder.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

CASE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CASE), str(CASE.parent)]

import data  # noqa: E402 - the case's folder is no package: its path comes first
import training_support as support  # noqa: E402 - as above
from network import (  # noqa: E402 - as above
    ANCHORS,
    CELLS,
    CLASSES,
    HEIGHT,
    KINDS,
    LANES,
    STRIDE,
    WIDTH,
    Detector,
    anchor_rows,
)

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_DISTANCE_WEIGHT = 0.05
_CHECKED_IMAGES = 4


@dataclass(frozen=True, slots=True)
class Drawings:
    """Images with their truth.

    Attributes
    ----------
    images
        (N, 3, 160, 800) uint8 RGB.
    places
        (N, 4, 32) float32: where markings cross the anchors, in cells, 0 the centre of the first; NaN where none does.
    attributes
        (N, 2, 4) int64.
    """

    images: Tensor
    places: Tensor
    attributes: Tensor

    def take(self, chosen: Tensor) -> Drawings:
        """Return some of them."""
        return Drawings(self.images[chosen], self.places[chosen], self.attributes[chosen])


def sample(split: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a stretched image (3, 160, 800) uint8 RGB, its places (4, 32) float32 and attributes (2, 4)."""
    scene = data.draw(split, index)
    height, width = scene.image.shape[:2]
    image = cv2.resize(scene.image, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    columns = scene.road.columns(anchor_rows().double().numpy() * (height / HEIGHT))
    places = (columns * (WIDTH / width) / STRIDE - 0.5).clip(0, CELLS - 1)
    return np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)), places.astype(np.float32), scene.attributes


def load(split: int, count: int, workers: int, device: torch.device) -> Drawings:
    """Draw a split's first images onto `device`."""
    images = torch.empty((count, 3, HEIGHT, WIDTH), dtype=torch.uint8)
    places = torch.empty((count, LANES, ANCHORS))
    attributes = torch.empty((count, KINDS, LANES), dtype=torch.int64)
    for index, drawing in enumerate(support.drawn(sample, split, count, workers)):
        for store, part in zip((images, places, attributes), drawing, strict=True):
            store[index] = torch.from_numpy(part)
    return Drawings(images.to(device), places.to(device), attributes.to(device))


def normalized(images: Tensor) -> Tensor:
    """Return uint8 RGB images as float32 with ImageNet's mean and deviation."""
    mean, deviation = (torch.tensor(value, device=images.device)[:, None, None] for value in (_MEAN, _STD))
    return (images.float() / 255 - mean) / deviation


def augmented(drawings: Drawings) -> Drawings:
    """Mirror half of the images, which turns the order of their markings about; change brightness by up to 20 %."""
    count, device = len(drawings.images), drawings.images.device
    chosen = torch.rand(count, device=device) < 0.5
    images = torch.where(chosen[:, None, None, None], drawings.images.flip(-1), drawings.images)
    places = torch.where(chosen[:, None, None], CELLS - 1 - drawings.places.flip(1), drawings.places)
    attributes = torch.where(chosen[:, None, None], drawings.attributes.flip(2), drawings.attributes)
    brightness = 0.8 + 0.4 * torch.rand(count, 1, 1, 1, device=device)
    return Drawings((images * brightness).clamp(max=255), places, attributes)


def cost(model: Detector, drawings: Drawings) -> Tensor:
    """Return the training loss of a batch, a scalar.

    Cross-entropy of the cells, shared between the two around a place, and of the attributes, and the distance of
    expected places, which are what is decoded.
    """
    grid, attributes = model(normalized(drawings.images))
    grid = grid.reshape(-1, CELLS + 1, ANCHORS, LANES).transpose(1, 3)
    known = ~drawings.places.isnan()
    places = drawings.places.nan_to_num(0.0)
    lower = places.floor().long().clamp(max=CELLS - 2)
    share = places - lower
    rewards = grid.log_softmax(dim=3)
    around = [rewards.gather(3, (lower + step)[..., None]).squeeze(3) for step in (0, 1)]
    here = (1 - share) * around[0] + share * around[1]
    cell_cost = -torch.where(known, here, rewards[..., CELLS]).mean()
    distance = ((expected_places(grid) - places).abs() * known).sum() / known.sum().clamp(min=1)
    logits = attributes.reshape(-1, KINDS, LANES, CLASSES)
    kind_cost = functional.cross_entropy(logits.flatten(0, 2), drawings.attributes.flatten())
    return cell_cost + _DISTANCE_WEIGHT * distance + kind_cost


def expected_places(grid: Tensor) -> Tensor:
    """Return the expectations over the cells of logits (N, 4, 32, 201), "not here" left out, (N, 4, 32)."""
    cells = torch.arange(CELLS, dtype=torch.float32, device=grid.device)
    return (grid[..., :CELLS].softmax(dim=3) * cells).sum(dim=3)


@torch.inference_mode()
def figures(model: Detector, drawings: Drawings) -> dict[str, float]:
    """Return how many points are found and invented, how far they lie off, and how many attributes are right."""
    outputs = [model(normalized(part)) for part in drawings.images.split(64)]
    grid, attributes = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    grid = grid.reshape(-1, CELLS + 1, ANCHORS, LANES).transpose(1, 3)
    found, known = grid.argmax(dim=3) < CELLS, ~drawings.places.isnan()
    both = found & known
    distance = (expected_places(grid) - drawings.places).abs()[both] * STRIDE
    guesses = attributes.reshape(-1, KINDS, LANES, CLASSES).argmax(dim=3)
    right = (guesses == drawings.attributes)[known.any(dim=2)[:, None].expand_as(guesses)]
    return {
        "point_recall": (both.sum() / known.sum()).item(),
        "point_precision": (both.sum() / found.sum().clamp(min=1)).item(),
        "point_error_mean_px": distance.mean().item(),
        "point_error_p99_px": np.quantile(distance.cpu().numpy(), 0.99).item() if len(distance) else float("nan"),
        "attribute_accuracy": right.float().mean().item(),
    }


def run(settings: support.Settings, device: torch.device, rate: float) -> None:
    """Draw, train, measure and export."""
    evaluation = load(data.EVALUATION, settings.evaluation, settings.workers, device)
    checked = normalized(evaluation.images[:_CHECKED_IMAGES]).cpu()
    model = Detector()
    names = ("image", "grid", "attributes")
    # What cannot be exported should fail before the training, not behind it.
    support.export(model.eval(), checked, names, settings.out)
    drawings = load(data.TRAINING, settings.images, settings.workers, device)
    print(f"drew {settings.images} images", flush=True)
    model.train().to(device)
    trained = support.fit(model, lambda chosen: cost(model, augmented(drawings.take(chosen))), settings, device, rate)
    support.exact()
    support.write_metrics(trained, settings, figures(trained, evaluation))
    support.export(trained.cpu(), checked, names, settings.out)


if __name__ == "__main__":
    chosen_settings = support.parse_settings(CASE / "model.onnx", images=12_000, batch=64, epochs=20)
    run(chosen_settings, support.start(chosen_settings), rate=3e-3)
