"""An anchor-free detector in the manner of YOLOv8, small enough for a test suite; written from the published ideas.

Backbone of split residual stages, pooled pyramid, top-down and bottom-up paths, and per stride a head that gives each
edge's distance as a distribution (Generalized Focal Loss, Li et al. 2020) apart from the class scores.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SIDE = 320
STRIDES = (8, 16, 32)
PLACES = sum((SIDE // stride) ** 2 for stride in STRIDES)
BINS = 16
"""Distances are expectations over the bins 0 to 15, in strides."""


class ConvUnit(nn.Module):
    """Convolution, batch normalization, SiLU."""

    def __init__(self, inside: int, outside: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outside, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU()

    def forward(self, features: Tensor) -> Tensor:
        """(N, inside, H, W) -> (N, outside, H / stride, W / stride)."""
        return self.act(self.norm(self.conv(features)))


class Bottleneck(nn.Module):
    """Two 3x3 units; `residual` adds the input."""

    def __init__(self, width: int, residual: bool) -> None:
        super().__init__()
        self.units = nn.Sequential(ConvUnit(width, width, 3), ConvUnit(width, width, 3))
        self.residual = residual

    def forward(self, features: Tensor) -> Tensor:
        """Keep the shape."""
        inner = self.units(features)
        return features + inner if self.residual else inner


class SplitStage(nn.Module):
    """Half the channels pass through bottlenecks one after the other; everything on the way is joined at the end."""

    def __init__(self, inside: int, outside: int, depth: int, residual: bool) -> None:
        super().__init__()
        self.half = outside // 2
        self.enter = ConvUnit(inside, outside)
        self.steps = nn.ModuleList(Bottleneck(self.half, residual) for _ in range(depth))
        self.leave = ConvUnit((2 + depth) * self.half, outside)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inside, H, W) -> (N, outside, H, W)."""
        parts = list(self.enter(features).split((self.half, self.half), dim=1))
        for step in self.steps:
            parts.append(step(parts[-1]))
        return self.leave(torch.cat(parts, dim=1))


class PooledPyramid(nn.Module):
    """Three 5x5 maximum poolings in a row, joined: windows of 5, 9 and 13 at the price of one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = ConvUnit(width, width // 2)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.leave = ConvUnit(2 * width, width)

    def forward(self, features: Tensor) -> Tensor:
        """Keep the shape."""
        parts = [self.enter(features)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.leave(torch.cat(parts, dim=1))


class Backbone(nn.Module):
    """(N, 3, H, W) -> features at strides 8, 16 and 32."""

    def __init__(self, widths: tuple[int, int, int, int, int]) -> None:
        super().__init__()
        stem, quarter, eighth, sixteenth, last = widths
        self.to_4 = nn.Sequential(
            ConvUnit(3, stem, 3, 2), ConvUnit(stem, quarter, 3, 2), SplitStage(quarter, quarter, 1, residual=True)
        )
        self.to_8 = nn.Sequential(ConvUnit(quarter, eighth, 3, 2), SplitStage(eighth, eighth, 2, residual=True))
        self.to_16 = nn.Sequential(
            ConvUnit(eighth, sixteenth, 3, 2), SplitStage(sixteenth, sixteenth, 2, residual=True)
        )
        self.to_32 = nn.Sequential(
            ConvUnit(sixteenth, last, 3, 2), SplitStage(last, last, 1, residual=True), PooledPyramid(last)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features of the three strides."""
        fine = self.to_8(self.to_4(images))
        middle = self.to_16(fine)
        return fine, middle, self.to_32(middle)


class Neck(nn.Module):
    """Coarse features flow to the fine ones, and back. Shapes stay."""

    def __init__(self, fine: int, middle: int, coarse: int) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.down_middle = SplitStage(coarse + middle, middle, 1, residual=False)
        self.down_fine = SplitStage(middle + fine, fine, 1, residual=False)
        self.shrink_fine = ConvUnit(fine, fine, 3, 2)
        self.up_middle = SplitStage(fine + middle, middle, 1, residual=False)
        self.shrink_middle = ConvUnit(middle, middle, 3, 2)
        self.up_coarse = SplitStage(middle + coarse, coarse, 1, residual=False)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the three features, each with the others' context."""
        between = self.down_middle(torch.cat([self.up(coarse), middle], dim=1))
        fine = self.down_fine(torch.cat([self.up(between), fine], dim=1))
        middle = self.up_middle(torch.cat([self.shrink_fine(fine), between], dim=1))
        return fine, middle, self.up_coarse(torch.cat([self.shrink_middle(middle), coarse], dim=1))


class Head(nn.Module):
    """At one stride: (N, width, H, W) -> distances (N, 4 * BINS, H, W) and class logits (N, classes, H, W)."""

    def __init__(self, width: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.box = nn.Sequential(
            ConvUnit(width, hidden, 3), ConvUnit(hidden, hidden, 3), nn.Conv2d(hidden, 4 * BINS, 1)
        )
        self.score = nn.Sequential(
            ConvUnit(width, hidden, 3), ConvUnit(hidden, hidden, 3), nn.Conv2d(hidden, classes, 1)
        )
        nn.init.constant_(self.box[-1].bias, 1.0)
        # Nearly every place is background at first: start from a score of about 1 %.
        nn.init.constant_(self.score[-1].bias, -4.6)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return distances and class logits."""
        return self.box(features), self.score(features)


class Detector(nn.Module):
    """The whole network. (N, 3, 320, 320) float32 RGB in 0…1 -> (N, 4 + classes, 2100).

    The output's first four rows are centre x, centre y, width and height in input pixels; the rest are scores in 0…1.
    Its columns run over the places of stride 8, then 16, then 32, row by row.
    """

    def __init__(
        self, classes: int, widths: tuple[int, int, int, int, int] = (8, 16, 32, 64, 96), hidden: int = 32
    ) -> None:
        super().__init__()
        self.classes = classes
        self.backbone = Backbone(widths)
        self.neck = Neck(*widths[2:])
        self.heads = nn.ModuleList(Head(width, hidden, classes) for width in widths[2:])
        self.expectation = nn.Conv2d(BINS, 1, 1, bias=False).requires_grad_(False)
        self.expectation.weight.data[:] = torch.arange(BINS, dtype=torch.float32).reshape(1, BINS, 1, 1)
        centres, strides = places()
        self.register_buffer("centres", centres)
        self.register_buffer("strides", strides)

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return distance logits (N, 4 * BINS, places) and class logits (N, classes, places)."""
        distances, scores = [], []
        for head, stride, features in zip(self.heads, STRIDES, self.neck(*self.backbone(images)), strict=True):
            box, score = head(features)
            # Literal sizes keep the exported graph free of shape arithmetic.
            distances.append(box.reshape(-1, 4 * BINS, (SIDE // stride) ** 2))
            scores.append(score.reshape(-1, self.classes, (SIDE // stride) ** 2))
        return torch.cat(distances, dim=2), torch.cat(scores, dim=2)

    def edges(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        """Return left-top and right-bottom corners, each (N, 2, places) in strides, of distance logits."""
        bins = distances.reshape(-1, 4, BINS, PLACES).transpose(1, 2)
        near, far = self.expectation(bins.softmax(dim=1)).reshape(-1, 4, PLACES).split((2, 2), dim=1)
        return self.centres - near, self.centres + far

    def forward(self, images: Tensor) -> Tensor:
        """Return decoded boxes and scores."""
        distances, scores = self.raw(images)
        start, end = self.edges(distances)
        boxes = torch.cat([(start + end) / 2, end - start], dim=1) * self.strides
        return torch.cat([boxes, scores.sigmoid()], dim=1)


def places() -> tuple[Tensor, Tensor]:
    """Return the centres of all places, (2, 2100) in strides, and the strides, (2100,)."""
    centres, strides = [], []
    for stride in STRIDES:
        steps = torch.arange(SIDE // stride, dtype=torch.float32) + 0.5
        down, right = torch.meshgrid(steps, steps, indexing="ij")
        centres.append(torch.stack([right.flatten(), down.flatten()]))
        strides.append(torch.full((len(steps) ** 2,), float(stride)))
    return torch.cat(centres, dim=1), torch.cat(strides)
