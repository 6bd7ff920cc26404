"""Experiments in ONNX Runtime that confirm or refute a cause, each made once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.backends import get_backend
from parity.diagnose.evidence import Answers
from parity.errors import ModelError, PrecisionError
from parity.layers.extract import expose
from parity.layers.groups import group_tensors
from parity.layers.reference import OBSERVING, inputs_of, tensor_shapes
from parity.options import PrecisionOptions
from parity.precision import forecast
from parity.runner.distances import Distances
from parity.runner.rebuilding import compare_builds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from onnx import ModelProto

    from parity.precision import Forecast
    from parity.runner.deadline import Deadline
    from parity.runner.planned import PlannedVariant
    from parity.runner.rebuilding import JudgedEngine
    from parity.runner.reference import StoredFeed
    from parity.runner.settings import JudgeSettings

    Range = tuple[float, float]

_ITEM_BYTES = 8
_OPTIONS = frozenset(field.name for field in fields(PrecisionOptions))
_NOTHING = (math.nan, math.nan)


@dataclass(slots=True)
class Experiments:
    """What the experiments on a variant gave; looks at the same feeds and engine share it.

    Attributes
    ----------
    outputs
        The SQNR in dB of each output, by the precision options.
    ranges
        By whether it is over the calibration feeds, and by tensor.
    builds
        As ``RunnerProbes.rebuilt``; None where none was built yet.
    """

    outputs: dict[PrecisionOptions, dict[str, float]] = field(default_factory=dict)
    ranges: dict[tuple[bool, str], Range] = field(default_factory=dict)
    builds: tuple[Mapping[str, float], ...] | None = None


class RunnerProbes:
    """The probes of one variant, on few feeds.

    Parameters
    ----------
    model
        The case's float32 model; every node has a name.
    feeds
        What every experiment runs on.
    budget_bytes
        For the tensors that are held at a time.
    deadline
        No experiment begins behind it: ``BackendTimeout``.
    engine
        None where the forecast is what failed.
    made
        Experiments of an earlier look, which are not made again.
    """

    def __init__(
        self,
        planned: PlannedVariant,
        model: ModelProto,
        feeds: Sequence[StoredFeed],
        settings: JudgeSettings,
        *,
        budget_bytes: int,
        deadline: Deadline,
        engine: JudgedEngine | None = None,
        made: Experiments | None = None,
    ) -> None:
        self._planned = planned
        self._model = model
        self._feeds = feeds
        self._settings = settings
        self._budget_bytes = budget_bytes
        self._deadline = deadline
        self._engine = engine
        self._made = made or Experiments()

    def outputs(self, keep: tuple[str, ...] = (), **options: object) -> Mapping[str, float]:
        """Return the SQNR in dB of each output with more nodes kept, or other precision options.

        It is ``-inf`` where NaN and infinities are not the reference's: an average over the rest would hide them.

        Raises
        ------
        PrecisionError
            The options do not fit the model, or the variant's typed model is the case's own.
        BackendTimeout
            The time is over.
        """
        wanted = self._changed(keep, options)
        if wanted not in self._made.outputs:
            self._deadline.check()
            self._made.outputs[wanted] = self._execute(wanted)
        return self._made.outputs[wanted]

    def _changed(self, keep: tuple[str, ...], options: Mapping[str, object]) -> PrecisionOptions:
        if unknown := sorted(options.keys() - _OPTIONS):
            raise PrecisionError(f"probe: {', '.join(unknown)} is no precision option; expected {sorted(_OPTIONS)}")
        own = self._planned.variant.options
        changes: dict[str, Any] = {"keep": (*own.keep, *keep), **options}
        return replace(own, **changes)

    def _execute(self, options: PrecisionOptions) -> dict[str, float]:
        made = self._planned.made if options == self._planned.variant.options else self._forecast(options)
        distances = Distances(options.precision)
        for feed, outputs in self._rounded(made):
            distances.add(outputs, feed.expected)
        return distances.levels()

    def _forecast(self, options: PrecisionOptions) -> Forecast:
        planned = self._planned
        if planned.variant.typed_model is not None:
            raise PrecisionError(
                "probe: the case brings the typed model of this variant, so its options change nothing"
            )
        return forecast(planned.prepared.model, options, planned.calibration, cache=self._settings.cache)

    def _rounded(self, made: Forecast) -> Iterator[tuple[StoredFeed, dict[str, np.ndarray]]]:
        """Yield each feed with what a rounded graph gives for it."""
        options = replace(self._settings.session, graph_optimizations=made.graph_optimizations)
        with get_backend("onnxruntime").open(made.rounded, options) as session:
            for feed in self._feeds:
                yield feed, session.run(inputs_of(session, feed.tensors))

    def ranges(self, tensors: Iterable[str], *, calibration: bool = False) -> Mapping[str, Range]:
        """Return the reference's smallest and largest finite value of tensors; NaN where there is no finite one.

        Parameters
        ----------
        calibration
            Over the calibration feeds, of which there may be none, rather than over those of the failure.

        Raises
        ------
        ModelError
            The model computes no tensor of a name.
        BackendTimeout
            The time is over.
        """
        wanted = tuple(dict.fromkeys(tensors))
        missing = [name for name in wanted if (calibration, name) not in self._made.ranges]
        for group in self._groups(missing):
            self._deadline.check()
            measured = self._measure(group, calibration=calibration)
            self._made.ranges |= {(calibration, name): found for name, found in measured.items()}
        return {name: self._made.ranges[calibration, name] for name in wanted}

    def answers(self) -> Iterator[Answers]:
        """Yield what each side gives to each feed; nothing of an engine whose answers were not kept.

        Raises
        ------
        BackendTimeout
            The time is over.
        """
        self._deadline.check()
        answered = dict(self._engine.answers) if self._engine else {}
        # They were kept in the order in which the engine was fed.
        previous = dict(pairwise(reversed(answered)))
        for feed, rounded in self._rounded(self._planned.made):
            number = feed.number
            if self._engine is None:
                yield Answers(feed.tensors, feed.expected, rounded, number=number)
            elif number in answered:
                yield Answers(feed.tensors, feed.expected, answered[number], rounded, number, previous.get(number))

    def rebuilt(self) -> tuple[Mapping[str, float], ...]:
        """Return how near other builds of the engine come to it, built now; nothing where the forecast is what failed.

        Raises
        ------
        BackendTimeout
            There is no time for a build.
        PrecisionError, ModelError, BackendError
            It cannot be built, or does not run.
        """
        if self._engine is None:
            return ()
        if self._made.builds is None:
            self._made.builds = compare_builds(self._planned, self._engine, self._feeds, self._deadline)
        return self._made.builds

    def values(self, tensor: str) -> Iterator[np.ndarray]:
        """Yield the reference's tensor of each feed.

        Raises
        ------
        ModelError
            The model computes no tensor of this name.
        BackendTimeout
            The time is over.
        """
        self._deadline.check()
        return (found[tensor] for found in self._observe((tensor,)))

    def _groups(self, tensors: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        if not tensors:
            return ()
        computed = [name for name in tensors if not self._is_input(name)]
        self._require_computed(computed)
        inputs = tuple(name for name in tensors if self._is_input(name))
        shapes = tensor_shapes(self._model, self._feeds[0].tensors, computed) if computed else {}
        sizes = {name: math.prod(shape) * _ITEM_BYTES for name, shape in shapes.items()}
        groups = group_tensors(computed, sizes, dict.fromkeys(computed, ()), self._budget_bytes)
        return (*groups, inputs) if inputs else groups

    def _measure(self, tensors: tuple[str, ...], *, calibration: bool) -> dict[str, Range]:
        ranges = dict.fromkeys(tensors, _NOTHING)
        for found in self._observe(tensors, calibration=calibration):
            for name, tensor in found.items():
                ranges[name] = _joined(ranges[name], _range(tensor))
        return ranges

    def _tensors(self, *, calibration: bool) -> Iterable[Mapping[str, np.ndarray]]:
        if not calibration:
            return (feed.tensors for feed in self._feeds)
        return () if self._planned.calibration is None else self._planned.calibration()

    def _observe(self, tensors: tuple[str, ...], *, calibration: bool = False) -> Iterator[Mapping[str, np.ndarray]]:
        """Yield tensors of the reference for each feed; all of them inputs, or none."""
        if all(map(self._is_input, tensors)):
            yield from ({name: feed[name] for name in tensors} for feed in self._tensors(calibration=calibration))
            return
        self._require_computed(tensors)
        with get_backend("onnxruntime").open(expose(self._model, tensors), OBSERVING) as session:
            for feed in self._tensors(calibration=calibration):
                self._deadline.check()
                yield session.run(inputs_of(session, feed))

    def _is_input(self, tensor: str) -> bool:
        return any(info.name == tensor for info in self._planned.prepared.interface.inputs)

    def _require_computed(self, tensors: Iterable[str]) -> None:
        known = {name for node in self._model.graph.node for name in node.output}
        unknown = [name for name in tensors if name not in known]
        if unknown:
            raise ModelError(f"probe: the model computes no tensor {unknown[0]!r} in its main graph")


def _range(tensor: np.ndarray) -> Range:
    finite = tensor[np.isfinite(tensor)] if tensor.dtype.kind == "f" else tensor
    return (float(finite.min()), float(finite.max())) if finite.size else _NOTHING


def _joined(one: Range, other: Range) -> Range:
    return float(np.fmin(one[0], other[0])), float(np.fmax(one[1], other[1]))
