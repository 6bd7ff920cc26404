"""A row-anchor lane detector in the manner of Ultra Fast Lane Detection (Qin et al. 2020), small enough for a test.

On each of 32 rows, each of four markings chooses one of 200 cells or "not here". Where that work gives all places by
one huge product, a convolution gives them here: with an input 800 wide, a cell is a column of the features at stride 4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

HEIGHT, WIDTH = 160, 800
STRIDE = 4
CELLS = WIDTH // STRIDE
"""Cells of a row; one more class says that the marking does not cross it."""
ANCHORS = 32
LANES, KINDS, CLASSES = 4, 2, 4
GRID = (CELLS + 1) * ANCHORS * LANES
ATTRIBUTES = KINDS * LANES * CLASSES
_FIRST = HEIGHT // STRIDE - ANCHORS


class Block(nn.Module):
    """Two 3x3 convolutions around which the input is added; where the shape changes, by a 1x1 convolution."""

    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        self.first = _convolution(inside, outside, 3, stride)
        self.second = _convolution(outside, outside, 3)
        self.shortcut = nn.Identity() if inside == outside and stride == 1 else _convolution(inside, outside, 1, stride)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inside, H, W) -> (N, outside, H / stride, W / stride)."""
        return functional.relu(self.second(functional.relu(self.first(features))) + self.shortcut(features))


class Merge(nn.Module):
    """Coarse features, enlarged, flow into finer ones."""

    def __init__(self, coarse: int, fine: int, outside: int) -> None:
        super().__init__()
        self.coarse, self.fine = _convolution(coarse, outside, 1), _convolution(fine, outside, 1)
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.leave = Block(outside, outside)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(N, coarse, H / 2, W / 2), (N, fine, H, W) -> (N, outside, H, W)."""
        return self.leave(functional.relu(self.up(self.coarse(coarse)) + self.fine(fine)))


class Detector(nn.Module):
    """The whole network. (N, 3, 160, 800) float32 RGB, ImageNet's mean and deviation -> (N, 25728), (N, 32).

    The first output is (201 cells, 32 rows, 4 markings), flattened: logits, the last cell's for "not here". The second
    is (2 kinds, 4 markings, 4 classes), flattened: logits of colour and of pattern.
    """

    def __init__(self, widths: tuple[int, ...] = (8, 16, 32, 48, 64), hidden: int = 32) -> None:
        super().__init__()
        stem, quarter, eighth, sixteenth, last = widths
        self.hidden = hidden
        self.to_4 = nn.Sequential(_convolution(3, stem, 3, 2), nn.ReLU(), Block(stem, quarter, 2))
        self.to_8 = Block(quarter, eighth, 2)
        self.to_16 = Block(eighth, sixteenth, 2)
        self.to_32 = nn.Sequential(Block(sixteenth, last, 2), Block(last, last), Block(last, last))
        # What is left and what is right cannot be told by convolutions alone.
        self.position = nn.Parameter(torch.zeros(1, last, HEIGHT // 32, WIDTH // 32))
        self.merge_16 = Merge(last, sixteenth, hidden)
        self.merge_8 = Merge(hidden, eighth, hidden)
        self.merge_4 = Merge(hidden, quarter, hidden)
        self.here = nn.Conv2d(hidden, LANES, 1)
        self.absent = nn.Conv2d(hidden, LANES, 1)
        self.kinds = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, KINDS * CLASSES))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the flattened grid and the flattened attributes."""
        features = self.features(images)[:, :, _FIRST:]
        here, absent = self.here(features), self.absent(features.mean(dim=3, keepdim=True))
        cells = torch.cat([here, absent], dim=3)
        return cells.permute(0, 3, 2, 1).reshape(-1, GRID), self.attributes(features, cells)

    def features(self, images: Tensor) -> Tensor:
        """Return features at stride 4, (N, hidden, 40, 200)."""
        quarter = self.to_4(images)
        eighth = self.to_8(quarter)
        sixteenth = self.to_16(eighth)
        last = self.to_32(sixteenth) + self.position
        return self.merge_4(self.merge_8(self.merge_16(last, sixteenth), eighth), quarter)

    def attributes(self, features: Tensor, cells: Tensor) -> Tensor:
        """Return attributes (N, 32) of what features (N, hidden, 32, 200) show where cells (N, 4, 32, 201) point to."""
        # Literal sizes keep the exported graph free of shape arithmetic.
        weights = cells.softmax(dim=3)[..., :CELLS].reshape(-1, LANES, ANCHORS * CELLS)
        places = features.reshape(-1, self.hidden, ANCHORS * CELLS).transpose(1, 2)
        kinds = self.kinds(torch.matmul(weights, places) * (1 / ANCHORS))
        return kinds.reshape(-1, LANES, KINDS, CLASSES).transpose(1, 2).reshape(-1, ATTRIBUTES)


def anchor_rows() -> Tensor:
    """Return the rows of the anchors, (32,), in input pixels."""
    return (torch.arange(ANCHORS) + _FIRST + 0.5) * STRIDE


def _convolution(inside: int, outside: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution with batch normalization."""
    return nn.Sequential(nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outside))
