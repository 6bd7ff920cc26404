"""Looks for the causes of a failed variant: gathers the evidence, asks the rules, attaches what they find."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from parity.diagnose.engine import Diagnosed, examine
from parity.diagnose.evidence import Evidence
from parity.diagnosis import diagnosis_lines
from parity.errors import ParityError
from parity.precision.names import with_names
from parity.runner.deadline import Deadline
from parity.runner.layer_judge import judge_observed_outputs, observe_forecast
from parity.runner.probes import Experiments, RunnerProbes
from parity.runner.selection import LATENCY, OUTPUTS
from parity.runner.settings import LayerSettings
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from parity.layer_table import LayerReport
    from parity.results import Outcome
    from parity.runner.layer_judge import ObservedLayers
    from parity.runner.planned import PlannedVariant
    from parity.runner.rebuilding import JudgedEngine
    from parity.runner.reference import StoredFeed
    from parity.runner.rounded import RoundedOutputs
    from parity.runner.settings import JudgeSettings


def failed_outcome(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Return the outcome of a variant that its causes are told with: its outputs, else the first that failed."""
    # What takes too long computes nothing wrong.
    failed = [outcome for outcome in outcomes if outcome.verdict is Verdict.FAIL and outcome.check != LATENCY]
    return next((outcome for outcome in failed if outcome.check == OUTPUTS), failed[0] if failed else None)


def with_diagnoses(
    failed: Outcome,
    outcomes: Sequence[Outcome],
    planned: PlannedVariant,
    worst_feed: int | None,
    settings: JudgeSettings,
    *,
    engine: JudgedEngine | None = None,
) -> Outcome:
    """Return a failed outcome with the likely causes of its failure, and what was left out while they were looked for.

    What is looked at is the forecast, on the worst failing feed and the first one, whatever executed the variant; and
    of an engine on the feed before the worst one, whose answer may still lie in its buffers.

    Parameters
    ----------
    outcomes
        Of the variant.
    engine
        None where the forecast is what failed.
    """
    feeds = _chosen(planned.prepared.feeds, worst_feed, with_before=engine is not None)
    look = partial(find_causes, planned, outcomes, feeds, settings, engine=engine)
    return _attached(failed, _guarded(look, settings) or Diagnosed(()))


def explain_layers(
    planned: PlannedVariant, observed: ObservedLayers, rounded: RoundedOutputs, settings: JudgeSettings
) -> Outcome | None:
    """Return the outcome of observed layers with the likely causes; None where the outputs do not fail."""

    def look() -> Diagnosed | None:
        outputs, engine = judge_observed_outputs(planned, observed, rounded, settings)
        if outputs.verdict is not Verdict.FAIL:
            return None
        outcomes, made = (outputs, observed.outcome), Experiments()
        look_at = partial(find_causes, planned, outcomes, observed.feeds, settings, engine=engine, made=made)
        found = look_at(layers=observed.outcome.layers)
        # A fused layer hides tensors, and an engine's has no grid: the forecast has a row for each.
        return found if found.diagnoses or engine is None else look_at()

    diagnosed = _guarded(look, settings)
    return None if diagnosed is None else _attached(observed.outcome, diagnosed)


def _guarded(look: Callable[[], Diagnosed | None], settings: JudgeSettings) -> Diagnosed | None:
    """Return what was found; whatever goes wrong costs the causes, not the verdict."""
    try:
        return look()
    except ParityError as error:
        return Diagnosed((), (f"causes could not be looked for: {error}",))
    except Exception as error:
        if settings.debug:
            raise
        defect = f"looking for causes met an unexpected {type(error).__name__}: {error}; this is a defect"
        return Diagnosed((), (defect,))


def _chosen(feeds: Sequence[StoredFeed], worst: int | None, *, with_before: bool) -> tuple[StoredFeed, ...]:
    """Return the worst feed, the one before it if wanted, and the first one, in their order."""
    places = [place for place, feed in enumerate(feeds) if feed.number == worst]
    wanted = {0, *places, *(place - 1 for place in places if with_before and place)}
    return tuple(feed for place, feed in enumerate(feeds) if place in wanted)


def find_causes(
    planned: PlannedVariant,
    outcomes: Sequence[Outcome],
    feeds: Sequence[StoredFeed],
    settings: JudgeSettings,
    *,
    engine: JudgedEngine | None = None,
    layers: LayerReport | None = None,
    made: Experiments | None = None,
) -> Diagnosed:
    """Return the likely causes of a variant's failure.

    Parameters
    ----------
    outcomes
        Of the variant; at least one.
    feeds
        What is looked at.
    engine
        None where the forecast is what failed.
    layers
        What was observed on these feeds; the forecast's are observed now if None.
    made
        The experiments of looks at the same feeds and engine: those there are not made again, new ones are added.

    Raises
    ------
    ParityError
        They cannot be looked for.
    """
    deadline = Deadline.within(settings.diagnosis_s)
    model, budget_bytes = with_names(planned.prepared.model), LayerSettings().budget_bytes
    notes: tuple[str, ...] = ()
    if layers is None:
        layers, notes = _observed(planned, feeds, settings, budget_bytes, deadline)
    evidence = Evidence(
        model=model,
        rounded=planned.made.rounded,
        typed=planned.made.typed,
        options=planned.variant.options,
        outcomes={outcome.check: outcome for outcome in outcomes},
        layers=layers,
        feeds=lambda: (feed.tensors for feed in feeds),
        calibration=planned.calibration,
        probes=RunnerProbes(
            planned, model, feeds, settings, budget_bytes=budget_bytes, deadline=deadline, engine=engine, made=made
        ),
        case_name=outcomes[0].case,
        variant=outcomes[0].variant,
        case=planned.case,
    )
    found = examine(evidence, is_over=lambda: deadline.is_over)
    return replace(found, notes=(*notes, *found.notes))


def _observed(
    planned: PlannedVariant,
    feeds: Sequence[StoredFeed],
    settings: JudgeSettings,
    budget_bytes: int,
    deadline: Deadline,
) -> tuple[LayerReport | None, tuple[str, ...]]:
    """Return the forecast's layers, None where they cannot be observed in time, and why."""
    try:
        return observe_forecast(planned, feeds, settings, budget_bytes, lambda _done, _all: deadline.check()), ()
    except ParityError as error:
        return None, (f"causes were looked for without the layers: {error}",)


def _attached(outcome: Outcome, diagnosed: Diagnosed) -> Outcome:
    lines = [line for diagnosis in diagnosed.diagnoses for line in diagnosis_lines(diagnosis)]
    lines += [f"left out: {note}" for note in diagnosed.notes]
    told = replace(outcome, diagnoses=diagnosed.diagnoses, diagnosis_notes=diagnosed.notes)
    if outcome.verdict is Verdict.PASS and outcome.layers is not None:
        # A pass has no message: that the outputs fail is a note of the layers, and so is why.
        return replace(told, layers=replace(outcome.layers, notes=(*outcome.layers.notes, *lines)))
    return replace(told, message="\n".join([outcome.message, *lines]))
