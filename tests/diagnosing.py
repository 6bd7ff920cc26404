"""Evidence of a variant whose forecast is judged, as a run would gather it, with probes that are really made."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from parity.backends import get_backend
from parity.case.regions import RegionTolerance
from parity.checks.outputs import OutputsCheck
from parity.compare import TensorComparison, reference_rms
from parity.diagnose.evidence import Answers, Evidence
from parity.layers.extract import expose
from parity.layers.observe import Observed, observe
from parity.options import PrecisionOptions, SessionOptions
from parity.precision import forecast
from parity.results import EngineRecord, Outcome
from parity.tolerance import DEFAULT_TOLERANCE, Tolerance
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from onnx import ModelProto

    from parity.layer_table import LayerReport
    from parity.precision import Forecast
    from parity.tolerance import Precision

    Feed = Mapping[str, np.ndarray]

_BUDGET_BYTES = 2**30


def run(model: ModelProto, feed: Feed, *, optimized: bool = False) -> dict[str, np.ndarray]:
    with get_backend("onnxruntime").open(
        model, SessionOptions(thread_count=1, graph_optimizations=optimized)
    ) as session:
        return session.run({info.name: feed[info.name] for info in session.inputs})


@dataclass
class RealProbes:
    """Forecasts made anew in ONNX Runtime, remembered by what was asked; counts those made."""

    model: ModelProto
    options: PrecisionOptions
    feeds: tuple[Feed, ...]
    engine: ModelProto | None = None
    made: dict[object, Mapping[str, float]] = field(default_factory=dict)

    @cached_property
    def expected(self) -> list[dict[str, np.ndarray]]:
        return [run(self.model, feed) for feed in self.feeds]

    def outputs(self, keep: tuple[str, ...] = (), **options: object) -> Mapping[str, float]:
        asked = replace(self.options, keep=(*self.options.keep, *keep), **options)  # type: ignore[arg-type]
        if asked not in self.made:
            self.made[asked] = self.measure(forecast(self.model, asked), asked.precision)
        return self.made[asked]

    def measure(self, made: Forecast, precision: Precision) -> dict[str, float]:
        found: dict[str, TensorComparison] = {}
        for feed, expected in zip(self.feeds, self.expected, strict=True):
            for name, actual in run(made.rounded, feed, optimized=made.graph_optimizations).items():
                unjudged = Tolerance(rtol=1.0, atol=0.0, reason="not judged")
                one = found.setdefault(name, TensorComparison(unjudged, precision, same_dtype=False))
                one.update(actual, expected[name])
        return {name: _decibels(one) for name, one in found.items()}

    def ranges(self, tensors: Iterable[str], *, calibration: bool = False) -> Mapping[str, tuple[float, float]]:
        assert not calibration
        found = {name: list(self.values(name)) for name in tensors}
        return {name: (min(map(_low, some)), max(map(_high, some))) for name, some in found.items()}

    def values(self, tensor: str) -> Iterator[np.ndarray]:
        for feed in self.feeds:
            yield feed[tensor] if tensor in feed else run(expose(self.model, [tensor]), feed)[tensor]

    def answers(self) -> Iterator[Answers]:
        return iter(self._answers)

    @cached_property
    def _answers(self) -> tuple[Answers, ...]:
        rounded = forecast(self.model, self.options).rounded
        forecasts = [run(rounded, feed) for feed in self.feeds]
        if self.engine is None:
            return tuple(map(Answers, self.feeds, self.expected, forecasts))
        candidates = [run(self.engine, feed) for feed in self.feeds]
        return tuple(map(Answers, self.feeds, self.expected, candidates, forecasts))

    def rebuilt(self) -> tuple[Mapping[str, float], ...]:
        return ()


def _decibels(comparison: TensorComparison) -> float:
    result = comparison.result()
    return -math.inf if result.nonfinite_mismatch_count else result.sqnr_db


def _low(values: np.ndarray) -> float:
    return float(values[np.isfinite(values)].min(initial=math.inf))


def _high(values: np.ndarray) -> float:
    return float(values[np.isfinite(values)].max(initial=-math.inf))


def evidence_of(
    model: ModelProto, feed: Feed, options: PrecisionOptions, *, tolerance: Tolerance | None = None
) -> Evidence:
    """Return the evidence of a forecast."""
    made, probes = _forecast(model, feed, options)
    actual = run(made.rounded, feed, optimized=made.graph_optimizations)
    outcome = judge_outputs(probes.expected[0], actual, options.precision, tolerance)
    session = SessionOptions(thread_count=1, graph_optimizations=made.graph_optimizations)
    report = observe(Observed(model, made.rounded, options.precision, session), lambda: [feed], _BUDGET_BYTES)
    return _evidence(made, probes, {"outputs": outcome}, report, f"{options.precision}@onnxruntime")


def _forecast(model: ModelProto, feed: Feed, options: PrecisionOptions) -> tuple[Forecast, RealProbes]:
    made, probes = forecast(model, options), RealProbes(model, options, (feed,))
    probes.made[options] = probes.measure(made, options.precision)
    return made, probes


def _evidence(
    made: Forecast, probes: RealProbes, outcomes: Mapping[str, Outcome], layers: LayerReport | None, variant: str
) -> Evidence:
    return Evidence(
        model=probes.model,
        rounded=made.rounded,
        typed=made.typed,
        options=probes.options,
        outcomes=outcomes,
        layers=layers,
        feeds=lambda: probes.feeds,
        calibration=None,
        probes=probes,
        case_name="planted",
        variant=variant,
    )


def judge_outputs(
    expected: Feed,
    actual: Feed,
    precision: Precision,
    tolerance: Tolerance | None = None,
    rounded: Feed | None = None,
) -> Outcome:
    chosen = tolerance or DEFAULT_TOLERANCE[precision]

    def regions_of(output: str, shape: tuple[int, ...]) -> tuple[RegionTolerance, ...]:
        return (RegionTolerance(output, None, chosen.absolute(reference_rms([expected[output]]))),)

    check = OutputsCheck(regions_of, precision)
    check.update(0, actual, expected, rounded=rounded)
    result = check.result()
    return Outcome(
        case="planted", variant=str(precision), precision=str(precision), check="outputs", verdict=result.verdict,
        headline=result.headline, tensors=result.tensors, feed_count=1,
    )  # fmt: skip


def engine_evidence(
    model: ModelProto,
    engine: ModelProto,
    feed: Feed,
    options: PrecisionOptions,
    *,
    record: EngineRecord | None = None,
    layers: LayerReport | None = None,
    others: Mapping[str, Outcome] | None = None,
) -> Evidence:
    """Return the evidence of a scripted engine: what another model computes, triangulated with the forecast."""
    made, probes = _forecast(model, feed, options)
    probes.engine = engine
    rounded = run(made.rounded, feed, optimized=made.graph_optimizations)
    outcome = judge_outputs(probes.expected[0], run(engine, feed), options.precision, rounded=rounded)
    outcome = replace(outcome, engine=record or EngineRecord(sha256="0" * 64, size_bytes=1, source="built"))
    return _evidence(made, probes, {"outputs": outcome, **(others or {})}, layers, "fake@tensorrt-8.6")


def is_failing(evidence: Evidence) -> bool:
    return any(outcome.verdict is Verdict.FAIL for outcome in evidence.outcomes.values())
