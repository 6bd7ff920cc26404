"""Faults planted into trained graphs without changing what they compute in float32.

Every fault stands between two products (depthwise 1x1 convolutions on feature maps, diagonal matrices on tokens) whose
weights are powers of two, so that float32 undoes it exactly, or, for cancellation, up to its last digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from parity.backends import get_backend
from parity.options import SessionOptions
from parity.precision.scope import subgraphs

_SOURCES = {
    "Conv",
    "Relu",
    "Add",
    "Mul",
    "MatMul",
    "Gemm",
    "LayerNormalization",
    "Concat",
    "Sigmoid",
    "BatchNormalization",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor that a fault can be planted on: its channel count, its largest magnitude, and its busiest channel."""

    tensor: str
    rank: int
    channels: int
    largest: float
    busiest: int


def copy_of(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def find_places(model: ModelProto, feed: dict[str, np.ndarray]) -> list[Place]:
    """Return the tensors inside a model that a fault can be planted on, in the order of the graph."""
    outputs = {value.name for value in model.graph.output}
    names = [node.output[0] for node in model.graph.node if node.op_type in _SOURCES and node.output[0] not in outputs]
    exposed = copy_of(model)
    exposed.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    with get_backend("onnxruntime").open(exposed, SessionOptions()) as session:
        found = session.run(feed)
    places = [_place(name, found[name]) for name in names]
    return [place for place in places if place is not None]


def _place(name: str, values: np.ndarray) -> Place | None:
    if values.ndim not in {3, 4}:
        return None
    channels = values.shape[1] if values.ndim == 4 else values.shape[-1]
    magnitude = np.abs(values).max(axis=(0, 2, 3) if values.ndim == 4 else (0, 1))
    if channels < 8 or not 0.05 < magnitude.max() < 8.0 or np.count_nonzero(magnitude > 0.02) < channels // 2:
        return None
    return Place(name, values.ndim, channels, float(magnitude.max()), int(magnitude.argmax()))


def seeded_places(places: list[Place], seed: int, count: int) -> list[Place]:
    """Draw places without repetition."""
    chosen = np.random.default_rng(seed).permutation(len(places))[:count]
    return [places[index] for index in chosen]


class _Chain:
    """Operators inserted behind a tensor; what read the tensor reads the end of the chain."""

    def __init__(self, model: ModelProto, place: Place) -> None:
        self.model = copy_of(model)
        self.place = place
        self.nodes: list[NodeProto] = []
        self.end = place.tensor

    def scale(self, factors: np.ndarray, bias: float = 0.0) -> _Chain:
        """Multiply every channel by a factor, as a product; add a bias inside of it."""
        tag = f"planted_{len(self.nodes)}"
        if self.place.rank == 4:
            names = [self._constant(f"{tag}_w", factors.reshape(-1, 1, 1, 1))]
            if bias:
                names.append(self._constant(f"{tag}_b", np.full(self.place.channels, bias)))
            self._add("Conv", [self.end, *names], tag, kernel_shape=[1, 1], group=self.place.channels)
            return self
        self._add("MatMul", [self.end, self._constant(f"{tag}_w", np.diag(factors))], tag)
        if bias:
            self._add("Add", [self.end, self._constant(f"{tag}_b", np.full(self.place.channels, bias))], f"{tag}_add")
        return self

    def subtract(self, value: float) -> _Chain:
        tag = f"planted_{len(self.nodes)}"
        self._add("Sub", [self.end, self._constant(f"{tag}_c", np.asarray(value))], tag)
        return self

    def _constant(self, name: str, values: np.ndarray) -> str:
        self.model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def _add(self, op_type: str, inputs: list[str], tag: str, **attributes: object) -> None:
        self.nodes.append(helper.make_node(op_type, inputs, [f"{tag}_y"], name=tag, **attributes))
        self.end = f"{tag}_y"

    def done(self) -> ModelProto:
        graph = self.model.graph
        rewritten: list[NodeProto] = []
        for node in graph.node:
            node.input[:] = [self.end if name == self.place.tensor else name for name in node.input]
            rewritten.append(node)
            if self.place.tensor in node.output:
                rewritten.extend(self.nodes)
        del graph.node[:]
        graph.node.extend(rewritten)
        del graph.value_info[:]
        onnx.checker.check_model(self.model)
        return self.model


def _stages(exponent: int) -> list[float]:
    """Split a power of two into factors that half holds exactly."""
    step = 12 if exponent > 0 else -12
    whole, rest = divmod(abs(exponent), 12)
    factors = [2.0**step] * whole
    return [*factors, 2.0 ** (rest if exponent > 0 else -rest)] if rest else factors


def _scaled_and_back(model: ModelProto, place: Place, exponent: int) -> ModelProto:
    chain = _Chain(model, place)
    factors = _stages(exponent)
    for factor in (*factors, *(1.0 / factor for factor in reversed(factors))):
        chain.scale(np.full(place.channels, factor))
    return chain.done()


def overflow(model: ModelProto, place: Place) -> ModelProto:
    """Scale a tensor past 65504 and back."""
    return _scaled_and_back(model, place, int(np.ceil(np.log2(4 * 65504 / place.largest))))


def underflow(model: ModelProto, place: Place) -> ModelProto:
    """Scale a tensor below the smallest half and back."""
    return _scaled_and_back(model, place, -int(np.ceil(np.log2(place.largest * 2.0**27))))


def cancellation(model: ModelProto, place: Place) -> ModelProto:
    """Add 2048 times the range in one product, subtract it behind the next."""
    constant = 2.0 ** int(np.ceil(np.log2(2048 * place.largest)))
    ones = np.ones(place.channels)
    return _Chain(model, place).scale(ones, bias=constant).scale(ones).subtract(constant).done()


def outlier_channel(model: ModelProto, place: Place) -> ModelProto:
    """Scale the busiest channel by 1024 and back: the others are left with a fraction of an int8 level."""
    factors = np.ones(place.channels)
    factors[place.busiest] = 1024.0
    return _Chain(model, place).scale(factors).scale(1.0 / factors).done()


def _folded(model: ModelProto, conv_name: str, exponent: int) -> ModelProto:
    """Scale a convolution's weights and put the inverse right behind it, where TensorRT folds it away."""
    planted = copy_of(model)
    graph = planted.graph
    conv = next(node for node in graph.node if node.name == conv_name)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for position, name in enumerate(conv.input[1:], start=1):
        scaled = numpy_helper.to_array(constants[name]) * np.float32(2.0**exponent)
        graph.initializer.append(numpy_helper.from_array(scaled, f"{name}_planted"))
        conv.input[position] = f"{name}_planted"
    graph.initializer.append(numpy_helper.from_array(np.float32(2.0**-exponent), "planted_scale"))
    output = conv.output[0]
    conv.output[0] = f"{output}_planted"
    nodes = list(graph.node)
    mul = helper.make_node("Mul", [conv.output[0], "planted_scale"], [output], name="planted_mul")
    nodes.insert(nodes.index(conv) + 1, mul)
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(planted)
    return planted


def folded_overflow(model: ModelProto, conv_name: str) -> ModelProto:
    """A convolution's output past 65504, scaled back right behind it."""
    return _folded(model, conv_name, 24)


def folded_underflow(model: ModelProto, conv_name: str) -> ModelProto:
    """A convolution's weights near 1e-9, scaled back right behind it."""
    return _folded(model, conv_name, -28)


def rename_everything(model: ModelProto) -> ModelProto:
    """Give every node and every inner tensor another name; inputs and outputs keep theirs."""
    renamed = copy_of(model)
    outer = {value.name for value in (*renamed.graph.input, *renamed.graph.output)}
    _Renamer(outer).rename(renamed.graph)
    onnx.checker.check_model(renamed)
    return renamed


class _Renamer:
    """New names for one model; what a graph inside of a node captures is called as it is outside."""

    def __init__(self, kept: set[str]) -> None:
        self.names = {name: name for name in (*kept, "")}
        self.count = 0

    def fresh(self, name: str) -> str:
        return self.names.setdefault(name, f"t{len(self.names) * 7919 % 100003}_{len(self.names)}")

    def rename(self, graph: onnx.GraphProto) -> None:
        del graph.value_info[:]
        for one in (*graph.initializer, *graph.input, *graph.output):
            one.name = self.fresh(one.name)
        for node in graph.node:
            self.count += 1
            node.name = f"anything{self.count * 31 % 997}_{self.count}"
            node.input[:] = [self.fresh(name) for name in node.input]
            node.output[:] = [self.fresh(name) for name in node.output]
            for inner in subgraphs(node):
                self.rename(inner)


Planter = Callable[[ModelProto, Place], ModelProto]
