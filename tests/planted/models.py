"""Broken models by name, with what is to be found in each, and their healthy twins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.options import PrecisionOptions
from tests.planted import architectures
from tests.planted.faults import FAULTS, Fault
from tests.planted.net import Net

if TYPE_CHECKING:
    import numpy as np
    from onnx import ModelProto

    from tests.planted.architectures import Architecture


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


_TWELVE: dict[str, tuple[str, Architecture]] = {
    "cnn_overflow": ("overflow", architectures.cnn),
    "unet_overflow": ("overflow", architectures.unet),
    "recurrent_underflow": ("underflow", architectures.recurrent),
}
