"""The ``layers`` check: on which feeds a variant's layers are observed, and by whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from parity.checks.layers import layers_outcome
from parity.graph import model_interface
from parity.layers.engine import Limits, ObservedEngine, observe_engine
from parity.layers.observe import Observed, observe
from parity.precision.names import kept_nodes, with_names
from parity.runner.engine_judge import judge_engine
from parity.runner.engine_request import engine_request
from parity.runner.observers import Answer, OutputsObserver
from parity.runner.rebuilding import JudgedEngine
from parity.runner.selection import OUTPUTS, is_engine_backend
from parity.runner.settings import LayerSettings
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from parity.backends import Backend
    from parity.backends.engine import EngineBackend
    from parity.layer_table import LayerReport
    from parity.layers.observe import Told
    from parity.results import Outcome
    from parity.runner.observers import Judged
    from parity.runner.planned import PlannedVariant
    from parity.runner.reference import StoredFeed
    from parity.runner.rounded import RoundedOutputs
    from parity.runner.settings import JudgeSettings

_FIRST_FEEDS = 2
"""Observed whatever fails."""


@dataclass(frozen=True, slots=True)
class ObservedLayers:
    """A variant's layers as they were judged, and on what."""

    outcome: Outcome
    backend: Backend
    feeds: tuple[StoredFeed, ...]


def judge_layers(
    planned: PlannedVariant, backend: Backend, blank: Outcome, rounded: RoundedOutputs, settings: JudgeSettings
) -> ObservedLayers:
    """Observe a variant's layers on the first feeds and on the one that its forecast fails most on.

    Raises
    ------
    ModelError
        The variant's graph shares no tensor with the model.
    BackendError
        A runtime failed.
    """
    layers = settings.layers or LayerSettings()
    judged, worst = find_worst_feed(planned, rounded, blank)
    chosen = choose_feeds(planned.prepared.feeds, worst)
    if is_engine_backend(backend):
        report = observe_on_engine(planned, backend, chosen, settings, layers.budget_bytes)
    else:
        report = observe_forecast(planned, chosen, settings, layers.budget_bytes)
    unexplained = _unexplained(report, judged.verdict)
    notes = (*report.notes, _feeds_note(chosen, worst), *unexplained)
    filled = replace(blank, model=planned.record, feed_count=len(chosen))
    outcome = layers_outcome(filled, replace(report, notes=notes))
    if unexplained and outcome.verdict is Verdict.PASS:
        told = f"the forecast's outputs fail, and none of {len(report.rows)} layers stands out"
        outcome = replace(outcome, headline=told)
    return ObservedLayers(outcome, backend, chosen)


def judge_observed_outputs(
    planned: PlannedVariant, observed: ObservedLayers, rounded: RoundedOutputs, settings: JudgeSettings
) -> tuple[Outcome, JudgedEngine | None]:
    """Judge the outputs on the feeds that layers were observed on: the engine's, where there is one.

    Raises
    ------
    ModelError, PrecisionError, BackendError, FeedError
        A runtime fails.
    """
    blank = replace(observed.outcome, check=OUTPUTS, layers=None)
    backend, feeds = observed.backend, observed.feeds
    if not is_engine_backend(backend):
        return _judge_forecast(planned, feeds, rounded, blank)[0], None
    answers: dict[int, Mapping[str, np.ndarray]] = {}
    [(outcome, _)] = judge_engine(
        *(planned, backend, {OUTPUTS: blank}, rounded, {}),
        timeout_s=settings.build_timeout_s,
        command="",
        keep=answers.__setitem__,
        feeds=feeds,
    )
    return outcome, JudgedEngine(backend, answers, outcome.engine.build_s if outcome.engine else None)


def find_worst_feed(planned: PlannedVariant, rounded: RoundedOutputs, blank: Outcome) -> Judged:
    """Return what the forecast's outputs are judged as, and the feed that fails most, None where all pass.

    Raises
    ------
    ModelError, BackendError
        ONNX Runtime refuses the rounded graph, or fails.
    """
    return _judge_forecast(planned, planned.prepared.feeds, rounded, blank)


def _judge_forecast(
    planned: PlannedVariant, feeds: Sequence[StoredFeed], rounded: RoundedOutputs, blank: Outcome
) -> Judged:
    outputs = model_interface(planned.made.rounded).outputs
    observer = OutputsObserver(planned, planned.half_tensors(outputs))
    for feed in feeds:
        observer.update(feed, Answer(rounded[feed.number]))
    return observer.judged(blank)


def choose_feeds(feeds: Sequence[StoredFeed], worst: int | None) -> tuple[StoredFeed, ...]:
    """Return the first feeds and the worst one, in their order."""
    return tuple(feed for place, feed in enumerate(feeds) if place < _FIRST_FEEDS or feed.number == worst)


def observe_forecast(
    planned: PlannedVariant,
    feeds: Sequence[StoredFeed],
    settings: JudgeSettings,
    budget_bytes: int,
    told: Told | None = None,
) -> LayerReport:
    """Observe a variant's rounded graph in ONNX Runtime.

    Raises
    ------
    ModelError
        It shares no tensor with the model.
    BackendError
        ONNX Runtime failed.
    """
    named = with_names(planned.prepared.model)
    observed = Observed(
        model=named,
        rounded=planned.made.rounded,
        precision=planned.precision,
        rounded_options=planned.rounded_options(settings.session),
        kept=kept_nodes(named.graph, planned.variant.options.keep),
    )
    return observe(observed, lambda: (feed.tensors for feed in feeds), budget_bytes, told)


def observe_on_engine(
    planned: PlannedVariant,
    backend: EngineBackend,
    feeds: Sequence[StoredFeed],
    settings: JudgeSettings,
    budget_bytes: int,
) -> LayerReport:
    """Observe what survives fusion in a variant's engine.

    Raises
    ------
    ModelError, PrecisionError, BackendError, FeedError, StructureError
        There is no engine, or it does not run or does not fit the reference.
    """
    outputs = feeds[0].expected
    regions = {name: planned.regions_of(name, outputs[name].shape) for name in outputs}
    observed = ObservedEngine(
        model=with_names(planned.prepared.model),
        request=engine_request(planned),
        # An output with slices of its own has no one tolerance; two engines are told apart by the precision's.
        tolerances={name: found[0].tolerance for name, found in regions.items() if len(found) == 1},
    )
    limits = Limits(budget_bytes, settings.build_timeout_s)
    return observe_engine(observed, backend, lambda: (feed.tensors for feed in feeds), limits)


def _feeds_note(feeds: Sequence[StoredFeed], worst: int | None) -> str:
    numbers = ", ".join(str(feed.number) for feed in feeds)
    failing = "no feed fails the forecast" if worst is None else f"the forecast fails most on feed {worst}"
    return f"observed on feed{'s' if len(feeds) != 1 else ''} {numbers}; {failing}"


def _unexplained(report: LayerReport, verdict: Verdict) -> tuple[str, ...]:
    """Return a note where outputs fail and no layer stands out."""
    if verdict is not Verdict.FAIL or report.sources:
        return ()
    return (
        (
            "the outputs of the forecast fail, and no layer stands out: the error gathers over many layers, or the "
            "tolerance asks for more than the precision gives"
        ),
    )
