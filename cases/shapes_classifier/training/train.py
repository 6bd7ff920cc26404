"""Train the classifier of this case and export it: a small residual network on 64x64 images.

``python cases/shapes_classifier/training/train.py`` writes ``model.onnx`` and ``metrics.json`` into the case's folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

CASE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CASE), str(CASE.parent)]

import data  # noqa: E402 - the case's folder is no package: its path comes first
import training_support as support  # noqa: E402 - as above

SIDE = 64
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class Block(nn.Module):
    """Two 3x3 convolutions around which the input is added; where the shape changes, by a 1x1 convolution."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inside, outside, 3, stride)
        self.second = _convolution(outside, outside, 3, 1)
        same = stride == 1 and inside == outside
        self.shortcut = nn.Identity() if same else _convolution(inside, outside, 1, stride)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inside, H, W) -> (N, outside, H / stride, W / stride)."""
        inner = self.second(functional.relu(self.first(features)))
        return functional.relu(inner + self.shortcut(features))


class Classifier(nn.Module):
    """A residual network of three stages with two blocks each. (N, 3, 64, 64) float32 -> (N, classes) logits."""

    def __init__(self, classes: int, widths: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__()
        self.stem = _convolution(3, widths[0], 3, 2)
        stages = []
        for before, width in zip((widths[0], *widths), widths, strict=False):
            stride = 1 if before == width else 2
            stages.append(nn.Sequential(Block(before, width, stride), Block(width, width, 1)))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        features = self.stages(functional.relu(self.stem(images)))
        return self.head(functional.adaptive_avg_pool2d(features, 1).flatten(1))


def _convolution(inside: int, outside: int, kernel: int, stride: int) -> nn.Sequential:
    """Return a convolution with batch normalization."""
    convolution = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outside))


def sample(split: int, index: int) -> tuple[np.ndarray, int]:
    """Draw one image as the network sees it before normalization, (3, 64, 64) uint8 RGB, and its class."""
    image, label = data.draw(split, index)
    resized = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(resized[..., ::-1].transpose(2, 0, 1)), label


def load(split: int, count: int, workers: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Draw images (count, 3, 64, 64) uint8 and labels (count,) of a split onto `device`."""
    images = torch.empty((count, 3, SIDE, SIDE), dtype=torch.uint8)
    labels = torch.empty(count, dtype=torch.int64)
    for index, (image, label) in enumerate(support.drawn(sample, split, count, workers)):
        images[index] = torch.from_numpy(image)
        labels[index] = label
    return images.to(device), labels.to(device)


def normalized(images: Tensor) -> Tensor:
    """Return uint8 RGB images as float32 with ImageNet's mean and deviation."""
    mean, deviation = (torch.tensor(value, device=images.device)[:, None, None] for value in (_MEAN, _STD))
    return (images.float() / 255 - mean) / deviation


def augmented(images: Tensor) -> Tensor:
    """Mirror and transpose images at random, shuffle their colours, shift them by up to 4 pixels."""
    count = len(images)
    for mirrored in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2)):
        chosen = torch.rand(count, 1, 1, 1, device=images.device) < 0.5
        images = torch.where(chosen, mirrored(images), images)
    channels = torch.rand(count, 3, device=images.device).argsort(dim=1)
    images = images[torch.arange(count, device=images.device)[:, None], channels]
    right, down = torch.randint(-4, 5, (2,)).tolist()
    return images.roll((right, down), dims=(-1, -2))


def train(model: nn.Module, images: Tensor, labels: Tensor, settings: support.Settings, rate: float) -> nn.Module:
    """Train `model` and return the moving average of its weights."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, support.cosine(settings))
    average = support.moving_average(model, settings)
    seen = -1
    for epoch, chosen in support.batches(settings, images.device):
        logits = model(normalized(augmented(images[chosen])))
        loss = functional.cross_entropy(logits, labels[chosen], label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(model)
        if epoch != seen:
            print(f"epoch {epoch}: loss {loss.item():.4f}", flush=True)
            seen = epoch
    return average.module.eval()


@torch.inference_mode()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images whose highest logit is their class."""
    guesses = torch.cat([model(normalized(part)).argmax(dim=1) for part in images.split(256)])
    return (guesses == labels).float().mean().item()


def run(model: nn.Module, settings: support.Settings, device: torch.device, rate: float) -> None:
    """Draw, train, measure and export."""
    images, labels = load(data.TRAINING, settings.images, settings.workers, device)
    print(f"drew {settings.images} images", flush=True)
    trained = train(model.to(device), images, labels, settings, rate)
    support.exact()
    images, labels = load(data.EVALUATION, settings.evaluation, settings.workers, device)
    figures = {"accuracy": accuracy(trained, images, labels)}
    support.write_metrics(trained, settings, figures)
    support.export(trained.cpu(), normalized(images[:4]).cpu(), ("image", "logits"), settings.out)


if __name__ == "__main__":
    chosen_settings = support.parse_settings(CASE / "model.onnx", images=24_000, batch=256, epochs=40)
    chosen_device = support.start(chosen_settings)
    run(Classifier(len(data.CLASSES)), chosen_settings, chosen_device, rate=3e-3)
