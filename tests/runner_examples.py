"""Runs of one tiny case whose backend ``fake`` has planted faults, and the replays of what failed."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from parity.backends import get_backend
from parity.backends.fake import FakeBackend, Fault
from parity.runner import JudgeSettings, OpenRun, RunSettings, open_run, run_cases
from tests.unit.tiny_case import CASE_FILE, write_case

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytest

    from parity.backends import Backend, TensorRTSettings
    from parity.results import Outcome
    from parity.runner.run import OpenBackends

SETTINGS = RunSettings(cases=(Path("cases/tiny"),))
FAKE = replace(SETTINGS, backends=("fake",))


def enter_tiny_case(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder the current one, with the tiny case in it, and return it."""
    monkeypatch.chdir(folder)
    write_case(folder / "cases" / "tiny")
    return folder


def with_inputs(table: str) -> str:
    """Return the tiny case's text with another [inputs] table."""
    start, end = CASE_FILE.index("[inputs]"), CASE_FILE.index("[variants.fp32]")
    return f"{CASE_FILE[:start]}[inputs]\n{table}\n\n{CASE_FILE[end:]}"


def fake(*faults: Fault) -> OpenBackends:
    """Open the backend ``fake`` with faults."""

    @contextmanager
    def open_backends(names: Sequence[str], tensorrt: TensorRTSettings) -> Iterator[tuple[Backend, ...]]:
        yield tuple(FakeBackend(faults) if name == "fake" else get_backend(name) for name in names)

    return open_backends


def judge_with(*faults: Fault, settings: RunSettings = FAKE) -> Outcome:
    """Return the first outcome of a run with faults."""
    return run_cases(replace(settings, variants=("fp32",)), open_backends=fake(*faults)).outcomes[0]


def open_with(*faults: Fault, settings: RunSettings = FAKE) -> OpenRun:
    return open_run(settings, fake(*faults))


def replay(outcome: Outcome, *faults: Fault, settings: RunSettings = FAKE) -> Outcome:
    """Judge what the outcome's command asks for."""
    assert outcome.replay is not None
    words = shlex.split(outcome.replay)
    chosen = replace(
        settings,
        cases=(Path(words[2]),),
        variants=(words[words.index("--variant") + 1],),
        judging=JudgeSettings(feed=Path(words[words.index("--feed") + 1])),
    )
    return run_cases(chosen, open_backends=fake(*faults)).outcomes[0]
