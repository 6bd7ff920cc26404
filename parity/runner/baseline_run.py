"""A run's ``baseline`` outcomes, behind all others and once its workers have ended: nothing else is on the GPU then."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from parity.baseline.judging import CHECK
from parity.baseline.machine import CPU, family_of
from parity.case.model import LatencyOptions
from parity.errors import ParityError, RunError
from parity.results import Outcome
from parity.runner.baseline_judge import BaselineMode, MeasuredCase, check_baseline, check_unused, update_baselines
from parity.runner.message import with_error
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from parity.case import Case
    from parity.results import Run
    from parity.runner.baseline_latency import BaselineLatency
    from parity.runner.run import OpenRun

LATENCY = "latency"


@dataclass(frozen=True, slots=True)
class UpdateSettings:
    """What is accepted.

    Attributes
    ----------
    wants_latency
        None measures it where it was accepted before, and where the case has a ``[latency]`` table, not on the CPU.
    measurement_count
        Separately started measurements of latency.
    replaces
        Whether what was accepted before is dropped, whatever it says.
    """

    wants_latency: bool | None = None
    measurement_count: int = 1
    replaces: bool = False

    @property
    def keeps_latency(self) -> bool:
        """Whether a latency that was accepted before stays one that is judged."""
        return self.wants_latency is not False and not self.replaces

    def latency_labels(self, case: Case, labels: Sequence[str]) -> tuple[str, ...]:
        """Return the variants whose latency is measured."""
        if self.wants_latency is not None:
            return tuple(labels) if self.wants_latency else ()
        has_table = case.latency != LatencyOptions((case.batch_size,))
        return tuple(label for label in labels if has_table and family_of(label) != CPU)


def add_baselines(opened: OpenRun, mode: BaselineMode, latency: BaselineLatency, update: UpdateSettings) -> None:
    """Judge or accept every variant of a run that has ended its workers, and save what came of it.

    Raises
    ------
    RunError
        The run's folder cannot be written.
    """
    for case in opened.cases:
        opened.add(*baselines_of(case, opened.run, mode, latency, update))
        if mode is BaselineMode.CHECK and (stale := check_unused(case)):
            opened.add(stale)


def baselines_of(
    case: Case, run: Run, mode: BaselineMode, latency: BaselineLatency, update: UpdateSettings
) -> Iterator[Outcome]:
    """Yield the ``baseline`` outcomes of a case's variants in a run, in front of them what latency they needed."""
    measured = MeasuredCase(case, (run,), latency.origin)
    return _checked(measured, latency) if mode is BaselineMode.CHECK else _updated(measured, latency, update)


def _checked(measured: MeasuredCase, latency: BaselineLatency) -> Iterator[Outcome]:
    labels = _judged(measured)
    try:
        measured = latency.complete(measured, labels)
    except RunError:
        raise
    except ParityError as error:
        yield from (with_error(_blank(measured.case, label), error) for label in labels)
        return
    yield from _latency_outcomes(measured.runs[1:])
    yield from (check_baseline(measured, label) for label in measured.labels())


def _updated(measured: MeasuredCase, latency: BaselineLatency, update: UpdateSettings) -> Iterator[Outcome]:
    batches = _to_be_timed(measured, latency, update)
    labels, sizes = tuple(batches), sorted({size for found in batches.values() for size in found})
    count = update.measurement_count if labels else 0
    try:
        runs = tuple(latency.measure(measured.case, labels, sizes) for _ in range(count))
    except RunError:
        raise
    except ParityError as error:
        yield from (with_error(_blank(measured.case, label), error) for label in labels)
        return
    yield from _latency_outcomes(runs)
    measured = replace(measured, runs=(*measured.runs, *runs))
    yield from update_baselines(measured, replaces=update.replaces)


def _to_be_timed(
    measured: MeasuredCase, latency: BaselineLatency, update: UpdateSettings
) -> dict[str, tuple[int, ...]]:
    """Return the variants whose latency is measured, with the batch sizes at which it was accepted before."""
    labels = _judged(measured)
    wanted = update.latency_labels(measured.case, labels)
    found = {}
    for label in labels:
        # What nobody measures again would be judged no more, as soon as another figure of its engine moves.
        accepted = latency.accepted(measured, label) if update.keeps_latency else ()
        # Where the case has budgets, the run has timed it already.
        timed = measured.figures_of(label).latency.keys()
        if (label in wanted and not timed) or not set(accepted) <= timed:
            found[label] = accepted
    return found


def _judged(measured: MeasuredCase) -> tuple[str, ...]:
    """Return the variants that no check failed to judge: there is no sense in timing the others."""
    left_out = {Verdict.ERROR, Verdict.SKIPPED}
    return tuple(
        label
        for label in measured.labels()
        if not any(outcome.verdict in left_out for outcome in measured.outcomes_of(label))
    )


def _latency_outcomes(runs: Sequence[Run]) -> Iterator[Outcome]:
    """Yield the first latency outcome of each variant; of the further ones the ``baseline`` outcome has the figures."""
    first: dict[tuple[str, str, str], Outcome] = {}
    for run in runs:
        for outcome in run.outcomes:
            first.setdefault(outcome.key, outcome)
    yield from first.values()


def _blank(case: Case, label: str) -> Outcome:
    precision = next((str(v.options.precision) for v in case.variants if v.name == label.rpartition("@")[0]), "")
    return Outcome(case.name, label, precision, CHECK, Verdict.ERROR, "")
