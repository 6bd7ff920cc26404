"""Which places answer for which object, and what a prediction costs.

Assignment follows TOOD (Feng et al. 2021): a place is worth ``score ** 0.5 * iou ** 6`` to an object around it, and
the best ten answer. Costs are cross-entropy of scores, CIoU (Zheng et al. 2020) and Distribution Focal Loss (Li et al.
2020).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from network import BINS
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from network import Detector

_CANDIDATES = 10
_SCORE_POWER, _IOU_POWER = 0.5, 6.0
_BOX_WEIGHT, _SCORE_WEIGHT, _BINS_WEIGHT = 7.5, 0.5, 1.5
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Truth:
    """Objects of a batch, padded to the same number.

    Attributes
    ----------
    boxes
        (N, m, 4) float32, left, top, right, bottom in input pixels.
    labels
        (N, m) int64; -1 marks padding.
    """

    boxes: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True)
class Assignment:
    """What each place is to answer.

    Attributes
    ----------
    owned
        (N, places) bool: whether the place answers for an object.
    boxes
        (N, places, 4) of the object, in input pixels.
    scores
        (N, places, classes) targets in 0…1.
    """

    owned: Tensor
    boxes: Tensor
    scores: Tensor


def cost(model: Detector, images: Tensor, truth: Truth) -> Tensor:
    """Return the training loss of a batch, a scalar."""
    distances, logits = model.raw(images)
    start, end = model.edges(distances)
    boxes = (torch.cat([start, end], dim=1) * model.strides).transpose(1, 2)
    logits = logits.transpose(1, 2)
    centres = (model.centres * model.strides).T
    assigned = assign(boxes.detach(), logits.detach().sigmoid(), centres, truth)
    total = assigned.scores.sum().clamp(min=1)
    score_cost = functional.binary_cross_entropy_with_logits(logits, assigned.scores, reduction="sum") / total
    # Multiplying by weights that are 0 where nothing is owned avoids indices whose number the GPU would have to tell.
    weights = assigned.scores.sum(dim=2) * assigned.owned
    box_cost = ((1 - complete_iou(boxes, assigned.boxes)) * weights).sum() / total
    bins_cost = (_bins_cost(model, distances, assigned.boxes) * weights).sum() / total
    return _SCORE_WEIGHT * score_cost + _BOX_WEIGHT * box_cost + _BINS_WEIGHT * bins_cost


@torch.no_grad()
def assign(boxes: Tensor, scores: Tensor, centres: Tensor, truth: Truth) -> Assignment:
    """Give each object its best places.

    Parameters
    ----------
    boxes
        Predictions, (N, places, 4) in input pixels.
    scores
        Predicted, (N, places, classes) in 0…1.
    centres
        Of the places, (places, 2) in input pixels.
    truth
        The objects.
    """
    worth, overlap = _worth(boxes, scores, centres, truth)
    best = worth.topk(_CANDIDATES, dim=2)
    claims = torch.zeros_like(worth).scatter(2, best.indices, (best.values > 0).float())
    # A place that several objects claim answers for the one it overlaps most.
    contested = claims * (overlap + _TINY)
    owner = contested.argmax(dim=1)
    owned = contested.amax(dim=1) > 0
    claims = functional.one_hot(owner, truth.labels.shape[1]).transpose(1, 2) * owned[:, None]
    worth, overlap = worth * claims, overlap * claims
    # An object's best place is to score as much as the object's best overlap; the others in proportion.
    share = worth / (worth.amax(dim=2, keepdim=True) + _TINY) * overlap.amax(dim=2, keepdim=True)
    labels = truth.labels.clamp(min=0).gather(1, owner)
    targets = functional.one_hot(labels, scores.shape[2]) * share.amax(dim=1)[..., None]
    return Assignment(owned, truth.boxes.gather(1, owner[..., None].expand(-1, -1, 4)), targets)


def _worth(boxes: Tensor, scores: Tensor, centres: Tensor, truth: Truth) -> tuple[Tensor, Tensor]:
    """Return worth and overlap of each place to each object, (N, m, places); 0 where the place is outside."""
    start, end = truth.boxes[:, :, None, :2], truth.boxes[:, :, None, 2:]
    inside = ((centres > start) & (centres < end)).all(dim=3) & (truth.labels >= 0)[..., None]
    overlap = iou(truth.boxes[:, :, None], boxes[:, None]).clamp(min=0) * inside
    columns = truth.labels.clamp(min=0)[..., None].expand(-1, -1, scores.shape[1])
    of_class = scores.transpose(1, 2).gather(1, columns)
    return of_class**_SCORE_POWER * overlap**_IOU_POWER, overlap


def iou(one: Tensor, other: Tensor) -> Tensor:
    """Return intersection over union of boxes (…, 4), broadcast."""
    shared = (torch.minimum(one[..., 2:], other[..., 2:]) - torch.maximum(one[..., :2], other[..., :2])).clamp(min=0)
    both = _area(one) + _area(other)
    intersection = shared.prod(dim=-1)
    return intersection / (both - intersection + _TINY)


def _area(boxes: Tensor) -> Tensor:
    """Return the areas of boxes (…, 4)."""
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)


def complete_iou(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Return IoU less the distance of the centres and the difference in aspect, for boxes (…, 4)."""
    overlap = iou(predicted, wanted)
    hull = torch.maximum(predicted[..., 2:], wanted[..., 2:]) - torch.minimum(predicted[..., :2], wanted[..., :2])
    apart = (predicted[..., :2] + predicted[..., 2:] - wanted[..., :2] - wanted[..., 2:]) / 2
    distance = apart.square().sum(dim=-1) / (hull.square().sum(dim=-1) + _TINY)
    skew = (_aspect(wanted) - _aspect(predicted)).square() * (4 / math.pi**2)
    with torch.no_grad():
        weight = skew / (1 - overlap + skew + 1e-7)
    return overlap - distance - weight * skew


def _aspect(boxes: Tensor) -> Tensor:
    """Return the angle of each box's diagonal."""
    width, height = (boxes[..., 2:] - boxes[..., :2]).unbind(dim=-1)
    return torch.atan(width / (height + 1e-7))


def _bins_cost(model: Detector, distances: Tensor, wanted: Tensor) -> Tensor:
    """Return the cross-entropy of the two bins around each wanted distance, mean over the edges, (N, places)."""
    corners = wanted.transpose(1, 2) / model.strides
    near, far = model.centres - corners[:, :2], corners[:, 2:] - model.centres
    target = torch.cat([near, far], dim=1).clamp(0, BINS - 1 - 0.01)
    low = target.long()
    share = target - low
    logs = distances.unflatten(1, (4, BINS)).log_softmax(dim=2)
    log_low, log_high = (logs.gather(2, index[:, :, None]).squeeze(2) for index in (low, low + 1))
    return -((1 - share) * log_low + share * log_high).mean(dim=1)
