"""Experiments in ONNX Runtime that confirm or refute a cause, each made once."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.backends import get_backend
from parity.compare import TensorComparison
from parity.diagnose.evidence import Answers
from parity.errors import BackendTimeout, ModelError, PrecisionError
from parity.graph import load_model
from parity.layers.extract import expose
from parity.layers.groups import group_tensors
from parity.layers.reference import OBSERVING, inputs_of, tensor_shapes
from parity.options import PrecisionOptions
from parity.precision import forecast
from parity.tolerance import Tolerance

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from onnx import ModelProto

    from parity.runner.planned import PlannedVariant
    from parity.runner.reference import StoredFeed
    from parity.runner.settings import JudgeSettings

    Range = tuple[float, float]

_ITEM_BYTES = 8
# Probes compare, they do not judge.
_UNJUDGED = Tolerance(rtol=1.0, atol=0.0, reason="probes are compared, not judged")
_OPTIONS = frozenset(field.name for field in fields(PrecisionOptions))
_NOTHING = (math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment, in ``time.monotonic`` seconds, by which to be done."""

    limit_s: float
    at: float

    @classmethod
    def within(cls, limit_s: float) -> Deadline:
        """Return the moment that is so many seconds from now."""
        return cls(limit_s, time.monotonic() + limit_s)

    @property
    def is_over(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self.at

    def check(self) -> None:
        """Check that there is time left.

        Raises
        ------
        BackendTimeout
            There is none.
        """
        if self.is_over:
            raise BackendTimeout(f"the {self.limit_s:g} s for looking for causes are over")


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
        What an engine answered, by the number of the feed; None where the forecast is what failed.
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
        engine: Mapping[int, Mapping[str, np.ndarray]] | None = None,
    ) -> None:
        self._planned = planned
        self._model = model
        self._feeds = feeds
        self._settings = settings
        self._budget_bytes = budget_bytes
        self._deadline = deadline
        self._engine = engine
        self._outputs: dict[PrecisionOptions, dict[str, float]] = {}
        self._ranges: dict[tuple[bool, str], Range] = {}

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
        if wanted not in self._outputs:
            self._deadline.check()
            self._outputs[wanted] = self._execute(wanted)
        return self._outputs[wanted]

    def _changed(self, keep: tuple[str, ...], options: Mapping[str, object]) -> PrecisionOptions:
        if unknown := sorted(options.keys() - _OPTIONS):
            raise PrecisionError(f"probe: {', '.join(unknown)} is no precision option; expected {sorted(_OPTIONS)}")
        own = self._planned.variant.options
        changes: dict[str, Any] = {"keep": (*own.keep, *keep), **options}
        return replace(own, **changes)

    def _execute(self, options: PrecisionOptions) -> dict[str, float]:
        planned = self._planned
        typed = planned.variant.typed_model
        if typed is not None and options != planned.variant.options:
            raise PrecisionError(
                "probe: the case brings the typed model of this variant, so its options change nothing"
            )
        made = forecast(
            planned.prepared.model,
            options,
            planned.calibration,
            typed_model=load_model(typed) if typed else None,
            cache=self._settings.cache,
        )
        compared: dict[str, TensorComparison] = {}
        session_options = replace(self._settings.session, graph_optimizations=made.graph_optimizations)
        with get_backend("onnxruntime").open(made.rounded, session_options) as session:
            for feed in self._feeds:
                for name, actual in session.run(inputs_of(session, feed.tensors)).items():
                    blank = TensorComparison(_UNJUDGED, options.precision, same_dtype=False)
                    compared.setdefault(name, blank).update(actual, feed.expected[name])
        return {name: _level(comparison) for name, comparison in compared.items()}

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
        missing = [name for name in wanted if (calibration, name) not in self._ranges]
        for group in self._groups(missing):
            self._deadline.check()
            measured = self._measure(group, calibration=calibration)
            self._ranges |= {(calibration, name): found for name, found in measured.items()}
        return {name: self._ranges[calibration, name] for name in wanted}

    def answers(self) -> Iterator[Answers]:
        """Yield what each side gives to each feed; nothing of an engine whose answers were not kept.

        Raises
        ------
        BackendTimeout
            The time is over.
        """
        self._deadline.check()
        made, options = self._planned.made, self._planned.rounded_options(self._settings.session)
        with get_backend("onnxruntime").open(made.rounded, options) as session:
            for feed in self._feeds:
                rounded = session.run(inputs_of(session, feed.tensors))
                if self._engine is None:
                    yield Answers(feed.tensors, feed.expected, rounded)
                elif feed.number in self._engine:
                    yield Answers(feed.tensors, feed.expected, self._engine[feed.number], rounded)

    def rebuilt(self) -> tuple[Mapping[str, float], ...]:
        """Return nothing: no other build of an engine was made."""
        return ()

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


def _level(comparison: TensorComparison) -> float:
    difference = comparison.result()
    return -math.inf if difference.nonfinite_mismatch_count else difference.sqnr_db


def _range(tensor: np.ndarray) -> Range:
    finite = tensor[np.isfinite(tensor)] if tensor.dtype.kind == "f" else tensor
    return (float(finite.min()), float(finite.max())) if finite.size else _NOTHING


def _joined(one: Range, other: Range) -> Range:
    return float(np.fmin(one[0], other[0])), float(np.fmax(one[1], other[1]))
