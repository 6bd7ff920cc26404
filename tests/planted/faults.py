"""Faults for a spot in a network: each keeps the network's structure where it is healthy, and breaks it where not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from parity.tolerance import Precision
from tests.planted.net import Net, normal_in_parts

Plant = Callable[[Net, str, int, int, bool], str]
"""Plants behind a tensor of so many channels and such a rank; healthy where the last is False."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, the cause that is to be named, and the precisions that show it; ``ranks`` it can be planted on."""

    cause: str
    plant: Plant
    precision: Precision = Precision.FP16
    ranks: tuple[int, ...] = (2, 3, 4)
    opset: int = 17


def overflow(net: Net, x: str, channels: int, rank: int, sick: bool) -> str:
    """Past 65504 in a product, and back in the products behind it."""
    factor = 2.0**10 if sick else 1.0
    for one in (factor, factor, 1 / factor, 1 / factor):
        x = net.scale(x, channels, one, rank=rank)
    return x


def underflow(net: Net, x: str, channels: int, rank: int, sick: bool) -> str:
    factor = 2.0**-12 if sick else 1.0
    for one in (factor, factor, factor, 1 / factor, 1 / factor, 1 / factor):
        x = net.scale(x, channels, one, rank=rank)
    return x


def tiny_weights(net: Net, x: str, channels: int, rank: int, sick: bool) -> str:
    """Weights below the smallest half, on values that were made large before."""
    up = net.scale(x, channels, 2.0**10 if sick else 1.0, rank=rank)
    down = net.scale(up, channels, 2.0**-27 if sick else 1.0, rank=rank)
    back = net.scale(down, channels, 2.0**12 if sick else 1.0, rank=rank)
    return net.scale(back, channels, 2.0**5 if sick else 1.0, rank=rank)


def cancellation(net: Net, x: str, channels: int, rank: int, sick: bool) -> str:
    """A large constant is added in one product, and subtracted behind the next."""
    constant = 4096.0 if sick else 1.0
    large = net.scale(net.scale(x, channels, 1.0, constant, rank=rank), channels, 1.0, rank=rank)
    return net.op("Sub", large, net.constant(constant))


def moments(net: Net, x: str, channels: int, rank: int, sick: bool) -> str:
    """A variance as the mean of squares less the square of the mean, far from zero."""
    axes = [1 if rank == 4 else -1]
    lifted = net.scale(x, channels, 1.0, 40.0 if sick else 0.5, rank=rank)
    mean = net.op("ReduceMean", lifted, axes=axes, keepdims=1)
    squares = net.op("ReduceMean", net.op("Mul", lifted, lifted), axes=axes, keepdims=1)
    variance = net.op("Sub", squares, net.op("Mul", mean, mean))
    return net.op("Mul", x, net.op("Sigmoid", variance))


def l2_norm(net: Net, x: str, channels: int, rank: int, sick: bool) -> str:
    """Divides by the root of the sum of squares, of values that are themselves within range."""
    large = net.scale(x, channels, 512.0 if sick else 1.0, 0.5, rank=rank)
    axis = net.constant([1 if rank == 4 else -1], np.int64)
    squares = net.op("ReduceSum", net.op("Mul", large, large), axis, keepdims=1)
    return net.op("Div", large, net.op("Sqrt", net.op("Add", squares, net.constant(1e-6))))


def layer_norm(net: Net, x: str, channels: int, rank: int, sick: bool) -> str:
    """In parts, as exporters wrote it before opset 17."""
    large = net.scale(x, channels, 512.0 if sick else 1.0, rank=rank)
    normal = normal_in_parts(net, large, 1 if rank == 4 else -1)
    shape = (1, channels, 1, 1) if rank == 4 else (channels,)
    return net.op("Mul", normal, net.constant(np.linspace(0.5, 1.5, channels).reshape(shape)))


def softmax_by_hand(net: Net, x: str, channels: int, rank: int, sick: bool) -> str:
    """exp(x) over the sum of exp(x), without taking the largest away first."""
    logits = net.scale(net.op("Tanh", x), channels, 1.0, 14.0 if sick else 0.5, rank=rank)
    powers = net.op("Exp", logits)
    total = net.op("ReduceSum", powers, net.constant([1 if rank == 4 else -1], np.int64), keepdims=1)
    return net.op("Div", powers, total)


def two_masks(net: Net, x: str, channels: int, rank: int, sick: bool) -> str:
    """Attention over channels with two masks of -1e9 added to the scores, which hide one row entirely."""
    value = -1e9 if sick else -1e2
    flat = net.op("Reshape", x, net.constant([1, channels, -1] if rank == 4 else [1, -1, channels], np.int64))
    rows = net.op("Softmax", flat, axis=-1)
    scores = net.op("MatMul", rows, net.op("Transpose", flat, perm=[0, 2, 1]))
    size = _rows_of(rank, channels, net)
    causal, padding = np.zeros((1, size, size)), np.zeros((1, size, size))
    causal[:, 0, :] = value
    padding[:, 0, :] = value
    padding[:, :, -1] = value
    scores = net.op("Add", net.op("Add", scores, net.constant(causal)), net.constant(padding))
    mixed = net.op("MatMul", net.op("Softmax", scores, axis=-1), flat)
    return net.op("Add", x, net.op("Reshape", mixed, net.op("Shape", x)))


def _rows_of(rank: int, channels: int, net: Net) -> int:
    """Return how many rows attention has: channels of a map, else all tokens."""
    if rank == 4:
        return channels
    [values] = net.feed.values()
    return int(np.prod(values.shape[: rank - 1])) if rank == 3 else int(values.shape[0])


def cancelling_product(net: Net, x: str, channels: int, rank: int, sick: bool) -> str:
    """A product whose large terms cancel one another: what is left has lost its digits."""
    size = 1024.0 if sick else 0.0
    axis = 1 if rank == 4 else -1
    doubled = net.op("Concat", x, net.op("Mul", x, net.constant(1.0009765625)), axis=axis)
    left, right = np.eye(channels) * (size + 1.0), -np.eye(channels) * size / 1.0009765625
    if rank == 4:
        weights = np.concatenate([left, right], axis=1)[:, :, None, None]
        return net.op("Conv", doubled, net.constant(weights), kernel_shape=[1, 1])
    return net.op("MatMul", doubled, net.constant(np.concatenate([left, right])))


def unstable(net: Net, x: str, channels: int, rank: int, sick: bool) -> str:
    """A bias that a normalisation takes away again: exact where the two are folded, noise where they are not."""
    large = net.scale(x, channels, 1.0, 2.0**20 if sick else 0.5, rank=rank)
    ones, zeros = net.constant(np.ones(channels)), net.constant(np.zeros(channels))
    return net.op(
        "BatchNormalization", large, ones, zeros, net.constant(np.full(channels, 2.0**20 if sick else 0.5)), ones
    )


FAULTS: dict[str, Fault] = {
    "overflow": Fault("fp16-overflow", overflow),
    "underflow": Fault("underflow", underflow),
    "tiny_weights": Fault("underflow", tiny_weights),
    "cancellation": Fault("fp16-accumulation", cancellation),
    "moments": Fault("fp16-accumulation", moments),
    "l2_norm": Fault("fp16-overflow", l2_norm),
    "layer_norm": Fault("layernorm-pattern", layer_norm, opset=14),
    "softmax_by_hand": Fault("fp16-overflow", softmax_by_hand),
    "two_masks": Fault("infinite-constants", two_masks, ranks=(3, 4)),
    "cancelling_product": Fault("tf32", cancelling_product, Precision.TF32),
    "unstable": Fault("reference-unstable", unstable, Precision.FP32, ranks=(4,)),
}
