"""One side of a comparison: a saved run, a baseline, or the newest run in a folder of runs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parity.baseline.files import from_json
from parity.baseline.judging import CHECK
from parity.baseline.measured import checks_made, disturbed_batches, measured_of
from parity.errors import BaselineError
from parity.run_file import run_from_json
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from parity.baseline.measured import Key
    from parity.baseline.model import Baseline, VariantFigures
    from parity.results import Environment, GpuRecord, Outcome, Run, WorkerRecord

RUN_FILE = "run.json"


@dataclass(frozen=True, slots=True)
class Side:
    """What one side knows.

    Attributes
    ----------
    name
        The file that it was read from.
    facts
        Where and when it was measured, by name.
    variants, checks
        Figures and the checks that were made to an end, by case and label.
    models, feeds, case_files
        Hashes by case; of the feeds and the case file empty where they are not known.
    broken
        Checks that could not be judged, by case and label: their names with what was said. Of a whole case the label
        is empty.
    disturbed
        What disturbed a GPU's readings, by case and label, a phrase for each batch size.
    is_complete
        Whether the run came to its end.
    """

    name: str
    facts: dict[str, str]
    variants: dict[Key, VariantFigures]
    checks: dict[Key, frozenset[str]]
    models: dict[str, str]
    feeds: dict[str, str] = field(default_factory=dict)
    case_files: dict[str, str] = field(default_factory=dict)
    broken: dict[Key, dict[str, str]] = field(default_factory=dict)
    disturbed: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    is_complete: bool = True


def load_side(path: Path) -> Side:
    """Read a run folder, a ``run.json``, a baseline, or the newest run of a folder.

    Raises
    ------
    BaselineError
        There is none of these, or a baseline is damaged.
    RunError
        A run is damaged, or of another format version.
    """
    file = _file_of(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BaselineError(f"{file}: cannot be read ({reason}); {_EXPECTED}") from error
    if _is_baseline(text):
        return _of_baseline(from_json(text, str(file)), str(file))
    return _of_run(run_from_json(text, str(file)), str(file))


_EXPECTED = "expected a run's folder, a run.json, a folder of runs, or a baseline"


def _file_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    if (path / RUN_FILE).is_file():
        return path / RUN_FILE
    # The names of runs begin with their time.
    runs = sorted(path.glob(f"*/{RUN_FILE}"), key=lambda run: run.parent.name)
    files = sorted(path.glob("*.json"))
    if runs:
        return runs[-1]
    if len(files) == 1:
        return files[0]
    found = f"{len(files)} baselines" if files else "no run"
    raise BaselineError(f"{path}: has {found}; {_EXPECTED}")


def _is_baseline(text: str) -> bool:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "machine" in content


def _of_baseline(baseline: Baseline, name: str) -> Side:
    variants = {(baseline.case, label): found for label, found in baseline.variants.items()}
    return Side(
        name,
        {"taken": baseline.taken, **baseline.environment},
        variants,
        {key: found.checks for key, found in variants.items()},
        {baseline.case: baseline.model_sha256},
        {baseline.case: baseline.feeds_sha256},
    )


def _of_run(run: Run, name: str) -> Side:
    # What a side was held against is none of its figures.
    made = [outcome for outcome in run.outcomes if outcome.check != CHECK]
    outcomes: dict[Key, list[Outcome]] = {}
    for outcome in made:
        outcomes.setdefault((outcome.case, outcome.variant), []).append(outcome)
    return Side(
        name,
        {"taken": run.created, **_facts(run.environment)},
        measured_of(run),
        {key: checks_made(found) for key, found in outcomes.items() if key[1]},
        {record.name: record.model_sha256 for record in run.cases},
        {record.name: record.feeds_sha256 for record in run.cases},
        {record.name: record.case_file_sha256 for record in run.cases},
        {key: errors for key, found in outcomes.items() if (errors := _errors(found))},
        {key: reasons for key, found in outcomes.items() if (reasons := _disturbances(found))},
        run.is_complete,
    )


def _errors(outcomes: Iterable[Outcome]) -> dict[str, str]:
    return {found.check: found.headline for found in outcomes if found.verdict is Verdict.ERROR}


def _disturbances(outcomes: Iterable[Outcome]) -> tuple[str, ...]:
    return tuple(f"batch {size} ({why})" for size, why in disturbed_batches(outcomes).items())


def _facts(environment: Environment) -> dict[str, str]:
    packages = {name: found for name, found in environment.packages.items() if name.startswith("onnxruntime")}
    facts = {"processor": environment.processor, "python": environment.python, **packages}
    gpus: tuple[GpuRecord | WorkerRecord, ...] = (*environment.gpus, *environment.workers)
    for found in gpus:
        facts |= {"gpu": found.gpu, "compute capability": found.compute_capability, "driver": found.driver}
    for worker in environment.workers:
        facts[worker.name] = worker.packages.get("tensorrt", "")
    return facts
