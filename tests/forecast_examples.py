"""A small convolutional net with its feeds, and the precisions that it is forecast at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from parity.tolerance import Precision
from tests.tiny_graphs import model_of, node, value

if TYPE_CHECKING:
    from onnx import ModelProto

EVERY = [*Precision]
ROUNDING_ONES = [precision for precision in Precision if precision is not Precision.FP32]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def convnet(**options) -> ModelProto:
    """Return images (1, 3, 6, 6) -> scores (1, 4): convolution, norm, gate, pooling, Gemm."""
    nodes = [
        node("Conv", ["x", "w", "b"], ["t"], "conv", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["t", "g", "o", "m", "v"], ["n"], "norm"),
        node("Sigmoid", ["n"], ["s"], "sigmoid"),
        node("Mul", ["n", "s"], ["a"], "gate"),
        node("GlobalAveragePool", ["a"], ["p"], "pool"),
        node("Flatten", ["p"], ["f"], "flatten"),
        node("Gemm", ["f", "u", "c"], ["y"], "gemm"),
    ]
    constants = {"w": noise(8, 3, 3, 3), "b": noise(8), "g": noise(8), "o": noise(8), "m": noise(8)}
    constants |= {"v": np.abs(noise(8)) + 0.5, "u": noise(8, 4), "c": noise(4)}
    return model_of(nodes, [value("x", 4)], [value("y", 2)], constants, **options)


def feeds():
    return [{"x": noise(1, 3, 6, 6, seed=seed)} for seed in range(3)]
