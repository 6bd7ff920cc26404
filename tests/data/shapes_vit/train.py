"""Train a small vision transformer on the classifier case's images: attention, LayerNormalization and GELU for tests.

``python tests/data/shapes_vit/train.py`` writes ``model.onnx`` and ``metrics.json`` beside this file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "cases" / "shapes_classifier" / "training"))

import train as classifier  # noqa: E402 - a script of another folder: its path comes first

support = classifier.support


class Attention(nn.Module):
    """Softmax attention of several heads. (N, tokens, width) -> the same; head size is ``width / heads``.

    Literal sizes keep the exported graph free of shape arithmetic.
    """

    def __init__(self, tokens: int, width: int, heads: int) -> None:
        super().__init__()
        self.size = width // heads
        self.apart = (-1, tokens, heads, self.size)
        self.joined = (-1, tokens, width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix tokens."""
        parts = (part(tokens).reshape(self.apart).transpose(1, 2) for part in (self.query, self.key, self.value))
        query, key, value = parts
        weights = (query @ key.transpose(-1, -2) * self.size**-0.5).softmax(dim=-1)
        return self.out((weights @ value).transpose(1, 2).reshape(self.joined))


class Block(nn.Module):
    """Attention and a two-layer perceptron, each normalized before and added after."""

    def __init__(self, tokens: int, width: int, heads: int) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.attention = Attention(tokens, width, heads)
        self.before_perceptron = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, tokens, width) -> the same."""
        tokens = tokens + self.attention(self.before_attention(tokens))
        return tokens + self.perceptron(self.before_perceptron(tokens))


class Transformer(nn.Module):
    """A token for every 8x8 pixels, four blocks, the mean. (N, 3, 64, 64) float32 -> (N, classes) logits.

    Tokens come from three convolutions: with one of 8x8 the network takes far longer to learn this task.
    """

    def __init__(self, classes: int, width: int = 64, depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        tokens = (classifier.SIDE // 8) ** 2
        self.as_rows = (-1, width, tokens)
        halvings = (nn.Conv2d(3, 16, 3, 2, 1), nn.GELU(), nn.Conv2d(16, 32, 3, 2, 1), nn.GELU())
        self.patches = nn.Sequential(*halvings, nn.Conv2d(32, width, 3, 2, 1))
        self.position = nn.Parameter(0.02 * torch.randn(1, tokens, width))
        self.blocks = nn.Sequential(*(Block(tokens, width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        tokens = self.patches(images).reshape(self.as_rows).transpose(1, 2) + self.position
        return self.head(self.norm(self.blocks(tokens)).mean(dim=1))


if __name__ == "__main__":
    settings = support.parse_settings(HERE / "model.onnx", images=64_000, batch=512, epochs=80)
    device = support.start(settings)
    classifier.run(Transformer(len(classifier.data.CLASSES)), settings, device, rate=1.5e-3)
