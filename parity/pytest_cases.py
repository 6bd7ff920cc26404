"""Case files as pytest nodes: a file, its variants, and one item for each check."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from parity.errors import ParityError
from parity.pytest_backends import BACKENDS
from parity.pytest_settings import FOLDER, SETTINGS
from parity.run_figures import outcome_figures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from parity.backends import Backend
    from parity.case import Case, Variant
    from parity.pytest_backends import SessionBackends
    from parity.pytest_settings import Settings
    from parity.results import CaseRecord, Environment, Outcome, Run, TensorOutcome
    from parity.runner import CaseJudge, RunFolder

# Another project may call something else case.toml. Ours names a model or has one of these tables.
_OUR_KEYS = re.compile(r"^\s*(?:model\s*=|\[+\s*(?:inputs|variants|tolerances|reference|calibration)\b)", re.MULTILINE)


BASELINE = "baseline"


class CheckFailure(Exception):  # noqa: N818 - a finding that becomes a test's failure, as AssertionError does
    """A check that did not pass; its outcome says why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.headline)
        self.outcome = outcome


def is_case_file(path: Path) -> bool:
    """Whether a ``case.toml`` is one of ours; an unreadable one is, so that it is told and not left out."""
    try:
        return _OUR_KEYS.search(path.read_text(encoding="utf-8")) is not None
    except (OSError, UnicodeDecodeError):
        return True


def failure_text(error: ParityError | CheckFailure) -> str:
    """Return what a failed item prints; the first word tells what could not be judged from what disagrees."""
    if isinstance(error, ParityError):
        return f"ERROR: {error}"
    outcome = error.outcome
    text = outcome.message or outcome.headline
    return text if outcome.verdict == "fail" else f"{outcome.verdict.upper()}: {text}"


class CaseFile(pytest.File):
    """One ``case.toml``. The first of its items that runs makes feeds and references, and the rest share them."""

    _judge: CaseJudge | None = None
    _outcomes: dict[tuple[str, str], dict[str, Outcome]]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._outcomes = {}

    @property
    def settings(self) -> Settings:
        """The plugin's options."""
        return self.config.stash[SETTINGS]

    def collect(self) -> Iterator[VariantCases | StaleItem]:
        """Yield the selected variants; all mistakes of the file make one collection error."""
        from parity.case.loader import load_case
        from parity.runner import select_variants, variant_label

        try:
            self.case: Case = load_case(self.path, allow_python=self.settings.allow_python)
            names = self._backends.names
        except ParityError as error:
            raise self.CollectError(str(error)) from None
        for variant, backend in select_variants(self.case, names, self.settings.variants):
            node: VariantCases = VariantCases.from_parent(self, name=variant_label(variant.name, backend))
            node.variant, node.backend = variant, backend
            yield node
        if self.settings.baseline == "check":
            yield from self._stale_baselines()

    def _stale_baselines(self) -> Iterator[StaleItem]:
        """Yield an item where a baseline is of something that the case has no more."""
        from parity.runner.baseline_judge import check_unused

        if (outcome := check_unused(self.case)) is not None:
            item: StaleItem = StaleItem.from_parent(self, name=outcome.check)
            item.stale = outcome
            _mark(item)
            yield item

    def judge(self, variant: Variant, backend: str, check: str) -> Outcome:
        """Return the outcome of a check; a variant's first item judges all of its checks, on one engine.

        Raises
        ------
        BackendError
            The backend is missing.
        RunError
            A failing feed cannot be saved.
        """
        from parity.runner import open_case_judge

        key = variant.name, backend
        if key not in self._outcomes:
            if self._judge is None:
                settings, watch = self.settings.judging(), self._backends.watch
                self._judge = open_case_judge(self.case, settings, watch=watch, beside=self._beside)
            outcomes = list(self._judge.judge_variant(variant, self._backends.find(backend), self._run_folder()))
            self._outcomes[key] = {outcome.check: outcome for outcome in outcomes}
            if diagnosed := self._judge.diagnose(variant, outcomes):
                self._outcomes[key][diagnosed.check] = diagnosed
        judged = self._outcomes[key]
        return judged[check] if check in judged else _unbudgeted(next(iter(judged.values())), check)

    def _beside(self) -> list[tuple[Variant, Backend]]:
        from parity.runner import select_variants

        chosen = select_variants(self.case, self._backends.names, self.settings.variants)
        return [(variant, self._backends.find(backend)) for variant, backend in chosen]

    def checks_of(self, variant: Variant, backend: str) -> tuple[str, ...]:
        """Return the checks of a variant, but for ``baseline``."""
        from parity.runner.case_judge import checks_made

        return tuple(checks_made(self.case, variant, backend, self.settings.judging()))

    def judge_baseline(self, variant: Variant, backend: str) -> tuple[Outcome, ...]:
        """Return a variant's ``baseline`` outcome, and in front of it that of latency where it was measured for it.

        Raises
        ------
        ParityError
            As ``judge``, and as ``parity.runner.latency_run.run_latency``.
        """
        from parity.runner.baseline_run import UpdateSettings, baselines_of

        for check in self.checks_of(variant, backend):
            self.judge(variant, backend, check)
        run = run_of(self, tuple(self._outcomes[variant.name, backend].values()))
        latency = self._backends.latency_of(self._backends.find(backend))
        return tuple(baselines_of(self.case, run, self.settings.baseline_mode, latency, UpdateSettings()))

    @property
    def _backends(self) -> SessionBackends:
        return self.config.stash[BACKENDS]

    @property
    def environment(self) -> Environment:
        """Where this process runs, with the interpreters of TensorRT that were asked so far."""
        return self._backends.environment

    def _run_folder(self) -> RunFolder | None:
        from parity.runner import RunFolder

        path = self.config.stash.get(FOLDER, None)
        return RunFolder(path) if path else None

    @property
    def record(self) -> CaseRecord | None:
        """What the case is made of, once an item was judged."""
        return self._judge.record if self._judge else None

    def teardown(self) -> None:
        """Free what the items shared; pytest calls this before the next file's first item."""
        self._outcomes.clear()
        if self._judge is not None:
            self._judge.close()
            self._judge = None


class VariantCases(pytest.Collector):
    """One variant of a case file."""

    variant: Variant
    backend: str

    def collect(self) -> Iterator[CheckItem]:
        """Yield the checks of the variant."""
        assert isinstance(self.parent, CaseFile)
        baseline = () if self.parent.settings.baseline == "off" else (BASELINE,)
        for check in (*self.parent.checks_of(self.variant, self.backend), *baseline):
            item: CheckItem = CheckItem.from_parent(self, name=check)
            _mark(item)
            yield item


def _mark(item: pytest.Item) -> None:
    item.add_marker("parity")
    # With --dist loadgroup the items of a case meet in one worker and share its references. A group's name follows the
    # last @ of an id, so it holds none itself.
    if item.config.pluginmanager.hasplugin("xdist"):
        item.add_marker(pytest.mark.xdist_group(item.path.parent.as_posix().replace("@", "-at-")))


def run_of(file: CaseFile, outcomes: tuple[Outcome, ...], command: tuple[str, ...] = ("pytest",)) -> Run:
    """Return outcomes of a case as a run that holds them alone."""
    from datetime import datetime
    from uuid import uuid4

    from parity.commit import commit_of
    from parity.results import Run

    return Run(
        name="pytest",
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=command,
        environment=file.environment,
        cases=(file.record,) if file.record else (),
        outcomes=outcomes,
        commit=commit_of(file.path),
        id=uuid4().hex,
    )


class CheckItem(pytest.Item):
    """One check on one variant of one case."""

    outcome: Outcome | None = None
    outcomes: tuple[Outcome, ...] = ()
    """What is saved: ``outcome``, and what was measured for it."""

    @property
    def _variant(self) -> VariantCases:
        assert isinstance(self.parent, VariantCases)
        return self.parent

    @property
    def case_file(self) -> CaseFile:
        """The file that the item stands in."""
        assert isinstance(self._variant.parent, CaseFile)
        return self._variant.parent

    def runtest(self) -> None:
        """Judge, keep the outcome and its figures, and fail unless it passes."""
        self.outcomes = self._judged()
        self.outcome = self.outcomes[-1]
        self.user_properties.extend(figures_of(self.outcome))
        if self.outcome.verdict == "skipped":
            pytest.skip(self.outcome.headline)
        for outcome in reversed(self.outcomes):
            if outcome.verdict != "pass":
                raise CheckFailure(outcome)

    def _judged(self) -> tuple[Outcome, ...]:
        """Return what is judged: the item's own outcome last."""
        variant, backend = self._variant.variant, self._variant.backend
        if self.name == BASELINE:
            return self.case_file.judge_baseline(variant, backend)
        return (self.case_file.judge(variant, backend, self.name),)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any, **options: Any) -> Any:
        """Return the message alone where the check or its input is at fault, and pytest's own report otherwise."""
        if isinstance(excinfo.value, (CheckFailure, ParityError)):
            return failure_text(excinfo.value)
        return super().repr_failure(excinfo, *args, **options)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return the file and the title of the item's section."""
        return self.path, None, f"{self.case_file.case.name}: {self._variant.name}: {self.name}"


def _unbudgeted(outcome: Outcome, check: str) -> Outcome:
    """Return the outcome of an item whose budget turned out to be for another release of TensorRT."""
    from parity.results import Outcome
    from parity.verdict import Verdict

    reason = f"no budget of the case is for {outcome.variant}"
    return Outcome(
        case=outcome.case,
        variant=outcome.variant,
        precision=outcome.precision,
        check=check,
        verdict=Verdict.SKIPPED,
        headline=reason,
        message=reason,
    )


class StaleItem(CheckItem):
    """Baselines of a case that are of something it has no more."""

    stale: Outcome

    @property
    def case_file(self) -> CaseFile:
        """The file that the item stands in."""
        assert isinstance(self.parent, CaseFile)
        return self.parent

    def _judged(self) -> tuple[Outcome, ...]:
        return (self.stale,)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return the file and the title of the item's section."""
        return self.path, None, f"{self.case_file.case.name}: {self.name}"


def figures_of(outcome: Outcome) -> Iterator[tuple[str, object]]:
    """Yield an outcome's figures as properties for JUnit: ``(output.figure, value)``, each once."""
    yield "verdict", str(outcome.verdict)
    yield from _engine_facts(outcome)
    yield from _decoded_gaps(outcome)
    for figure in outcome_figures(outcome):
        is_whole = figure.unit in {"count", "bytes"} and figure.value.is_integer()
        yield f"{figure.subject or figure.check}.{figure.name}", int(figure.value) if is_whole else figure.value
    yield from _latency_figures(outcome)
    for tensor in outcome.tensors:
        for name, value in _tensor_figures(tensor):
            yield f"{tensor.output}.{name}", value


def _engine_facts(outcome: Outcome) -> Iterator[tuple[str, object]]:
    if outcome.engine:
        yield "engine.sha256", outcome.engine.sha256
        yield "engine.source", outcome.engine.source
    if outcome.census:
        yield "census.time_share", "n/a" if outcome.census.time_share is None else outcome.census.time_share
    for law in outcome.invariants:
        yield f"invariant.{law.name}", str(law.verdict)


def _decoded_gaps(outcome: Outcome) -> Iterator[tuple[str, object]]:
    """Yield the figures of decoded results that had nothing to measure: a run's own figures leave them out."""
    for judged in outcome.decoded.figures if outcome.decoded else ():
        if judged.figure.value is None:
            yield f"decoded.{judged.figure.name}", "n/a"


def _latency_figures(outcome: Outcome) -> Iterator[tuple[str, object]]:
    for found in outcome.latency.measurements if outcome.latency else ():
        name = f"latency.batch_{found.batch_size}"
        for clock in ("gpu", "host", "host_compute", "enqueue"):
            statistics = getattr(found, clock)
            if statistics is not None:
                yield f"{name}.{clock}_median_ms", statistics.median_ms
                yield f"{name}.{clock}_p99_ms", statistics.p99_ms
        yield f"{name}.cv", found.judged.cv
        yield f"{name}.rows_per_s", found.rows_per_s
    for row in outcome.latency.budgets if outcome.latency else ():
        yield f"latency.batch_{row.batch_size}.budget.{row.figure}", "n/a" if row.value is None else row.value


def _tensor_figures(tensor: TensorOutcome) -> Iterator[tuple[str, object]]:
    if tensor.triangulation:
        for part in ("conversion", "engine", "total"):
            yield f"{part}_sqnr_db", getattr(tensor.triangulation, part).sqnr_db
        yield "blames_engine", tensor.triangulation.blames_engine
    difference = tensor.difference
    if difference is None:
        return
    for name in ("element_count", "cosine", "rms"):
        yield name, getattr(difference, name)
    for name, worst in (("max_absolute", difference.worst_absolute), ("max_relative", difference.worst_relative)):
        yield name, worst.difference if worst else 0.0
