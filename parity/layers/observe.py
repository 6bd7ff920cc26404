"""Observes a rounded graph: every tensor that it shares with its model, in groups under a memory budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from parity.backends import get_backend
from parity.errors import ModelError
from parity.layer_table import LayerReport
from parity.layers.extract import cut, expose, expose_shapes
from parity.layers.floor import noise_floor_db, reduction_depth
from parity.layers.grid import GridUse, activation_scales
from parity.layers.groups import group_tensors
from parity.layers.points import find_points, float_outputs
from parity.layers.roles import rank_sources, with_roles
from parity.layers.rows import Measured, make_row
from parity.options import SessionOptions
from parity.tolerance import Precision

if TYPE_CHECKING:
    from onnx import ModelProto

    from parity.backends import Session
    from parity.layer_table import LayerRow
    from parity.layers.points import Point, Points

Feeds = Callable[[], Iterable[Mapping[str, np.ndarray]]]
"""Makes the feeds anew."""
Told = Callable[[int, int], None]
"""Is told how many of how many groups are done."""

OBSERVING = SessionOptions(keeps_memory=False)
"""How models are executed to look at their tensors: memory that a runtime keeps would not be in the budget."""

_ITEM_BYTES = 4


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
    shapes = tensor_shapes(observed.model, list(float_outputs(observed.model)), next(iter(feeds())))
    sizes = {name: int(np.prod(shapes[name], dtype=np.int64)) * _ITEM_BYTES for name in shapes}
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


def tensor_shapes(
    model: ModelProto, tensors: Sequence[str], feed: Mapping[str, np.ndarray]
) -> dict[str, tuple[int, ...]]:
    """Return the shapes that tensors of a model have for a feed.

    Raises
    ------
    BackendError
        ONNX Runtime failed.
    """
    part, names = expose_shapes(model, tensors)
    with get_backend("onnxruntime").open(part, OBSERVING) as session:
        answer = session.run(inputs_of(session, feed))
    return {tensor: tuple(int(size) for size in answer[name]) for tensor, name in names.items()}


def inputs_of(session: Session, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what a session reads of some tensors, in its dtypes: a variant may have half inputs of its own."""
    return {info.name: _as_dtype(tensors[info.name], info.dtype) for info in session.inputs}


def _as_dtype(tensor: np.ndarray, dtype: str) -> np.ndarray:
    # A value beyond the half range becomes infinite, as it would in an engine.
    with np.errstate(over="ignore"):
        return tensor if tensor.dtype.name == dtype else tensor.astype(np.dtype(dtype))


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
            actual = rounded.run(inputs_of(rounded, feed))
            own = layers.run(inputs_of(layers, {**feed, **expected}))
            for one in measured:
                name = one.point.tensor
                one.update(expected[name], actual[name], own[alone_names[name]])
    return measured


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
