"""Runs cases one after the other; each outcome is on disk before the next one starts."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from parity.backends import open_backends
from parity.backends.nvml import open_watch
from parity.case.loader import CASE_FILE, load_case
from parity.case.paths import case_name
from parity.commit import commit_of
from parity.errors import FeedError, ParityError, RunError
from parity.graph import hash_model, load_model
from parity.results import CaseRecord, Outcome, Run
from parity.runner.case_judge import CASE, checks_made, open_case_judge
from parity.runner.folder import RunFolder, create_run_folder, open_run_folder
from parity.runner.given_engines import with_engines
from parity.runner.message import with_error
from parity.runner.progress import Progress, SilentProgress
from parity.runner.replay import read_feed
from parity.runner.selection import environment_of, require_known, select_variants, variant_label
from parity.runner.settings import selection_of, with_selection
from parity.runner.watching import watched
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

    from parity.backends import Backend, TensorRTSettings
    from parity.backends.nvml import Watch
    from parity.case import Case, Variant
    from parity.results import Environment
    from parity.runner.settings import RunSettings
    from parity.runner.watching import OpenWatch

    OpenBackends = Callable[[Sequence[str], TensorRTSettings], AbstractContextManager[Sequence[Backend]]]


_LOG = logging.getLogger(__name__)


def run_cases(
    settings: RunSettings, progress: Progress | None = None, open_backends: OpenBackends = open_backends
) -> Run:
    """Judge the selected variants of cases, and leave a run on disk: ``open_run`` and ``OpenRun.judge_all``."""
    with open_run(settings, open_backends) as opened:
        opened.judge_all(progress)
        return opened.run


def open_run(
    settings: RunSettings, open_backends: OpenBackends = open_backends, open_watch: OpenWatch = open_watch
) -> OpenRun:
    """Check what is asked for, then make the run's folder, or reopen that of ``settings.resume``.

    Close what is returned: it holds the workers of TensorRT.

    Parameters
    ----------
    open_backends
        Opens the backends of given names; they are closed by its context.
    open_watch
        Looks at the GPU from before a worker uses it, where variants are timed.

    Raises
    ------
    RunError
        Nothing is to be judged; two cases have one name; a pattern matches no variant; the run to resume was made of
        other cases or packages; the folder cannot be made. It is made last: before, nothing is on disk.
    BackendError
        A backend is not known, or is missing.
    FeedError
        The saved feed cannot be read, or is another case's.
    """
    reopened = open_run_folder(settings.resume) if settings.resume else None
    if reopened is not None:
        settings = with_selection(settings, reopened[1].selection)
    cases, broken = _load_cases(settings)
    cases = with_engines(cases, settings.engines, settings.engine_precision)
    if settings.judging.feed is not None:
        _require_feed_of(cases, settings.judging.feed)
    with ExitStack() as stack:
        is_timed = settings.judging.latency is not None and any(case.latency.budgets for case in cases)
        watch = stack.enter_context(watched(settings.backends, settings.tensorrt, open_watch)) if is_timed else None
        backends = stack.enter_context(open_backends(settings.backends, settings.tensorrt))
        for backend in backends:
            # Asking for its version is what tells that a runtime is missing, before anything is on disk.
            _LOG.debug("judging on %s %s", backend.name, backend.version)
        if not broken:
            # A case that does not load may be the one that has the variant.
            require_known(cases, [backend.name for backend in backends], settings.variants)
        plan = Plan(_planned_cases(cases, backends, settings.variants), broken)
        environment = environment_of(backends)
        if reopened is not None:
            folder, run = reopened[0], _reopen(reopened[1], cases, environment)
        else:
            run = _new_run(settings, cases, environment)
            folder = create_run_folder(settings.out, run.name, datetime.fromisoformat(run.created))
        return OpenRun(settings, folder, run, plan, stack.pop_all(), watch=watch)


def _planned_cases(
    cases: Sequence[Case], backends: Sequence[Backend], patterns: Sequence[str]
) -> tuple[PlannedCase, ...]:
    named = {backend.name: backend for backend in backends}
    return tuple(
        PlannedCase(case, tuple((variant, named[name]) for variant, name in chosen))
        for case in cases
        if (chosen := select_variants(case, list(named), patterns))
    )


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """A case with the variants to judge, each with the backend that executes it."""

    case: Case
    variants: tuple[tuple[Variant, Backend], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to judge; ``broken`` are the outcomes of cases that do not load."""

    cases: tuple[PlannedCase, ...]
    broken: tuple[Outcome, ...]


class OpenRun:
    """A run that goes on. ``run`` is what is on disk, at any time; ``folder`` is where; close it to end its workers.

    ``asked`` are the settings, of a resumed run with its selection.
    """

    def __init__(
        self,
        settings: RunSettings,
        folder: RunFolder,
        run: Run,
        plan: Plan,
        stack: ExitStack,
        *,
        watch: Watch | None = None,
    ) -> None:
        self._stack = stack
        self.run = run
        self.folder = folder
        self.asked = settings
        self._settings = replace(settings.judging, origin=settings.origin)
        self._plan = plan
        self._watch = watch

    def judge_all(self, progress: Progress | None = None) -> None:
        """Judge what is not judged yet.

        A case or variant that cannot be judged becomes an outcome, and the next one follows. After Ctrl-C or a crash
        the folder holds every outcome so far, and a run with ``resume`` goes on from there.

        Raises
        ------
        RunError
            The folder cannot be written, or a resumed case is not what it was.
        """
        progress = progress or SilentProgress()
        done = {outcome.key for outcome in self.run.outcomes}
        pending = [(planned, self._pending(planned, done)) for planned in self._plan.cases]
        self._save(self.run)
        progress.start(
            len(self._plan.broken)
            + sum(len(self._checks(planned, *chosen)) for planned, variants in pending for chosen in variants)
        )
        try:
            for outcome in self._plan.broken:
                self._record(outcome, progress)
            for planned, variants in pending:
                self._judge_case(planned, variants, progress)
        finally:
            progress.finish()
        self._save(replace(self.run, is_complete=True))

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases that are judged."""
        return tuple(planned.case for planned in self._plan.cases)

    def add(self, *outcomes: Outcome) -> None:
        """Save outcomes that were made behind all others, also once the workers have ended.

        Raises
        ------
        RunError
            The folder cannot be written.
        """
        run = self.run
        for outcome in outcomes:
            run = run.with_outcome(outcome)
        self._save(run)

    def _pending(self, planned: PlannedCase, done: set[tuple[str, str, str]]) -> list[tuple[Variant, Backend]]:
        return [
            (variant, backend)
            for variant, backend in planned.variants
            if any(
                (planned.case.name, variant_label(variant.name, backend.name), check) not in done
                for check in self._checks(planned, variant, backend)
            )
        ]

    def _checks(self, planned: PlannedCase, variant: Variant, backend: Backend) -> tuple[str, ...]:
        return checks_made(planned.case, variant, backend.name, self._settings)

    def _judge_case(
        self, planned: PlannedCase, variants: Sequence[tuple[Variant, Backend]], progress: Progress
    ) -> None:
        with open_case_judge(planned.case, self._settings, watch=self._watch, beside=lambda: planned.variants) as judge:
            for variant, backend in variants:
                progress.begin(f"{planned.case.name} {variant_label(variant.name, backend.name)}")
                outcomes = []
                for outcome in judge.judge_variant(variant, backend, self.folder):
                    self._record(outcome, progress, judge.record)
                    outcomes.append(outcome)
                if diagnosed := judge.diagnose(variant, outcomes):
                    self._save(self.run.with_outcome(diagnosed))

    def _record(self, outcome: Outcome, progress: Progress, record: CaseRecord | None = None) -> None:
        run = self.run if record is None else _with_case(self.run, record)
        self._save(run.with_outcome(outcome))
        progress.advance()

    def _save(self, run: Run) -> None:
        self.folder.save(run)
        self.run = run

    def close(self) -> None:
        """End the workers of TensorRT."""
        self._stack.close()

    def __enter__(self) -> OpenRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _with_case(run: Run, record: CaseRecord) -> Run:
    known = next((known for known in run.cases if known.name == record.name), None)
    if known is None:
        return replace(run, cases=(*run.cases, record))
    if known.feeds_sha256 != record.feeds_sha256:
        raise _changed(record.name, "feeds")
    return run


def _load_cases(settings: RunSettings) -> tuple[tuple[Case, ...], tuple[Outcome, ...]]:
    """Load every case; one that does not load becomes an outcome."""
    cases: list[Case] = []
    broken: list[Outcome] = []
    files = ((path / CASE_FILE if path.is_dir() else path) for path in settings.cases)
    for file in {file.resolve(): file for file in files}.values():
        try:
            cases.append(load_case(file, allow_python=settings.allow_python))
        except ParityError as error:
            broken.append(_case_error(file, error))
    _require_names_apart([*(case.name for case in cases), *(outcome.case for outcome in broken)])
    return tuple(cases), tuple(broken)


def _require_feed_of(cases: Sequence[Case], feed: Path) -> None:
    _, note = read_feed(feed)
    others = [case.name for case in cases if note is not None and note.case != case.name]
    if note is not None and others:
        raise FeedError(f"{feed}: is a feed of case {note.case!r}, not of {', '.join(others)}; name its own case alone")


def _case_error(file: Path, error: ParityError) -> Outcome:
    name = case_name(file.resolve().parent)
    blank = Outcome(case=name, variant="", precision="", check=CASE, verdict=Verdict.ERROR, headline="")
    return with_error(blank, error)


def _require_names_apart(names: Sequence[str]) -> None:
    if not names:
        raise RunError(
            "no case was given and none was found; name a case folder, or write one with parity init MODEL.onnx"
        )
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise RunError(f"{count} cases are called {name!r}; give each case of a run a name of its own")


def _new_run(settings: RunSettings, cases: Sequence[Case], environment: Environment) -> Run:
    name = settings.name or (cases[0].name if len(settings.cases) == len(cases) == 1 else "run")
    return Run(
        name=name,
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=settings.command,
        environment=environment,
        selection=selection_of(settings),
        commit=commit_of(cases[0].folder if cases else settings.cases[0]),
        id=uuid4().hex,
    )


def _reopen(saved: Run, cases: Sequence[Case], environment: Environment) -> Run:
    """Return a saved run without its errors, which are tried again; its other outcomes stay.

    Raises
    ------
    RunError
        A package, a worker of TensorRT, a case file or a model is not what it was.
    ModelError
        A model cannot be read any more.
    """
    changed = {name for name, _ in environment.packages.items() ^ saved.environment.packages.items()}
    known = {worker.name: worker for worker in saved.environment.workers}
    changed |= {worker.name for worker in environment.workers if known.get(worker.name) != worker}
    if changed:
        raise RunError(f"{saved.name}: was made with another version of {', '.join(sorted(changed))}; start a new run")
    records = {record.name: record for record in saved.cases}
    for case in cases:
        if case.name in records:
            _require_unchanged(case, records[case.name])
    kept = tuple(outcome for outcome in saved.outcomes if outcome.verdict is not Verdict.ERROR)
    return replace(saved, outcomes=kept, is_complete=False)


def _require_unchanged(case: Case, record: CaseRecord) -> None:
    if record.case_file_sha256 != case.file_sha256:
        raise _changed(case.name, "case file")
    if record.model_sha256 != hash_model(load_model(case.model)):
        raise _changed(case.name, "model")


def _changed(case: str, what: str) -> RunError:
    return RunError(f"{case}: its {what} changed since the run was made; start a new run")
