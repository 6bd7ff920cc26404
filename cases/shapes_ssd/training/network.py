"""A single shot detector in the manner of SSD (Liu et al. 2016), small enough for a test suite.

Residual stages down to stride 64; at strides 8, 16, 32 and 64 one convolution gives, for each of four default boxes a
place, class logits with the background first, and another how the default box is to be moved.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 300
STRIDES = (8, 16, 32, 64)
SCALES = (32.0, 58.0, 96.0, 144.0, 200.0)
"""The side of the square default box by stride, in input pixels, and that of a stride more, for the larger square."""
SHAPES = 4
"""Default boxes a place: a square, a larger square, one twice as wide as high, one twice as high as wide."""
VARIANCES = (0.1, 0.2)


class Block(nn.Module):
    """Two 3x3 convolutions around which the input is added; where the shape changes, by a 1x1 convolution."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inside, outside, 3, stride)
        self.second = _convolution(outside, outside, 3, 1)
        self.shortcut = nn.Identity() if inside == outside and stride == 1 else _convolution(inside, outside, 1, stride)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inside, H, W) -> (N, outside, ceil(H / stride), ceil(W / stride))."""
        return functional.relu(self.second(functional.relu(self.first(features))) + self.shortcut(features))


class Detector(nn.Module):
    """The whole network without suppression. (N, 3, 300, 300) float32 BGR in 0 to 255 -> boxes and scores.

    Boxes are (N, places, 4), x1 y1 x2 y2 in shares of the image; scores (N, classes, places) in 0 to 1 without those of
    the background, which is what `classes` does not count.
    """

    def __init__(self, classes: int, widths: tuple[int, ...] = (16, 24, 48, 64, 64, 64)) -> None:
        super().__init__()
        stem, quarter, *others = widths
        self.classes = classes
        self.stem = nn.Sequential(
            _convolution(3, stem, 3, 2), nn.ReLU(), Block(stem, quarter, 2), Block(quarter, quarter, 1)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(Block(before, width, 2), Block(width, width, 1))
            for before, width in zip((quarter, *others), others, strict=False)
        )
        self.moves = nn.ModuleList(nn.Conv2d(width, SHAPES * 4, 3, padding=1) for width in others)
        self.scores = nn.ModuleList(nn.Conv2d(width, SHAPES * (1 + classes), 3, padding=1) for width in others)
        self.register_buffer("defaults", default_boxes())

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return moves (N, places, 4) and logits (N, places, 1 + classes), the background's first."""
        features = self.stem(images)
        moves, logits = [], []
        for stage, stride, move, score in zip(self.stages, STRIDES, self.moves, self.scores, strict=True):
            features = stage(features)
            # Literal sizes keep the exported graph free of shape arithmetic.
            places = SHAPES * cells(stride) ** 2
            moves.append(move(features).permute(0, 2, 3, 1).reshape(-1, places, 4))
            logits.append(score(features).permute(0, 2, 3, 1).reshape(-1, places, 1 + self.classes))
        return torch.cat(moves, dim=1), torch.cat(logits, dim=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return decoded boxes and scores."""
        moves, logits = self.raw(images)
        scores = logits.softmax(dim=2).transpose(1, 2)[:, 1:]
        return decoded(moves, self.defaults), scores


def decoded(moves: Tensor, defaults: Tensor) -> Tensor:
    """Move default boxes (places, 4), centre and size, by (N, places, 4); give corners, all in shares of the image."""
    centres = defaults[:, :2] + moves[..., :2] * (VARIANCES[0] * defaults[:, 2:])
    halves = 0.5 * defaults[:, 2:] * (moves[..., 2:] * VARIANCES[1]).exp()
    return torch.cat([centres - halves, centres + halves], dim=2)


def encoded(corners: Tensor, defaults: Tensor) -> Tensor:
    """Return the moves (..., places, 4) that give `corners` (..., places, 4)."""
    start, end = corners.split((2, 2), dim=-1)
    moves = ((start + end) / 2 - defaults[:, :2]) / (VARIANCES[0] * defaults[:, 2:])
    sizes = ((end - start).clamp(min=1e-6) / defaults[:, 2:]).log() / VARIANCES[1]
    return torch.cat([moves, sizes], dim=-1)


def cells(stride: int) -> int:
    """Return how many cells a side has at a stride; every halving rounds up."""
    return -(-SIDE // stride)


def default_boxes() -> Tensor:
    """Return the default boxes (places, 4), centre and size in shares of the image: by stride, row, column, shape."""
    boxes = []
    for stride, scale, larger in zip(STRIDES, SCALES[:-1], SCALES[1:], strict=True):
        steps = (torch.arange(cells(stride), dtype=torch.float32) + 0.5) * stride / SIDE
        down, right = torch.meshgrid(steps, steps, indexing="ij")
        centres = torch.stack([right, down], dim=-1).reshape(-1, 1, 2).expand(-1, SHAPES, 2)
        between, root = (scale * larger) ** 0.5, 2**0.5
        sides = [(scale, scale), (between, between), (scale * root, scale / root), (scale / root, scale * root)]
        sizes = (torch.tensor(sides) / SIDE).expand(len(centres), SHAPES, 2)
        boxes.append(torch.cat([centres, sizes], dim=-1).reshape(-1, 4))
    return torch.cat(boxes)


def _convolution(inside: int, outside: int, kernel: int, stride: int) -> nn.Sequential:
    """Return a convolution with batch normalization."""
    return nn.Sequential(nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outside))
