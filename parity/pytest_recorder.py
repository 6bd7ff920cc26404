"""The run that ``--parity-out`` saves: one folder, also where several processes judge.

An item's outcome travels on its test report, as the JSON of a run that holds it alone: pytest-xdist carries reports
from its workers to the process that the user started, and an outcome is on disk as soon as its report has arrived.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from parity.errors import ParityError, RunError
from parity.pytest_cases import CheckItem, run_of
from parity.pytest_settings import CASE_FILE_NAME, FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity.pytest_settings import Settings
    from parity.results import Outcome, Run
    from parity.runner import RunFolder

ATTRIBUTE = "parity_run"
"""The attribute of a test report that carries an item's outcome."""


class Recorder:
    """The plugin of the process that the user started: takes outcomes from reports, saves and renders the run."""

    def __init__(self, settings: Settings, out: Path) -> None:
        self._settings = settings
        self._out = out
        self._folder: RunFolder | None = None
        self._run: Run | None = None
        self._report: Path | None = None
        self._error = ""
        self._notes: list[str] = []
        self._ids: dict[tuple[str, str, str], str] = {}
        self._lost: list[Outcome] = []
        self._root = Path()

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Know what ids of items are relative to."""
        self._root = session.config.rootpath

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of pytest-xdist where failing feeds are saved."""
        node.workerinput["parity_folder"] = str(self._open())

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Make the run's folder before the first item, so that a folder which cannot be made ends the run at once."""
        if not session.config.option.collectonly and any(isinstance(item, CheckItem) for item in session.items):
            session.config.stash[FOLDER] = self._open()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Save the outcome that a report carries; a failure without one is kept for the end."""
        text = getattr(report, ATTRIBUTE, "")
        if text and not self._error:
            with self._told():
                self._add(text, report.nodeid)
        elif report.failed and (lost := _without_outcome(report, self._root)):
            self._lost.append(lost)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Render the reports; a run that could not be saved is not a success."""
        if self._run is not None:
            is_whole = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not session.shouldfail
            with self._told():
                self._finish(is_complete=is_whole)
        elif self._folder is not None:
            self._folder.path.rmdir()
        if self._error and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say where the report is."""
        if self._error:
            what = "is not in the history" if self._report else "could not be saved"
            terminalreporter.write_line(f"parity: the run {what}: {self._error}", red=True)
        for note in self._notes:
            terminalreporter.write_line(f"parity: {note}", yellow=True)
        if self._report:
            terminalreporter.write_line(f"parity: report: {self._report}")

    def _open(self) -> Path:
        """Make the run's folder, once.

        Raises
        ------
        pytest.UsageError
            It cannot be made.
        """
        from parity.runner.folder import create_run_folder

        if self._folder is None:
            try:
                self._folder = create_run_folder(self._out, "pytest", datetime.now().astimezone())
            except ParityError as error:
                raise pytest.UsageError(str(error)) from None
        return self._folder.path

    def _add(self, text: str, item_id: str) -> None:
        from parity.run_file import run_from_json

        arrived = run_from_json(text, item_id)
        self._require_name_apart(arrived, item_id)
        run = self._run or replace(arrived, outcomes=(), selection=self._selection())
        for outcome in arrived.outcomes:
            run = run.with_outcome(outcome)
        # The first outcome may come before TensorRT was asked for. Processes may have other GPUs, which the name does
        # not tell: then both stand there, and no figure is taken for one of them.
        workers = list(run.environment.workers)
        workers += [worker for worker in arrived.environment.workers if worker not in workers]
        gpus = tuple(dict.fromkeys((*run.environment.gpus, *arrived.environment.gpus)))
        environment = replace(run.environment, workers=tuple(workers), gpus=gpus)
        self._run = replace(run, environment=environment, cases=tuple(dict.fromkeys((*run.cases, *arrived.cases))))
        self._save()

    def _require_name_apart(self, arrived: Run, item_id: str) -> None:
        """Refuse two items that would be one row of the report.

        Raises
        ------
        RunError
            Another item brought an outcome of the same case, variant and check.
        """
        for outcome in arrived.outcomes:
            known = self._ids.setdefault(outcome.key, item_id)
            if known != item_id:
                raise RunError(f"{known} and {item_id}: are cases of one name; give each case of a run its own")

    def _selection(self) -> dict[str, list[str]]:
        from parity.runner.settings import MADE_BY

        return {
            MADE_BY: ["pytest"],
            "variants": list(self._settings.variants),
            "backends": [self._settings.backend],
        }

    def _save(self) -> None:
        assert self._folder is not None
        assert self._run is not None
        self._folder.save(self._run)

    def _finish(self, *, is_complete: bool) -> None:
        from parity.report import render

        assert self._folder is not None
        assert self._run is not None
        run = replace(self._run, is_complete=is_complete)
        judged = {outcome.key for outcome in run.outcomes}
        for outcome in self._lost:
            run = run if outcome.key in judged else run.with_outcome(outcome)
        self._run = run
        self._save()
        self._report = render(self._folder.path)[-1]
        if self._settings.history is None:
            return
        if is_complete:
            self._remember(run, self._settings.history)
        else:
            self._notes.append(f"the run was not finished, so it is not in {self._settings.history}")

    def _remember(self, run: Run, file: Path) -> None:
        """Append the run to a history.

        Raises
        ------
        HistoryError
            That is not possible; the run itself is saved.
        """
        from parity.history import append_run

        aside = append_run(file, run).set_aside
        if aside is not None:
            self._notes.append(f"{file}: was damaged; it is {aside} now, and a new history has begun")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Keep an error for the summary: raised inside a hook it would end the test run as a defect of pytest."""
        try:
            yield
        except ParityError as error:
            self._error = str(error)


def _without_outcome(report: pytest.TestReport, root: Path) -> Outcome | None:
    """Return the error of an item whose test failed without an outcome; None where it is no item of a case's variant.

    The process that judged it was killed, or its input could not be had.
    """
    from parity.case.paths import case_name
    from parity.results import Outcome
    from parity.verdict import Verdict

    path, *names = report.nodeid.split("::")
    if len(names) != 2 or (root / path).name != CASE_FILE_NAME:
        return None
    crash = getattr(report.longrepr, "reprcrash", None)
    said = crash.message if crash else str(report.longrepr or "")
    first, *_ = said.strip().splitlines() or ["no reason is known"]
    headline = f"the test ended without an outcome: {first}"
    case, (variant, check) = case_name((root / path).resolve().parent), names
    return Outcome(case, variant, "", check, Verdict.ERROR, headline, headline)


def attach(report: pytest.TestReport, item: CheckItem, command: tuple[str, ...]) -> None:
    """Put an item's outcome on its report."""
    from parity.run_file import run_to_json

    if item.outcomes:
        setattr(report, ATTRIBUTE, run_to_json(run_of(item.case_file, item.outcomes, command)))
