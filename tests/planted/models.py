"""Broken models by name, with what is to be found in each, and their healthy twins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.options import PrecisionOptions
from tests.planted import architectures
from tests.planted.faults import FAULTS
from tests.planted.net import Net

if TYPE_CHECKING:
    import numpy as np
    from onnx import ModelProto

    from tests.planted.architectures import Architecture
    from tests.planted.faults import Fault


@dataclass(frozen=True, slots=True)
class Planted:
    """A broken model: what is expected of its diagnosis."""

    model: ModelProto
    feed: dict[str, np.ndarray]
    cause: str
    nodes: frozenset[str]
    options: PrecisionOptions


def plant(fault: Fault, architecture: Architecture, seed: int, *, sick: bool = True) -> Planted | None:
    """Return an architecture with a fault, or its healthy twin; None where the fault has no place in it."""
    net = Net(seed)
    net.opset = fault.opset
    refused = []

    def spot(net: Net, x: str, channels: int, rank: int) -> str:
        if rank not in fault.ranks:
            refused.append(rank)
            return x
        with net.planting():
            return fault.plant(net, x, channels, rank, sick)

    output = architecture(net, spot)
    if refused:
        return None
    return Planted(net.model(output), net.feed, fault.cause, frozenset(net.planted), PrecisionOptions(fault.precision))


PLANTED: dict[str, tuple[str, Architecture]] = {
    "cnn_overflow": ("overflow", architectures.cnn),
    "cnn_tiny_weights": ("tiny_weights", architectures.cnn),
    "residual_cancellation": ("cancellation", architectures.residual),
    "residual_cancelling_product": ("cancelling_product", architectures.residual),
    "transformer_layer_norm": ("layer_norm", architectures.transformer),
    "transformer_two_masks": ("two_masks", architectures.transformer),
    "transformer_underflow": ("underflow", architectures.transformer),
    "mlp_l2_norm": ("l2_norm", architectures.mlp),
    "mlp_moments": ("moments", architectures.mlp),
    "unet_softmax_by_hand": ("softmax_by_hand", architectures.unet),
    "unet_layer_norm": ("layer_norm", architectures.unet),
    "recurrent_overflow": ("overflow", architectures.recurrent),
    "recurrent_cancellation": ("cancellation", architectures.recurrent),
}
"""The fault and the architecture of every broken model, by its name."""


def broken(name: str) -> Planted:
    """Return a broken model."""
    return _make(name, sick=True)


def healthy(name: str) -> Planted:
    """Return a broken model's twin, which has the same nodes with harmless numbers."""
    return _make(name, sick=False)


def _make(name: str, *, sick: bool) -> Planted:
    fault, architecture = PLANTED[name]
    made = plant(FAULTS[fault], architecture, 1, sick=sick)
    assert made is not None, f"{fault} has no place in {name}"
    return made
