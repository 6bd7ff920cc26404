"""Random changes of training images together with their boxes."""

from __future__ import annotations

import torch
from torch import Tensor


def augmented(images: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror and transpose square images with their boxes at random, shuffle their colours, change their brightness.

    Parameters
    ----------
    images
        (N, 3, side, side) float32 in 0 to 1.
    boxes
        (N, m, 4) left, top, right, bottom in pixels of the images.
    """
    count, device, side = len(images), images.device, images.shape[-1]
    moves = (
        (lambda x: x.flip(-1), lambda b: torch.stack([side - b[..., 2], b[..., 1], side - b[..., 0], b[..., 3]], -1)),
        (lambda x: x.flip(-2), lambda b: torch.stack([b[..., 0], side - b[..., 3], b[..., 2], side - b[..., 1]], -1)),
        (lambda x: x.transpose(-1, -2), lambda b: b[..., [1, 0, 3, 2]]),
    )
    for move_image, move_boxes in moves:
        chosen = torch.rand(count, device=device) < 0.5
        images = torch.where(chosen[:, None, None, None], move_image(images), images)
        boxes = torch.where(chosen[:, None, None], move_boxes(boxes), boxes)
    return recoloured(images), boxes


def recoloured(images: Tensor) -> Tensor:
    """Shuffle the colours of images in 0 to 1 at random and change their brightness by up to 30 %."""
    count, device = len(images), images.device
    channels = torch.rand(count, 3, device=device).argsort(dim=1)
    images = images[torch.arange(count, device=device)[:, None], channels]
    brightness = 0.7 + 0.6 * torch.rand(count, 1, 1, 1, device=device)
    return (images * brightness).clamp(max=1)
