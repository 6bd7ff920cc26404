"""Judges the variants of one case. The command line and the pytest plugin both come here."""

from __future__ import annotations

import logging
import shlex
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from parity.errors import ParityError, RunError
from parity.graph import HALF_DTYPES, model_interface
from parity.pace import paced, working
from parity.results import Outcome
from parity.runner.decoded_observer import DecodedObserver
from parity.runner.decoded_reference import DecodedReference
from parity.runner.diagnosing import explain_layers, failed_outcome, with_diagnoses
from parity.runner.engine_judge import judge_engine
from parity.runner.latency_judge import LatencyJudge, is_budgeted
from parity.runner.layer_judge import judge_layers
from parity.runner.message import failure_text, not_judged, with_error
from parity.runner.observers import Answer, OutputsObserver, judged_or_error, observe
from parity.runner.planned import PlannedVariant, plan_variant, typed_inputs
from parity.runner.rebuilding import JudgedEngine
from parity.runner.reference import PreparedCase, prepare_case
from parity.runner.replay import FeedNote, write_feed
from parity.runner.rounded import RoundedOutputs
from parity.runner.selection import (
    DECODED,
    LATENCY,
    LAYERS,
    OUTPUTS,
    checks_of,
    is_engine_backend,
    reason_to_skip,
    variant_label,
)
from parity.runner.settings import JudgeSettings, LatencyProtocol, Origin, relative_path
from parity.runner.store import TensorStore
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    import numpy as np

    from parity.backends import Backend
    from parity.backends.engine import EngineBackend
    from parity.backends.nvml import Watch
    from parity.case import Case, Variant
    from parity.results import CaseRecord
    from parity.runner.folder import RunFolder
    from parity.runner.layer_judge import ObservedLayers
    from parity.runner.observers import Judged, Observer
    from parity.runner.store import StoredTensors

_LOG = logging.getLogger(__name__)
_LOOKING = "looking for the cause"

CASE = "case"
"""The check of an outcome that stands for a whole case which could not be opened."""


def open_case_judge(
    case: Case,
    settings: JudgeSettings | None = None,
    *,
    watch: Watch | None = None,
    beside: Callable[[], Sequence[tuple[Variant, Backend]]] = tuple,
) -> CaseJudge:
    """Return a judge of a case's variants; close it to free its temporary folder.

    Parameters
    ----------
    watch
        Who looks at the GPU while variants are timed.
    beside
        The variants of the same run, each with its backend: what a budget may count from.
    """
    return CaseJudge(case, settings or JudgeSettings(), watch, beside)


def checks_made(case: Case, variant: Variant, backend: str, settings: JudgeSettings) -> tuple[str, ...]:
    """Return the checks that a variant of a case goes through on a backend of this name, in their order."""
    if settings.layers is not None:
        return (LAYERS,)
    # One saved feed is a finding that is looked at again, and no run.
    is_timed = settings.latency is not None and settings.feed is None and is_budgeted(case, variant, backend)
    return checks_of(backend, decodes=case.decoding is not None, is_timed=is_timed)


class CaseJudge:
    """Judges the variants of one case.

    Feeds and reference outputs are made when the first variant is judged, once, and kept on disk until it is closed;
    so are the outputs of rounded graphs that engines are compared with, and what the reference's outputs decode to.
    """

    def __init__(
        self,
        case: Case,
        settings: JudgeSettings,
        watch: Watch | None,
        beside: Callable[[], Sequence[tuple[Variant, Backend]]],
    ) -> None:
        self._case = case
        self._settings = settings
        self._timing = LatencyJudge(
            case, settings, settings.latency or LatencyProtocol(), watch=watch, plan=self._plan, beside=beside
        )
        self._stack = ExitStack()
        self._prepared: PreparedCase | ParityError | None = None
        self._store: TensorStore | None = None
        self._planned: dict[str, PlannedVariant] = {}
        self._rounded: dict[str, RoundedOutputs] = {}
        self._decoded: DecodedReference | None = None
        self._worst_feeds: dict[tuple[str, str], int | None] = {}
        self._engine_answers: dict[str, dict[int, StoredTensors]] = {}
        self._engine_backends: dict[str, EngineBackend] = {}
        self._observed: dict[str, ObservedLayers] = {}

    @property
    def record(self) -> CaseRecord | None:
        """What the case is made of, as soon as its feeds and reference are made."""
        return self._prepared.record if isinstance(self._prepared, PreparedCase) else None

    def judge_variant(self, variant: Variant, backend: Backend, folder: RunFolder | None = None) -> Iterator[Outcome]:
        """Yield an outcome for each check of a variant; whatever goes wrong is in the outcome.

        Parameters
        ----------
        folder
            Where a failing feed is saved; nowhere if None.

        Raises
        ------
        RunError
            The failing feed cannot be written: there is no sense in going on.
        """
        checks = checks_made(self._case, variant, backend.name, self._settings)
        pending = {check: self._blank(variant, backend, check) for check in checks}
        if reason := reason_to_skip(variant, backend):
            yield from (replace(o, verdict=Verdict.SKIPPED, headline=reason, message=reason) for o in pending.values())
            return
        start = time.perf_counter()
        try:
            for outcome in self._judge(variant, backend, folder, pending):
                del pending[outcome.check]
                yield replace(outcome, duration_s=time.perf_counter() - start)
                start = time.perf_counter()
        except RunError:
            raise
        except ParityError as error:
            yield from self._told(pending, error, start)
        except Exception as error:
            if self._settings.debug:
                raise
            yield from self._told(pending, error, start)

    def diagnose(self, variant: Variant, outcomes: Sequence[Outcome]) -> Outcome | None:
        """Return the failed outcome of a variant with the likely causes of its failure; None where none failed.

        Parameters
        ----------
        outcomes
            What ``judge_variant`` yielded for the variant.
        """
        if self._settings.diagnosis_s <= 0 or not outcomes:
            return None
        planned, label = self._planned.get(variant.name), outcomes[0].variant
        if planned is not None and label in self._observed:
            with working(_LOOKING):
                # As it was yielded, with the time that it took.
                observed = replace(self._observed[label], outcome=outcomes[0])
                return explain_layers(planned, observed, self._rounded_of(planned), self._settings)
        failed = failed_outcome(outcomes)
        if planned is None or failed is None:
            return None
        worst, engine = self._worst_feeds.get((label, failed.check)), self._judged_engine(label, outcomes)
        with working(_LOOKING):
            return with_diagnoses(failed, outcomes, planned, worst, self._settings, engine=engine)

    def _judged_engine(self, label: str, outcomes: Sequence[Outcome]) -> JudgedEngine | None:
        answers = self._engine_answers.get(label)
        if answers is None:
            return None
        record = next((outcome.engine for outcome in outcomes if outcome.engine), None)
        return JudgedEngine(self._engine_backends[label], answers, record.build_s if record else None)

    def _told(self, pending: dict[str, Outcome], error: Exception, start: float) -> Iterator[Outcome]:
        """Yield the outcomes that an error left open: the first tells it, the others that they depended on that one."""
        if not pending:
            _LOG.warning("%s: everything was judged, and clearing up behind it failed: %s", self._case.name, error)
            return
        first, *others = pending.values()
        yield replace(with_error(first, error), duration_s=time.perf_counter() - start)
        yield from (not_judged(other, first) for other in others)

    def _blank(self, variant: Variant, backend: Backend, check: str) -> Outcome:
        return Outcome(
            case=self._case.name,
            variant=variant_label(variant.name, backend.name),
            precision=str(variant.options.precision),
            check=check,
            verdict=Verdict.ERROR,
            headline="",
        )

    def _prepare(self) -> PreparedCase:
        if self._prepared is None:
            self._store = self._stack.enter_context(TensorStore())
            try:
                self._prepared = prepare_case(self._case, self._settings, self._store)
            except RunError:
                raise
            except ParityError as error:
                self._prepared = error
        if isinstance(self._prepared, ParityError):
            # The second variant is told the same, without the work.
            raise self._prepared
        return self._prepared

    def _plan(self, variant: Variant) -> PlannedVariant:
        if variant.name not in self._planned:
            self._planned[variant.name] = plan_variant(self._case, variant, self._prepare(), self._settings)
        return self._planned[variant.name]

    def _judge(
        self, variant: Variant, backend: Backend, folder: RunFolder | None, pending: dict[str, Outcome]
    ) -> Iterator[Outcome]:
        planned = self._plan(variant)
        tell = Teller(self._case, planned, folder, self._settings.origin)
        if LAYERS in pending:
            told = pending[LAYERS]
            judged = judge_layers(planned, backend, told, self._rounded_of(planned), self._settings)
            outcome = tell((judged.outcome, None))
            self._observed[told.variant] = replace(judged, outcome=outcome)
            yield outcome
            return
        for outcome, worst in self._judged(planned, backend, folder, pending, tell):
            self._worst_feeds[outcome.variant, outcome.check] = worst
            yield tell((outcome, worst))

    def _rounded_of(self, planned: PlannedVariant) -> RoundedOutputs:
        assert self._store is not None
        return self._rounded.setdefault(planned.variant.name, RoundedOutputs(planned, self._settings, self._store))

    def _judged(
        self,
        planned: PlannedVariant,
        backend: Backend,
        folder: RunFolder | None,
        pending: dict[str, Outcome],
        tell: Teller,
    ) -> Iterator[Judged]:
        observers = self._observers(planned, folder)
        if not is_engine_backend(backend):
            yield from judge_forecast(planned, backend, self._settings, dict(pending), observers)
            if LATENCY in pending:
                yield judged_or_error(lambda blank: (self._timing(planned, backend, blank), None), pending[LATENCY])
            return
        self._engine_backends[pending[OUTPUTS].variant] = backend
        yield from judge_engine(
            planned,
            backend,
            dict(pending),
            self._rounded_of(planned),
            observers,
            timeout_s=self._settings.build_timeout_s,
            command=tell.command(pending[OUTPUTS]),
            keep=None if self._settings.diagnosis_s <= 0 else partial(self._keep, pending[OUTPUTS].variant),
            time=lambda engine, blank: self._timing(planned, backend, blank, engine),
        )

    def _keep(self, label: str, feed: int, outputs: Mapping[str, np.ndarray]) -> None:
        """Set what an engine answers aside: which feed fails most is known after the last one."""
        assert self._store is not None
        self._engine_answers.setdefault(label, {})[feed] = self._store.put(outputs)

    def _observers(self, planned: PlannedVariant, folder: RunFolder | None) -> dict[str, Observer]:
        """Return what looks at a variant's outputs beside the ``outputs`` check."""
        if self._case.decoding is None:
            return {}
        if self._decoded is None:
            assert self._store is not None
            self._decoded = DecodedReference(self._case, self._case.decoding, self._prepare(), self._store)
        return {DECODED: DecodedObserver(planned, self._case.decoding, self._decoded, folder)}

    def close(self) -> None:
        """Free the temporary folder."""
        self._prepared = self._decoded = None
        self._planned.clear()
        self._rounded.clear()
        self._engine_answers.clear()
        self._engine_backends.clear()
        self._observed.clear()
        self._stack.close()

    def __enter__(self) -> CaseJudge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def judge_forecast(
    planned: PlannedVariant,
    backend: Backend,
    settings: JudgeSettings,
    blanks: Mapping[str, Outcome],
    observers: Mapping[str, Observer],
) -> Iterator[Judged]:
    """Execute the rounded graph once on each feed; yield the outcomes of ``outputs`` and of ``observers``."""
    filled = {check: replace(blank, model=planned.record) for check, blank in blanks.items()}
    with backend.open(planned.made.rounded, planned.rounded_options(settings.session)) as session:
        halves = planned.half_tensors(session.inputs)
        outputs = OutputsObserver(planned, planned.half_tensors(session.outputs), decodes=DECODED in observers)
        feeds = planned.prepared.feeds
        answers = (
            (feed, Answer(session.run(typed_inputs(feed.tensors, halves))))
            for feed in paced(feeds, "judging", len(feeds))
        )
        yield from observe(answers, {OUTPUTS: outputs, **observers}, filled)


@dataclass(frozen=True, slots=True)
class Teller:
    """Completes an outcome with its message, and with the worst feed and the command that replays it."""

    case: Case
    planned: PlannedVariant
    folder: RunFolder | None
    origin: Origin

    def __call__(self, judged: tuple[Outcome, int | None]) -> Outcome:
        """Return the completed outcome; the worst feed's number is None where none is to be saved."""
        outcome, worst_feed = judged
        if self.folder is not None and worst_feed is not None:
            outcome = self._with_feed(outcome, worst_feed, self.folder)
        if outcome.message:
            return outcome
        return replace(outcome, message=failure_text(outcome, outcome.replay or self.command(outcome)))

    def _with_feed(self, outcome: Outcome, number: int, folder: RunFolder) -> Outcome:
        feed = next(feed for feed in self.planned.prepared.feeds if feed.number == number)
        path = folder.feed_path(outcome.case, outcome.variant, feed.number)
        given = model_interface(self.planned.prepared.given).inputs
        tensors = typed_inputs(feed.tensors, {info.name: info.dtype for info in given if info.dtype in HALF_DTYPES})
        dtypes = {name: tensor.dtype.name for name, tensor in tensors.items()}
        scales = dict(self.planned.scales)
        note = FeedNote(
            *(self.case.name, self.planned.variant.name, feed.number, feed.name, scales, dtypes),
            *(feed.geometry, feed.sources),
        )
        write_feed(path, tensors, note)
        return replace(
            outcome,
            failing_feed=path.relative_to(folder.path).as_posix(),
            replay=self.command(outcome, path),
        )

    def command(self, outcome: Outcome, feed: Path | None = None) -> str:
        """Return the command that judges an outcome's variant again, on a saved feed where one is given."""
        is_of_layers = outcome.check == LAYERS and outcome.verdict is Verdict.FAIL
        words = ["parity", "repair" if is_of_layers else "run", relative_path(self.case.folder)]
        words += self.origin.words(self.planned.variant, outcome.variant.rpartition("@")[2])
        words += ["--feed", relative_path(feed)] if feed else []
        return shlex.join(words)
