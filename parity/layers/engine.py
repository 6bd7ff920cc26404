"""Observes an engine: the tensors that survive fusion, shown by further builds, and held against the reference."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from parity.backends import get_backend
from parity.backends.engine import EngineFile, Exposure, OnnxSource
from parity.compare import TensorComparison
from parity.errors import ModelError
from parity.inspector import parse_inspection
from parity.layer_table import LayerReport, Validity
from parity.layers.alone import Alone, measure_alone, reads_inputs_alone, typed_feed
from parity.layers.engine_points import EnginePoints, find_engine_points, layer_medians
from parity.layers.extract import expose
from parity.layers.floor import noise_floor_db, reduction_depth, sequence_loss_db
from parity.layers.grid import GridUse, activation_scales
from parity.layers.instrument import Instrumenting, Showing, best_exposure, show
from parity.layers.reference import float32_bytes, inputs_of, tensor_shapes
from parity.layers.roles import doubtful_rows, rank_sources, with_roles
from parity.layers.rows import UNJUDGED, Measured, make_row
from parity.options import SessionOptions
from parity.tolerance import Precision, default_tolerance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from onnx import ModelProto

    from parity.backends.engine import EngineBackend, EngineRequest, EngineSession
    from parity.inspector import EngineLayer
    from parity.layer_table import LayerRow
    from parity.layers.engine_points import EnginePoint
    from parity.layers.observe import Feeds, Told
    from parity.tolerance import Tolerance

_TIMED_ITERATIONS = 20
OBSERVED_BY = {
    Exposure.OUTPUT: "output",
    Exposure.DEBUG: "debug tensor",
    Exposure.UNFUSED: "unfused debug tensor",
}
"""What ``LayerRow.observed_by`` says."""


@dataclass(frozen=True, slots=True)
class ObservedEngine:
    """Which engine is observed.

    Attributes
    ----------
    model
        The reference's float32 model; every node has a name of its own, the names that ``request`` knows.
    request
        What asks for the engine as it ships.
    tolerances
        By output; the precision's default where an output has none. They say whether two engines share a verdict.
    """

    model: ModelProto
    request: EngineRequest
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is spent.

    Attributes
    ----------
    budget_bytes
        For the tensors that are held at a time.
    timeout_s
        The longest that one build may take.
    most_retries
        Further builds, with fewer tensors each, where an engine that shows its tensors is not the plain one.
    most_alone
        Layers that are built alone, of those where the error grows most.
    """

    budget_bytes: int
    timeout_s: float
    most_retries: int = 6
    most_alone: int = 4


def observe_engine(
    observed: ObservedEngine, backend: EngineBackend, feeds: Feeds, limits: Limits, told: Told | None = None
) -> LayerReport:
    """Observe what survives fusion in an engine.

    Parameters
    ----------
    feeds
        In the model's dtypes; at least one.
    told
        Is told after each build that shows tensors how many are done, and how many there are by now.

    Raises
    ------
    ModelError, PrecisionError, BackendError, FeedError
        There is no plain engine, or it does not run.
    StructureError
        An output of it has another shape than the reference's.
    """
    with backend.open_engine(observed.request, limits.timeout_s) as session:
        plain = _examine(observed.model, session, next(iter(feeds())))
        return _Watch(observed, backend, plain, feeds, limits).report(told)


@dataclass(frozen=True, slots=True)
class _Plain:
    """The engine as it ships: its layers with their median times in ms, and what of the model is in it.

    Attributes
    ----------
    outputs
        Names of outputs that the model has as well.
    shapes
        Of the model's float tensors, for the first feed.
    """

    session: EngineSession
    layers: Sequence[EngineLayer]
    times: Sequence[float | None]
    outputs: tuple[str, ...]
    found: EnginePoints
    shapes: Mapping[str, tuple[int, ...]]


def _examine(model: ModelProto, session: EngineSession, feed: Mapping[str, np.ndarray]) -> _Plain:
    inputs = typed_feed(session.inputs, feed)
    # The inspector knows the shapes of the last run.
    session.run(inputs)
    layers = parse_inspection(session.inspector_json).of_profile(0)
    times = layer_medians(layers, session.layer_times(inputs, _TIMED_ITERATIONS))
    outputs = _shared_outputs(model, session)
    found = find_engine_points(model, layers, outputs)
    return _Plain(session, layers, times, outputs, found, tensor_shapes(model, feed))


class _Watch:
    """One engine under observation: what is measured of each point so far."""

    def __init__(
        self, observed: ObservedEngine, backend: EngineBackend, plain: _Plain, feeds: Feeds, limits: Limits
    ) -> None:
        self._observed = observed
        self._backend = backend
        self._plain = plain
        self._feeds = feeds
        self._limits = limits
        self._by_tensor = {point.tensor: point for point in plain.found.points}
        scales = _scales(observed.request)
        self._measured = {name: _begin(point, observed.request, scales) for name, point in self._by_tensor.items()}

    def report(self, told: Told | None) -> LayerReport:
        """Run everything and return what was found."""
        tolerances = self._measure_outputs()
        shown = self._show(tolerances, told)
        self._measure_alone(shown)
        rows = with_roles(self._rows())
        return LayerReport(
            rows=rows,
            sources=rank_sources(rows),
            coverage=self._plain.found.coverage * len(rows) / max(1, len(self._measured)),
            unobserved=(*self._plain.found.unobserved, *shown.unobserved, *self._empty(shown)),
            validity=Validity.INVALID if shown.reasons else Validity.VALID,
            validity_reason="; ".join(shown.reasons),
            is_nearer_observed=shown.is_nearer,
            build_count=shown.build_count,
            notes=(*self._plain.found.notes, *shown.notes, *self._on_points()),
        )

    def _empty(self, shown: Showing) -> list[str]:
        told = {sentence.partition(": ")[0] for sentence in shown.unobserved}
        empty = (name for name, one in self._measured.items() if one.is_empty and name not in told)
        return [f"{name}: holds no element in any feed" for name in empty]

    def _measure_outputs(self) -> dict[str, Tolerance]:
        """Measure the plain engine's own outputs, and return their tolerances in their own units."""
        precision = self._observed.request.precision
        whole = {name: TensorComparison(UNJUDGED, precision, same_dtype=False) for name in self._plain.outputs}
        filled: dict[str, str] = {}
        model = expose(self._observed.model, self._plain.outputs)
        with get_backend("onnxruntime").open(model, SessionOptions()) as reference:
            for feed in self._feeds():
                expected = reference.run(inputs_of(reference, feed))
                actual = self._plain.session.run(typed_feed(self._plain.session.inputs, feed))
                for name in (name for name in self._plain.outputs if expected[name].size):
                    filled[name] = expected[name].dtype.name
                    whole[name].update(actual[name], expected[name])
                    if name in self._measured:
                        self._measured[name].update(expected[name], actual[name])
        asked = self._observed.tolerances
        return {
            name: asked.get(name, default_tolerance(precision, dtype)).absolute(whole[name].scale)
            for name, dtype in filled.items()
        }

    def _show(self, tolerances: Mapping[str, Tolerance], told: Told | None) -> Showing:
        inner = {name: one for name, one in self._measured.items() if name not in self._plain.outputs}
        if isinstance(self._observed.request.source, EngineFile):
            why = "is inside of an engine that was built elsewhere, which cannot be built once more to show it"
            return Showing(unobserved=[f"{name}: {why}" for name in inner])
        task = Instrumenting(
            model=self._observed.model,
            request=self._observed.request,
            plain=self._plain.session,
            plain_layers=tuple(layer.name for layer in self._plain.layers),
            how=self._how,
            half=frozenset(name for name, point in self._by_tensor.items() if point.is_half),
            backend=self._backend,
            tolerances=tolerances,
            feeds=self._feeds,
            sizes=float32_bytes(self._plain.shapes),
            budget_bytes=self._limits.budget_bytes,
            timeout_s=self._limits.timeout_s,
        )
        return show(task, inner, self._limits.most_retries, told)

    @property
    def _how(self) -> Exposure:
        return best_exposure(self._backend.worker.capabilities if self._backend.worker is not None else {})

    def _measure_alone(self, shown: Showing) -> None:
        """Build the layers alone where the error grows most, which their roles rest on."""
        if not isinstance(self._observed.request.source, OnnxSource):
            shown.notes.append("no layer was built alone: there is no ONNX model that the engine was built from")
            return
        alone = Alone(
            self._observed.model,
            self._observed.request,
            self._backend,
            frozenset(name for name, one in self._measured.items() if not one.is_empty),
            self._feeds,
            self._limits.timeout_s,
        )
        for row in doubtful_rows(self._rows(), self._limits.most_alone):
            one = self._measured[row.tensor]
            if reads_inputs_alone(alone, row.tensor):
                one.take_all_as_own()
                continue
            shown.build_count += 1
            why = measure_alone(alone, one)
            shown.notes += [why] if why else []

    def _rows(self) -> list[LayerRow]:
        nodes = {node.name: node for node in self._observed.model.graph.node}
        known = {**self._plain.shapes, **{one.name: tuple(one.dims) for one in self._observed.model.graph.initializer}}
        arriving: dict[str, float] = {}
        rows: list[LayerRow] = []
        for position, (name, one) in enumerate(self._measured.items()):
            if one.is_empty:
                continue
            depth = reduction_depth((nodes[node] for node in one.point.nodes), known)
            floor_db = noise_floor_db(one.precision, depth, sums_in_half=True) - sequence_loss_db(one.point.operators)
            row = make_row(one, position, floor_db=floor_db, depth=depth, arriving=arriving)
            rows.append(self._of_engine(row, self._by_tensor[name]))
            arriving[name] = row.inherited.sqnr_db
        return rows

    def _of_engine(self, row: LayerRow, point: EnginePoint) -> LayerRow:
        times = [ms for place in point.places if (ms := self._plain.times[place]) is not None]
        return replace(
            row,
            layer=point.layer or row.layer,
            precision=point.precision,
            time_ms=sum(times) if times else None,
            observed_by=OBSERVED_BY[Exposure.OUTPUT if row.tensor in self._plain.outputs else self._how],
        )

    def _on_points(self) -> tuple[str, ...]:
        if any(name not in self._plain.outputs for name in self._measured):
            return ()
        return ("no float tensor inside the engine survives under a name of the model: its outputs alone are observed",)


def _shared_outputs(model: ModelProto, plain: EngineSession) -> tuple[str, ...]:
    given = {info.name for info in plain.outputs}
    shared = tuple(value.name for value in model.graph.output if value.name in given)
    if not shared:
        raise ModelError(
            f"the engine's outputs are {', '.join(sorted(given))}, the model's "
            f"{', '.join(value.name for value in model.graph.output)}: name them alike to compare anything"
        )
    return shared


def _scales(request: EngineRequest) -> dict[str, float]:
    return activation_scales(request.source.typed) if isinstance(request.source, OnnxSource) else {}


def _begin(point: EnginePoint, request: EngineRequest, scales: Mapping[str, float]) -> Measured:
    is_known = point.precision in set(Precision)
    scale = scales.get(point.tensor)
    precision = Precision(point.precision) if is_known else request.precision
    return Measured(point.point, precision, GridUse(scale) if scale else None)
