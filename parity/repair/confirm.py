"""What an engine says: whether it passes with nodes kept, and what that costs in latency."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from parity.errors import ModelError, ParityError, PrecisionError
from parity.repair.search import NOTHING, Kept, Trial
from parity.repair.trial import blank_outcome, trial_of
from parity.runner.engine_judge import differing_dtypes, judge_engine
from parity.runner.engine_request import engine_request
from parity.runner.planned import typed_inputs
from parity.runner.rounded import RoundedOutputs
from parity.runner.selection import OUTPUTS
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from parity.backends.engine import EngineBackend, EngineSession, EngineTiming
    from parity.repair.workbench import Workbench
    from parity.runner.planned import PlannedVariant

# As trtexec's protocol has it (200 ms, 10 iterations, 3 s), the 3 s split into rounds that alternate.
_WARM_UP_MS = 200.0
_MIN_ITERATIONS = 10
_ROUNDS = 3
_ROUND_S = 1.0


@dataclass(frozen=True, slots=True)
class Latency:
    """GPU time of one inference in ms: the median of all readings, and of the rounds the least and the largest median.

    Rounds of two engines alternate, so that a GPU which warms up or slows down slows both.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    readings: int

    def differs_from(self, other: Latency) -> bool:
        """Whether no round of the one is as fast as a round of the other."""
        return self.low_ms > other.high_ms or self.high_ms < other.low_ms


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What an engine of the variant says, as it is and with nodes kept.

    Attributes
    ----------
    backend
        Such as ``tensorrt-8.6``.
    plain_latency, kept_latency
        None where nothing was timed; ``notes`` say why.
    """

    backend: str
    plain: Trial
    kept: Trial
    plain_latency: Latency | None = None
    kept_latency: Latency | None = None
    notes: tuple[str, ...] = ()


class EngineTrials:
    """The predicate of a search: whether an engine of the variant with nodes kept passes. Each set is a build."""

    def __init__(self, bench: Workbench, backend: EngineBackend) -> None:
        self._bench = bench
        self._backend = backend

    def __call__(self, kept: Kept) -> Trial:
        """Build an engine and judge its outputs on all feeds."""
        start = time.perf_counter()
        try:
            trial = self._judge(self._bench.keeping(kept))
        except (PrecisionError, ModelError) as error:
            trial = Trial(Verdict.ERROR, math.inf, reason=str(error))
        return replace(trial, cost_s=time.perf_counter() - start)

    def _judge(self, planned: PlannedVariant) -> Trial:
        bench = self._bench
        observers = bench.observers(planned)
        blanks = {check: blank_outcome(planned, check) for check in (OUTPUTS, *observers)}
        rounded = RoundedOutputs(planned, bench.settings, bench.store)
        limit_s = bench.settings.build_timeout_s
        return trial_of(judge_engine(planned, self._backend, blanks, rounded, observers, timeout_s=limit_s, command=""))


def confirm(bench: Workbench, backend: EngineBackend, kept: Kept, plain: Trial | None = None) -> Confirmation:
    """Judge the engine with nodes kept and the plain one, and time both.

    Parameters
    ----------
    plain
        What the plain engine's trial came to, if it was made.

    Raises
    ------
    BackendError
        The worker is missing, failed, hung or died.
    RunError
        There is no space to set tensors aside.
    """
    trials = EngineTrials(bench, backend)
    plain = plain or trials(NOTHING)
    judged = Confirmation(backend.name, plain, trials(kept))
    try:
        plain_latency, kept_latency, notes = _latencies(bench, backend, kept)
    except ParityError as error:
        # The verdict stands without a latency beside it.
        return replace(judged, notes=(f"latency was not measured: {error}",))
    return replace(judged, plain_latency=plain_latency, kept_latency=kept_latency, notes=notes)


def _latencies(
    bench: Workbench, backend: EngineBackend, kept: Kept
) -> tuple[Latency | None, Latency | None, tuple[str, ...]]:
    plans = [bench.keeping(chosen) for chosen in (NOTHING, kept)]
    limit_s = bench.settings.build_timeout_s
    with ExitStack() as stack:
        engines = [stack.enter_context(backend.open_engine(engine_request(plan), limit_s)) for plan in plans]
        feeds = [_first_feed(plan, engine) for plan, engine in zip(plans, engines, strict=True)]
        rounds = [[_time(engine, feed) for engine, feed in zip(engines, feeds, strict=True)] for _ in range(_ROUNDS)]
    plain, repaired = (_latency([timings[place].gpu_ms for timings in rounds]) for place in (0, 1))
    notes = dict.fromkeys(note for timings in rounds for timing in timings for note in timing.notes)
    return plain, repaired, tuple(notes)


def _first_feed(planned: PlannedVariant, engine: EngineSession) -> dict[str, np.ndarray]:
    prepared = planned.prepared
    return typed_inputs(prepared.feeds[0].tensors, differing_dtypes(prepared.interface.inputs, engine.inputs, planned))


def _time(engine: EngineSession, feed: dict[str, np.ndarray]) -> EngineTiming:
    return engine.time(feed, warm_up_ms=_WARM_UP_MS, min_iterations=_MIN_ITERATIONS, min_s=_ROUND_S)


def _latency(rounds: Sequence[Sequence[float]]) -> Latency | None:
    """Return what rounds of readings in ms come to; None where there is no reading."""
    if not all(rounds):
        return None
    medians = [median(readings) for readings in rounds]
    everything = [reading for readings in rounds for reading in readings]
    return Latency(median(everything), min(medians), max(medians), len(everything))
