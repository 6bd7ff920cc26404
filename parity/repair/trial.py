"""One trial: a variant with more nodes kept, forecast in ONNX Runtime and judged by the checks of a run."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from parity.backends import get_backend
from parity.checks.outputs import severity
from parity.errors import ModelError, PrecisionError
from parity.precision import forecast
from parity.repair.search import Kept, Trial
from parity.repair.universe import keep_pattern
from parity.results import Outcome
from parity.runner.observers import Answer, OutputsObserver, observe
from parity.runner.planned import halves_of, typed_inputs
from parity.runner.selection import DECODED, OUTPUTS
from parity.tolerance import Precision
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from parity.backends import Session, Tensors
    from parity.options import PrecisionOptions
    from parity.precision import Forecast
    from parity.results import TensorOutcome
    from parity.runner.observers import Judged, Observer
    from parity.runner.planned import PlannedVariant
    from parity.runner.reference import StoredFeed
    from parity.runner.settings import JudgeSettings

    Observers = Callable[[PlannedVariant], Mapping[str, Observer]]
    """Makes what judges a variant's answers beside the ``outputs`` check."""

# Worst first: what could not be judged does not pass, and a failure is the better known of the two.
_ORDER = (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE)
_HALVES = frozenset({Precision.FP16, Precision.BF16})


class Keeping:
    """Plans a variant with more nodes kept.

    Parameters
    ----------
    planned
        The variant as it is; its ``keep_precision`` is what nodes are kept at.
    universe
        Every node that may be kept. All of them together leave nothing at the variant's precision: then the model is
        planned at the precision that they are kept at.
    """

    def __init__(self, planned: PlannedVariant, universe: Kept, settings: JudgeSettings) -> None:
        self.base = planned
        self.universe = universe
        self._settings = settings
        self._feeds: list[Tensors] | None = None

    def __call__(self, kept: Kept) -> PlannedVariant:
        """Return the variant with nodes kept beside its own.

        Raises
        ------
        PrecisionError, ModelError
            It cannot be rewritten so.
        """
        if not kept:
            return self.base
        own = self.base.variant.options
        options = replace(own, keep=(*own.keep, *map(keep_pattern, sorted(kept))))
        made = self._forecast(self._throughout(own) if kept >= self.universe else options)
        variant = replace(self.base.variant, options=options)
        # A case's own half model has no keep-list: a variant that keeps is made from the widened one.
        return replace(self.base, variant=variant, made=made, halves=halves_of(made), is_own=False)

    def _throughout(self, own: PrecisionOptions) -> PrecisionOptions:
        # Nothing is half in a Q/DQ model, whatever its nodes may be kept at.
        is_half = own.precision in _HALVES
        return replace(own, precision=own.keep_precision if is_half else Precision.FP32, keep=())

    def _forecast(self, options: PrecisionOptions) -> Forecast:
        feeds = self._calibration if self.base.calibration is not None else None
        return forecast(self.base.prepared.model, options, feeds, cache=self._settings.cache)

    def _calibration(self) -> Iterable[Tensors]:
        """Return the calibration feeds; preprocessed once."""
        assert self.base.calibration is not None
        if self._feeds is None:
            self._feeds = list(self.base.calibration())
        return self._feeds


class ForecastTrials:
    """The predicate of a search: whether the forecast of a variant with nodes kept passes.

    The feed that failed last is tried first: where it fails again, the others are not run.
    """

    def __init__(self, keeping: Keeping, settings: JudgeSettings, observers: Observers) -> None:
        self._keeping = keeping
        self._settings = settings
        self._observers = observers
        self._suspect: int | None = None

    @property
    def suspect(self) -> int | None:
        """The number of the feed that failed last."""
        return self._suspect

    def __call__(self, kept: Kept) -> Trial:
        """Judge a set up to the first feed that fails."""
        return self._told(kept, stops=True)

    def measure(self, kept: Kept) -> Trial:
        """Judge a set on all feeds, whether one fails or not."""
        return self._told(kept, stops=False)

    def _told(self, kept: Kept, *, stops: bool) -> Trial:
        start = time.perf_counter()
        try:
            trial = self._judge(kept, stops=stops)
        except (PrecisionError, ModelError) as error:
            trial = Trial(Verdict.ERROR, math.inf, reason=str(error))
        return replace(trial, cost_s=time.perf_counter() - start)

    def _judge(self, kept: Kept, *, stops: bool) -> Trial:
        planned = self._keeping(kept)
        options = planned.rounded_options(self._settings.session)
        with get_backend("onnxruntime").open(planned.made.rounded, options) as session:
            feeds = self._ordered()
            if stops and self._suspect is not None:
                alone = list(judge_answers(planned, session, feeds[:1], {}))
                if fails_for_certain(alone):
                    return replace(trial_of(alone), is_whole=len(feeds) == 1)
            judged = list(judge_answers(planned, session, feeds, self._observers(planned)))
        self._suspect = next((feed for _, feed in judged if feed is not None), self._suspect)
        return trial_of(judged)

    def _ordered(self) -> Sequence[StoredFeed]:
        return sorted(self._keeping.base.prepared.feeds, key=lambda feed: feed.number != self._suspect)


def judge_answers(
    planned: PlannedVariant, session: Session, feeds: Iterable[StoredFeed], observers: Mapping[str, Observer]
) -> Iterator[Judged]:
    """Run feeds and judge the answers, by ``outputs`` and by what else looks at them."""
    halves = planned.half_tensors(session.inputs)
    outputs = OutputsObserver(planned, planned.half_tensors(session.outputs), decodes=DECODED in observers)
    checks: dict[str, Observer] = {OUTPUTS: outputs, **observers}
    blanks = {check: blank_outcome(planned, check) for check in checks}
    return observe(((feed, Answer(session.run(typed_inputs(feed.tensors, halves)))) for feed in feeds), checks, blanks)


def blank_outcome(planned: PlannedVariant, check: str) -> Outcome:
    """Return what is known of an outcome before it is judged."""
    variant = planned.variant
    return Outcome(planned.case.name, variant.name, str(planned.precision), check, Verdict.ERROR, "")


def fails_for_certain(judged: Iterable[Judged]) -> bool:
    """Whether what was judged on some feeds fails on all of them, whatever the others show."""
    return any(_is_certain(tensor) for outcome, _ in judged for tensor in outcome.tensors)


def _is_certain(tensor: TensorOutcome) -> bool:
    difference, tolerance = tensor.difference, tensor.tolerance
    if tensor.verdict is not Verdict.FAIL or difference is None or tolerance is None:
        return tensor.verdict is Verdict.FAIL
    # A share of elements, an SQNR and a constant output may look better over all feeds.
    beyond = tensor.is_bound and difference.mismatch_count > 0 and tolerance.mismatch_fraction == 0.0
    return beyond or difference.nonfinite_mismatch_count > 0


def trial_of(judged: Iterable[Judged]) -> Trial:
    """Return what the outcomes of all checks come to."""
    outcomes = [outcome for outcome, _ in judged]
    worst = next((o for verdict in _ORDER for o in outcomes if o.verdict is verdict), None)
    tensors = [tensor for outcome in outcomes for tensor in outcome.tensors]
    # What is judged by decoding has a headroom that no verdict rests on; it is told where there is no other.
    bound = [tensor for tensor in tensors if tensor.is_bound] or tensors
    return Trial(
        verdict=Verdict.PASS if worst is None else worst.verdict,
        severity=max(map(severity, bound), default=math.inf),
        sqnr_db=min((db for tensor in tensors if not math.isnan(db := _sqnr_db(tensor))), default=math.nan),
        reason="" if worst is None else f"{worst.check}: {worst.headline}",
    )


def _sqnr_db(tensor: TensorOutcome) -> float:
    return math.nan if tensor.difference is None else tensor.difference.sqnr_db
