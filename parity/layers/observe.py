"""Observes a rounded graph: every tensor that it shares with its model, in groups under a memory budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from parity.backends import get_backend
from parity.errors import ModelError
from parity.layer_table import LayerReport
from parity.layers.extract import cut, expose
from parity.layers.floor import noise_floor_db, reduction_depth
from parity.layers.grid import GridUse, activation_scales
from parity.layers.groups import give_memory_back, group_tensors
from parity.layers.points import find_points
from parity.layers.reference import OBSERVING, float32_bytes, inputs_of, tensor_shapes
from parity.layers.roles import rank_sources, with_roles
from parity.layers.rows import Measured, make_row
from parity.options import SessionOptions
from parity.tolerance import Precision

if TYPE_CHECKING:
    from onnx import ModelProto

    from parity.layer_table import LayerRow
    from parity.layers.points import Point, Points

Tensors = Mapping[str, np.ndarray]
Feeds = Callable[[], Iterable[Tensors]]
"""Makes the feeds anew."""
Told = Callable[[int, int], None]
"""Is told how many of how many groups are done."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What is observed.

    Attributes
    ----------
    model
        The reference's float32 model; every node has a name of its own.
    rounded
        What the forecast executes.
    precision
        What ``rounded`` rounds to.
    rounded_options
        How the rounded graph is executed.
    kept
        Names of nodes that compute in float32.
    """

    model: ModelProto
    rounded: ModelProto
    precision: Precision
    rounded_options: SessionOptions = field(default_factory=SessionOptions)
    kept: frozenset[str] = frozenset()


def observe(observed: Observed, feeds: Feeds, budget_bytes: int, told: Told | None = None) -> LayerReport:
    """Observe every shared tensor of a rounded graph.

    Parameters
    ----------
    feeds
        In the model's dtypes; at least one.
    budget_bytes
        For the tensors that are held at a time.

    Raises
    ------
    ModelError
        The two graphs share no tensor.
    BackendError
        ONNX Runtime failed.
    """
    found = find_points(observed.model, observed.rounded)
    if not found.points:
        raise ModelError("the variant's graph shares no float tensor with the model; compare their outputs alone")
    shapes = tensor_shapes(observed.model, next(iter(feeds())))
    sizes = float32_bytes(shapes)
    by_tensor = {point.tensor: point for point in found.points}
    groups = group_tensors(
        list(by_tensor), sizes, {name: point.inputs for name, point in by_tensor.items()}, budget_bytes
    )
    scales = activation_scales(observed.rounded)
    measured: list[Measured] = []
    for number, group in enumerate(groups):
        measured += _observe_group(observed, [by_tensor[name] for name in group], frozenset(by_tensor), scales, feeds)
        if told is not None:
            told(number + 1, len(groups))
    return _report(observed, found, measured, shapes)


def _observe_group(
    observed: Observed,
    group: list[Point],
    boundary: frozenset[str],
    scales: Mapping[str, float],
    feeds: Feeds,
) -> list[Measured]:
    """Run the model, the rounded graph and the rounded layers alone, for one group of points."""
    tensors = [point.tensor for point in group]
    alone, alone_names = cut(observed.rounded, tensors, boundary)
    needed = [value.name for value in alone.graph.input if value.name in boundary]
    measured = [_begin(observed, point, scales) for point in group]
    backend, options = get_backend("onnxruntime"), replace(observed.rounded_options, keeps_memory=False)
    with ExitStack() as stack:
        wanted = list(dict.fromkeys([*tensors, *needed]))
        model = stack.enter_context(backend.open(expose(observed.model, wanted), OBSERVING))
        rounded = stack.enter_context(backend.open(expose(observed.rounded, tensors), options))
        layers = stack.enter_context(backend.open(alone, options))
        for feed in feeds():
            expected = model.run(inputs_of(model, feed))
            give_memory_back()
            # One side after the other: what is held at a time is the reference's tensors and one other set of them.
            _add_alone(measured, expected, layers.run(inputs_of(layers, {**feed, **expected})), alone_names)
            give_memory_back()
            _add_whole(measured, expected, rounded.run(inputs_of(rounded, feed)))
            expected = {}
            give_memory_back()
    return measured


def _add_alone(measured: list[Measured], expected: Tensors, own: Tensors, names: Mapping[str, str]) -> None:
    for one in measured:
        wanted, found = expected[one.point.tensor], own[names[one.point.tensor]]
        # How many rows a layer gives may hang on its values.
        if wanted.size and found.shape == wanted.shape:
            one.add_alone(wanted, found)


def _add_whole(measured: list[Measured], expected: Tensors, actual: Tensors) -> None:
    for one in measured:
        one.update(expected[one.point.tensor], actual[one.point.tensor])


def _begin(observed: Observed, point: Point, scales: Mapping[str, float]) -> Measured:
    is_kept = bool(point.nodes) and observed.kept.issuperset(point.nodes)
    precision = Precision.FP32 if is_kept else observed.precision
    scale = scales.get(point.tensor)
    return Measured(point, precision, GridUse(scale) if scale else None)


def _report(
    observed: Observed, found: Points, measured: list[Measured], shapes: Mapping[str, tuple[int, ...]]
) -> LayerReport:
    nodes = {node.name: node for node in observed.model.graph.node}
    known = dict(shapes) | {tensor.name: tuple(tensor.dims) for tensor in observed.model.graph.initializer}
    arriving: dict[str, float] = {}
    rows: list[LayerRow] = []
    for position, one in enumerate(measured):
        if one.is_empty:
            continue
        depth = reduction_depth((nodes[name] for name in one.point.nodes), known)
        floor_db = noise_floor_db(one.precision, depth)
        rows.append(make_row(one, position, floor_db=floor_db, depth=depth, arriving=arriving))
        arriving[one.point.tensor] = rows[-1].inherited.sqnr_db
    empty = tuple(f"{one.point.tensor}: holds no element in any feed" for one in measured if one.is_empty)
    judged = with_roles(rows)
    return LayerReport(
        rows=judged,
        sources=rank_sources(judged),
        coverage=found.coverage,
        unobserved=(*found.unobserved, *empty),
    )
