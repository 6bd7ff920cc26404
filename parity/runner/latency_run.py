"""Measures the latency of a case's variants, one after the other; each is on disk before the next one starts."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from parity.backends import open_backends
from parity.backends.gpu_lock import only_here
from parity.backends.nvml import open_watch
from parity.case.loader import load_case
from parity.case.model import LatencyOptions
from parity.checks.latency import latency_outcome
from parity.commit import commit_of
from parity.errors import ParityError, RunError
from parity.graph import load_model, model_interface
from parity.results import Outcome, Run
from parity.runner.folder import RunFolder, create_run_folder
from parity.runner.latency_judge import device_of, latency_command
from parity.runner.latency_trial import LatencyTrial, measure_variant
from parity.runner.message import with_error
from parity.runner.planned import plan_variant
from parity.runner.reference import PreparedCase, prepare_case
from parity.runner.selection import (
    LATENCY,
    environment_of,
    reason_to_skip,
    require_known,
    select_variants,
    variant_label,
)
from parity.runner.settings import MADE_BY, LatencyProtocol, cache_folder, selection_of
from parity.runner.store import TensorStore
from parity.runner.watching import watch_of, watched
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from parity.backends import Backend, TensorRTSettings
    from parity.backends.nvml import Watch
    from parity.case import Case, Variant
    from parity.latency_table import LatencyRecord
    from parity.results import ModelRecord
    from parity.runner.progress import Progress
    from parity.runner.settings import RunSettings
    from parity.runner.watching import OpenWatch

    OpenBackends = Callable[[Sequence[str], TensorRTSettings], AbstractContextManager[Sequence[Backend]]]

_LOG = logging.getLogger(__name__)

OTHER_MODE = "no budget was judged: those of the case are for the CUDA graph and the streams that its [latency] says"


@dataclass(frozen=True, slots=True)
class LatencySettings:
    """What a measurement is asked to do.

    Attributes
    ----------
    run
        The one case, its variants, backends, and where the run's folder is made.
    batch_sizes
        Measured beside those of the case.
    cuda_graph, streams
        In place of what the case says; None to do as it says.
    """

    run: RunSettings
    protocol: LatencyProtocol = field(default_factory=LatencyProtocol)
    batch_sizes: tuple[int, ...] = ()
    cuda_graph: bool | None = None
    streams: int | None = None


def options_of(case: Case, settings: LatencySettings) -> LatencyOptions:
    """Return how a case is measured: without its budgets where its mode is not the one that they are for."""
    own = case.latency
    sizes = dict.fromkeys((*(own.batch_sizes or (case.batch_size,)), *settings.batch_sizes))
    graph = own.cuda_graph if settings.cuda_graph is None else settings.cuda_graph
    streams = settings.streams or own.streams
    budgets = own.budgets if (graph, streams) == (own.cuda_graph, own.streams) else ()
    return LatencyOptions(tuple(sizes), graph, budgets, streams)


def run_latency(
    settings: LatencySettings,
    progress: Progress,
    open_backends: OpenBackends = open_backends,
    open_watch: OpenWatch = open_watch,
) -> tuple[Run, Path]:
    """Measure the selected variants of a case; return the run and its folder.

    What cannot be measured becomes an outcome, and the next variant follows.

    Parameters
    ----------
    open_backends
        As ``parity.runner.run.open_run``.
    open_watch
        Looks at the GPU from before a worker uses it.

    Raises
    ------
    CaseError
        The case has mistakes.
    RunError
        A pattern matches no variant, or the run's folder cannot be written.
    BackendError
        A backend is not known, or is missing.
    """
    asked = settings.run
    case = load_case(asked.cases[0], allow_python=asked.allow_python)
    with ExitStack() as stack:
        watch = stack.enter_context(watched(asked.backends, asked.tensorrt, open_watch))
        backends = stack.enter_context(open_backends(asked.backends, asked.tensorrt))
        names = [backend.name for backend in backends]
        require_known([case], names, asked.variants)
        chosen = select_variants(case, names, asked.variants)
        run = _new_run(settings, case, backends)
        folder = create_run_folder(asked.out, run.name, datetime.fromisoformat(run.created))
        named = dict(zip(names, backends, strict=True))
        trials = _Trials(settings, case, watch, folder, run)
        stack.callback(progress.finish)
        progress.start(len(chosen))
        with TensorStore() as store:
            for variant, name in chosen:
                progress.begin(f"{case.name} {variant_label(variant.name, name)}")
                trials.add(variant, named[name], store)
                progress.advance()
        return trials.finish(), folder.path


def _new_run(settings: LatencySettings, case: Case, backends: Sequence[Backend]) -> Run:
    for backend in backends:
        # Asking for its version is what tells that a runtime is missing, before anything is on disk.
        _LOG.debug("measuring on %s %s", backend.name, backend.version)
    return Run(
        name=settings.run.name or f"{case.name}-latency",
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=settings.run.command,
        environment=environment_of(backends),
        selection={**selection_of(settings.run), MADE_BY: ["parity", LATENCY]},
        commit=commit_of(case.folder),
        id=uuid4().hex,
    )


def _without_rounding(record: ModelRecord) -> ModelRecord:
    # The rounded graph is a forecast's; what was timed is the typed model.
    return replace(record, rounding="none", rounded_sha256=None)


class _Trials:
    """The variants of a run so far."""

    def __init__(self, settings: LatencySettings, case: Case, watch: Watch | None, folder: RunFolder, run: Run) -> None:
        self._settings = settings
        self._case = case
        self._watch = watch
        self._folder = folder
        self._run = run
        self._prepared: PreparedCase | ParityError | None = None
        self._measured: dict[str, LatencyRecord] = {}
        self._commands: dict[str, str] = {}
        self._options = options_of(case, settings)
        has_left_out = case.latency.budgets and not self._options.budgets
        self._unjudged = OTHER_MODE if has_left_out else ""

    def add(self, variant: Variant, backend: Backend, store: TensorStore) -> None:
        """Measure one more variant and save what came of it."""
        label = variant_label(variant.name, backend.name)
        blank = Outcome(self._case.name, label, str(variant.options.precision), LATENCY, Verdict.ERROR, "")
        self._commands[label] = latency_command(self._case, variant, backend.name, self._settings.run.origin)
        if reason := reason_to_skip(variant, backend):
            self._save(replace(blank, verdict=Verdict.SKIPPED, headline=reason, message=reason))
            return
        start = time.perf_counter()
        try:
            outcome = self._judged(self._measure(variant, backend, blank, store))
        except RunError:
            raise
        except ParityError as error:
            outcome = with_error(blank, error)
        except Exception as error:
            if self._settings.run.judging.debug:
                raise
            outcome = with_error(blank, error)
        self._save(replace(outcome, duration_s=time.perf_counter() - start))

    def finish(self) -> Run:
        """Judge again, now that whatever a ratio counts from was measured, and save the whole run."""
        outcomes = (self._judged(outcome) if outcome.latency else outcome for outcome in self._run.outcomes)
        self._run = replace(self._run, outcomes=tuple(outcomes), is_complete=True)
        self._folder.save(self._run)
        return self._run

    def _measure(self, variant: Variant, backend: Backend, blank: Outcome, store: TensorStore) -> Outcome:
        judging = replace(self._settings.run.judging, limit=self._feed_limit())
        if self._prepared is None:
            try:
                self._prepared = prepare_case(self._case, judging, store)
            except RunError:
                raise
            except ParityError as error:
                self._prepared = error
        if isinstance(self._prepared, ParityError):
            raise self._prepared
        planned = plan_variant(self._case, variant, self._prepared, judging)
        watch = watch_of(self._watch, backend)
        trial = LatencyTrial(planned, self._options, self._settings.protocol, watch)
        # Building times tactics on the same GPU, and would disturb another measurement: the lock is held for both.
        with only_here(judging.cache or cache_folder(), watch.device if watch else device_of(backend)):
            record, engine = measure_variant(trial, backend, judging)
        if self._unjudged:
            record = replace(record, notes=(*record.notes, self._unjudged))
        self._measured[blank.variant] = record
        return replace(blank, latency=record, engine=engine, model=_without_rounding(planned.record), feed_count=1)

    def _judged(self, outcome: Outcome) -> Outcome:
        assert outcome.latency is not None
        command = self._commands[outcome.variant]
        return latency_outcome(outcome, outcome.latency, self._options.budgets, self._measured, command)

    def _save(self, outcome: Outcome) -> None:
        prepared = self._prepared
        run = self._run
        if isinstance(prepared, PreparedCase):
            run = replace(run, cases=(prepared.record,))
        self._run = run.with_outcome(outcome)
        self._folder.save(self._run)

    def _feed_limit(self) -> int | None:
        """Return 1 where one feed is enough to know the engine's profile, as ``parity run`` would build it."""
        interface = model_interface(load_model(self._case.model))
        is_known = all(
            info.name in self._case.shapes or (info.shape and all(isinstance(size, int) for size in info.shape))
            for info in interface.inputs
        )
        return 1 if is_known else None
