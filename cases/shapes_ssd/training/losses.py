"""Which default boxes answer for which object, and what a prediction costs: the multibox loss of SSD.

A default box answers for the object that it overlaps most, from an IoU of a half on; each object's best default box
answers for it in any case. Of the others, the hardest count as background, three for each that answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from network import encoded
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from network import Detector

_MIN_OVERLAP = 0.5
_NEGATIVES = 3


@dataclass(frozen=True, slots=True)
class Truth:
    """Objects of a batch, padded to the same number.

    Attributes
    ----------
    boxes
        (N, m, 4) float32, left, top, right, bottom in shares of the image.
    labels
        (N, m) int64; -1 marks padding.
    """

    boxes: Tensor
    labels: Tensor


def cost(model: Detector, images: Tensor, truth: Truth) -> Tensor:
    """Return the training loss of a batch, a scalar."""
    moves, logits = model.raw(images)
    owner, owned = assign(model.defaults, truth)
    total = owned.sum().clamp(min=1)
    boxes = truth.boxes.gather(1, owner[..., None].expand(-1, -1, 4))
    classes = (truth.labels.gather(1, owner) + 1) * owned
    move_cost = functional.smooth_l1_loss(moves, encoded(boxes, model.defaults), reduction="none").sum(dim=2)
    score_cost = functional.cross_entropy(logits.transpose(1, 2), classes, reduction="none")
    counted = owned | hardest(score_cost.detach(), owned)
    return ((move_cost * owned).sum() + (score_cost * counted).sum()) / total


@torch.no_grad()
def assign(defaults: Tensor, truth: Truth) -> tuple[Tensor, Tensor]:
    """Return the object of each default box, (N, places) int64, and whether it answers for it, (N, places) bool."""
    overlap = overlaps(truth.boxes, corners(defaults))
    overlap = torch.where(truth.labels[..., None] >= 0, overlap, -1.0)
    best, owner = overlap.max(dim=1)
    owned = best >= _MIN_OVERLAP
    rows = torch.arange(len(owner), device=owner.device)
    for index in range(truth.labels.shape[1]):
        place = overlap[:, index].argmax(dim=1)
        real = truth.labels[:, index] >= 0
        owner[rows, place] = torch.where(real, index, owner[rows, place])
        owned[rows, place] = real | owned[rows, place]
    return owner, owned


@torch.no_grad()
def hardest(score_cost: Tensor, owned: Tensor) -> Tensor:
    """Return which default boxes that answer for nothing cost most, three for each that answers, (N, places) bool."""
    background = torch.where(owned, -1.0, score_cost)
    rank = background.argsort(dim=1, descending=True).argsort(dim=1)
    return (rank < _NEGATIVES * owned.sum(dim=1, keepdim=True)) & ~owned


def corners(boxes: Tensor) -> Tensor:
    """Return left, top, right, bottom of boxes (places, 4) given by centre and size."""
    return torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], dim=1)


def overlaps(one: Tensor, other: Tensor) -> Tensor:
    """Return intersection over union of boxes (N, m, 4) and (places, 4), (N, m, places)."""
    start = torch.maximum(one[:, :, None, :2], other[:, :2])
    end = torch.minimum(one[:, :, None, 2:], other[:, 2:])
    shared = (end - start).clamp(min=0).prod(dim=3)
    area, other_area = ((boxes[..., 2:] - boxes[..., :2]).prod(dim=-1) for boxes in (one, other))
    return shared / (area[:, :, None] + other_area - shared + 1e-9)
