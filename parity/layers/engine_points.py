"""Observation points of an engine: tensors that survived fusion, and the engine's layers that make each of them."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from parity.layers.points import Point, points_among

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx import ModelProto, NodeProto

    from parity.backends.engine import LayerTime
    from parity.inspector import EngineLayer
    from parity.layers.points import Points

_ABSENT = "does not survive in the engine"
_MOST_NAMES = 3
_HALF = "fp16"


@dataclass(frozen=True, slots=True)
class EnginePoint:
    """A tensor of the model that an engine has.

    Attributes
    ----------
    point
        ``nodes`` are those that the inspector names for the engine's layers, where it names all; else the model's
        between the points. ``inputs`` follow the engine's own tensors.
    layer
        The engine's layer that computes it; empty where the inspector does not tell.
    precision
        What that layer computes in, in the inspector's words.
    is_half
        Whether the engine holds the tensor as half.
    places
        Places of the layers between the points before it and it, reformat layers included, in order of execution.
    """

    point: Point
    layer: str
    precision: str
    is_half: bool
    places: tuple[int, ...]

    @property
    def tensor(self) -> str:
        """The tensor's name."""
        return self.point.tensor


@dataclass(frozen=True, slots=True)
class EnginePoints:
    """All points of an engine in the model's order; the rest as in ``Points``, ``notes`` are for the reader."""

    points: tuple[EnginePoint, ...]
    coverage: float
    unobserved: tuple[str, ...]
    notes: tuple[str, ...]


def find_engine_points(model: ModelProto, layers: Sequence[EngineLayer], outputs: Iterable[str]) -> EnginePoints:
    """Return the model's tensors that survive in an engine.

    Parameters
    ----------
    model
        Every node has a name of its own, and stands behind those that it reads from.
    layers
        The engine's, of one profile, in order of execution; names may repeat.
    outputs
        Names of the engine's outputs.
    """
    graph = _EngineGraph(layers)
    found = points_among(model, {*graph.producers, *outputs}, _ABSENT)
    nodes = {node.name: node for node in model.graph.node}
    chosen = frozenset(point.tensor for point in found.points)
    return EnginePoints(
        points=tuple(graph.point(point, chosen, nodes) for point in found.points),
        coverage=found.coverage,
        unobserved=_with_layers(found, model, layers),
        notes=(*_on_names(layers), *_on_nodes(layers)),
    )


def layer_medians(layers: Sequence[EngineLayer], times: Sequence[LayerTime]) -> list[float | None]:
    """Return each layer's median time in ms; of layers of one name, the order of execution tells them apart."""
    waiting: defaultdict[str, list[float | None]] = defaultdict(list)
    for time in times:
        waiting[time.name].append(statistics.median(time.times_ms) if time.times_ms else None)
    return [waiting[layer.name].pop(0) if waiting[layer.name] else None for layer in layers]


class _EngineGraph:
    """Layers joined by their tensors' names; several layers may write parts of one tensor, as below a concatenation."""

    def __init__(self, layers: Sequence[EngineLayer]) -> None:
        self._layers = layers
        self.producers: defaultdict[str, list[int]] = defaultdict(list)
        for place, layer in enumerate(layers):
            for tensor in layer.outputs:
                self.producers[tensor.name].append(place)

    def point(self, point: Point, chosen: frozenset[str], nodes: Mapping[str, NodeProto]) -> EnginePoint:
        """Return a point with the engine's layers that make it."""
        places, inputs = self._between(point.tensor, chosen)
        if not places:
            return EnginePoint(point, "", "none", is_half=False, places=())
        layers = [self._layers[place] for place in places]
        computing = [layer for layer in layers if layer.nodes and not layer.is_reformat] or layers
        last = computing[-1]
        own = replace(_with_nodes(point, layers, nodes), inputs=inputs)
        return EnginePoint(own, last.name, last.precision, self._is_half(point.tensor), places)

    def _is_half(self, name: str) -> bool:
        written = (tensor for place in self.producers[name] for tensor in self._layers[place].outputs)
        return any(tensor.name == name and tensor.dtype == _HALF for tensor in written)

    def _between(self, tensor: str, chosen: frozenset[str]) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Return the places of the layers that make a tensor of points, and those points."""
        places: set[int] = set()
        met: dict[str, None] = {}
        pending = list(self.producers.get(tensor, ()))
        while pending:
            place = pending.pop()
            if place in places:
                continue
            places.add(place)
            for name in (read.name for read in self._layers[place].inputs if read.name != tensor):
                if name in chosen:
                    met[name] = None
                else:
                    pending.extend(self.producers.get(name, ()))
        return tuple(sorted(places)), tuple(met)


def _with_nodes(point: Point, layers: Sequence[EngineLayer], nodes: Mapping[str, NodeProto]) -> Point:
    named = {name for layer in layers for name in layer.nodes if name in nodes}
    if not named or not all(layer.has_all_nodes for layer in layers):
        return point
    ordered = tuple(name for name in nodes if name in named)
    return replace(point, nodes=ordered, operators=tuple(nodes[name].op_type for name in ordered))


def _with_layers(found: Points, model: ModelProto, layers: Sequence[EngineLayer]) -> tuple[str, ...]:
    """Return what is not observed, each with the layer that it vanished in."""
    holders = {name: layer.name for layer in layers for name in layer.nodes}
    producers = {name: node.name for node in model.graph.node for name in node.output}

    def told(sentence: str) -> str:
        holder = holders.get(producers.get(sentence.partition(" (")[0], ""))
        return f"{sentence}: is inside of layer {holder!r}" if holder and sentence.endswith(_ABSENT) else sentence

    return tuple(map(told, found.unobserved))


def _on_names(layers: Sequence[EngineLayer]) -> tuple[str, ...]:
    repeated = [name for name, count in Counter(layer.name for layer in layers).items() if count > 1]
    if not repeated:
        return ()
    return (f"names that several layers share: {_few(repeated)}; their order tells them apart",)


def _on_nodes(layers: Sequence[EngineLayer]) -> tuple[str, ...]:
    nameless = [layer.name for layer in layers if not layer.nodes and not layer.is_reformat]
    if not nameless:
        return ()
    return (f"layers that name no ONNX node: {_few(nameless)}; the model's own order stands for it",)


def _few(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
