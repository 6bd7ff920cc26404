"""The ``baseline`` check: a run's variants against what was accepted, or accepted in its place."""

from __future__ import annotations

import hashlib
import os
import shlex
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from parity.baseline.accept import Accepted, accept
from parity.baseline.files import baseline_file, load, save
from parity.baseline.judging import CHECK, Tonight, judge, refusal
from parity.baseline.machine import machine_of, variant_key
from parity.baseline.measured import checks_made, disturbed_batches, measured_of, merged
from parity.baseline.model import Baseline, VariantFigures
from parity.errors import BaselineError
from parity.lock_file import take_lock_or_other
from parity.results import Outcome
from parity.runner.baseline_files import UPDATE, find_baseline, unused_parts
from parity.runner.message import not_judged, with_error
from parity.runner.settings import Origin, cache_folder, relative_path
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from parity.baseline.machine import Machine
    from parity.case import Case
    from parity.results import CaseRecord, Run


class BaselineMode(StrEnum):
    """What becomes of accepted figures."""

    OFF = "off"
    CHECK = "check"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class MeasuredCase:
    """A case with the runs that measured it; the first one is that whose outcomes are judged.

    Attributes
    ----------
    runs
        One or more, of one machine; those behind the first bring further measurements of latency.
    """

    case: Case
    runs: tuple[Run, ...]
    origin: Origin = field(default_factory=Origin)

    def labels(self) -> tuple[str, ...]:
        """Return the variants that were judged."""
        found = (o.variant for run in self.runs for o in run.outcomes if o.case == self.case.name and o.variant)
        return tuple(dict.fromkeys(found))

    def outcomes_of(self, label: str) -> list[Outcome]:
        """Return what other checks found of a variant, of all runs."""
        return [
            outcome
            for run in self.runs
            for outcome in run.outcomes
            if (outcome.case, outcome.variant) == (self.case.name, label) and outcome.check != CHECK
        ]

    def figures_of(self, label: str) -> VariantFigures:
        """Return a variant's figures from all runs."""
        key = self.case.name, label
        return merged(found[key] for run in self.runs if key in (found := measured_of(run)))

    def machine_of(self, label: str) -> Machine:
        """Return where a variant ran.

        Raises
        ------
        BaselineError
            The runs do not say it, or they are of several machines.
        """
        runs = [run for run in self.runs if self._has(run, label)]
        machines = {machine.key: machine for machine in (machine_of(run.environment, label) for run in runs)}
        if len(machines) != 1:
            raise BaselineError(f"{label}: was run on {' and '.join(machines)}; expected runs of one machine")
        return next(iter(machines.values()))

    def _has(self, run: Run, label: str) -> bool:
        return any((outcome.case, outcome.variant) == (self.case.name, label) for outcome in run.outcomes)

    @property
    def record(self) -> CaseRecord | None:
        """What the case is made of: of the run with the most feeds, since latency is measured on one.

        Raises
        ------
        BaselineError
            The runs are of several models, or judged outputs on several feeds.
        """
        records = [record for run in self.runs for record in run.cases if record.name == self.case.name]
        if len({record.model_sha256 for record in records}) > 1:
            raise BaselineError(f"{self.case.name}: the runs are of different models; expected runs of one")
        judged = [run for run in self.runs if any(self._is_of_feeds(outcome) for outcome in run.outcomes)]
        if len({record.feeds_sha256 for run in judged for record in run.cases if record in records}) > 1:
            raise BaselineError(f"{self.case.name}: the runs are of different feeds; expected runs of the same")
        return max(records, key=lambda record: record.feed_count, default=None)

    def _is_of_feeds(self, outcome: Outcome) -> bool:
        return outcome.case == self.case.name and outcome.check not in {CHECK, "latency"}

    def accept_command(self, label: str) -> str:
        """Return the command that accepts a variant's figures."""
        words = [*UPDATE, relative_path(self.case.folder)]
        name, _, backend = label.rpartition("@")
        variant = next((variant for variant in self.case.variants if variant.name == name), None)
        words += self.origin.words(variant, backend) if variant else []
        return shlex.join([*words, *(["--latency"] if self.figures_of(label).latency else [])])


def require_measured(measured: Sequence[MeasuredCase], names: Sequence[str]) -> None:
    """Check that saved runs judged every case, each run on its own.

    Raises
    ------
    BaselineError
        A case is in none of them: it was not judged, or was called otherwise then. Or two of them are one run, whose
        measurement of latency would count as two that were started anew.
    """
    for one in measured:
        keys = [run.id for run in one.runs if run.id]
        if len(set(keys)) < len(keys):
            raise BaselineError(f"{', '.join(names)}: are one run, given twice; name each run once")
        if not one.labels():
            known = ", ".join(dict.fromkeys(o.case for run in one.runs for o in run.outcomes)) or "none"
            raise BaselineError(
                f"{', '.join(names)}: judged no case {one.case.name!r}; expected one of {known}, name it or run it"
            )


def check_baseline(measured: MeasuredCase, label: str) -> Outcome:
    """Judge a variant against what was accepted; whatever goes wrong is in the outcome."""
    outcomes = measured.outcomes_of(label)
    blank = _blank(outcomes[0])
    if stopped := _stopped(blank, outcomes):
        return stopped
    command = measured.accept_command(label)
    try:
        accepted, record = find_baseline(measured.case, measured.machine_of(label).key), measured.record
    except BaselineError as error:
        return with_error(blank, error)
    if isinstance(accepted, str):
        return refusal(blank, accepted, command)
    tonight = Tonight(measured.figures_of(label), checks_made(outcomes), record, disturbed_batches(outcomes))
    return judge(blank, accepted, tonight, measured.case.baseline.tolerances, command)


def check_unused(case: Case) -> Outcome | None:
    """Return the failure of a case with baselines of something that it has no more; None where it has none."""
    parts = list(unused_parts(case))
    if not parts:
        return None
    command = f"delete it, or take it anew: {shlex.join([*UPDATE, relative_path(case.folder)])} --replace"
    blank = Outcome(case.name, "", "", CHECK, Verdict.FAIL, f"a baseline of nothing: {parts[0]}")
    count = f"{len(parts)} / {len(parts)} stale (100%)"
    return replace(blank, message="\n".join([blank.headline, count, f"in: {case.name} / {CHECK}", f"next: {command}"]))


def _blank(outcome: Outcome) -> Outcome:
    return Outcome(outcome.case, outcome.variant, outcome.precision, CHECK, Verdict.ERROR, "")


def _stopped(blank: Outcome, outcomes: Sequence[Outcome]) -> Outcome | None:
    """Return the outcome where another check left nothing to compare; None where all were made."""
    skipped = next((outcome for outcome in outcomes if outcome.verdict is Verdict.SKIPPED), None)
    if skipped is not None:
        return replace(blank, verdict=Verdict.SKIPPED, headline=skipped.headline, message=skipped.headline)
    broken = next((outcome for outcome in outcomes if outcome.verdict is Verdict.ERROR), None)
    return None if broken is None else not_judged(blank, broken)


def update_baselines(measured: MeasuredCase, *, replaces: bool = False) -> Iterator[Outcome]:
    """Accept what was measured; yield an outcome for each variant that says what changed.

    Parameters
    ----------
    replaces
        Whether what was accepted before is dropped, whatever it says.
    """
    machines: dict[str, list[str]] = {}
    for label in measured.labels():
        outcomes = measured.outcomes_of(label)
        blank = _blank(outcomes[0])
        try:
            if stopped := _stopped(blank, outcomes):
                yield stopped
            else:
                machines.setdefault(measured.machine_of(label).key, []).append(label)
        except BaselineError as error:
            yield with_error(blank, error)
    for labels in machines.values():
        yield from _update(measured, labels, replaces=replaces)


def _update(measured: MeasuredCase, labels: Sequence[str], *, replaces: bool) -> Iterator[Outcome]:
    blanks = {label: _blank(measured.outcomes_of(label)[0]) for label in labels}
    try:
        accepted = accept_all(measured, labels, replaces=replaces)
    except BaselineError as error:
        yield from (with_error(blank, error) for blank in blanks.values())
        return
    file = relative_path(baseline_file(measured.case.folder, accepted.baseline.machine))
    for label, blank in blanks.items():
        yield replace(blank, verdict=Verdict.PASS, headline=f"{accepted.notes[variant_key(label)]}; in {file}")


def accept_all(measured: MeasuredCase, labels: Sequence[str], *, replaces: bool) -> Accepted:
    """Write what was measured of variants on one machine into its baseline.

    Raises
    ------
    BaselineError
        Nothing was measured, a measurement was disturbed, two releases of TensorRT are one machine, or the file so far
        cannot be read or the new one written.
    """
    new = _new_baseline(measured, labels)
    file = baseline_file(measured.case.folder, new.machine)
    # Tests that run side by side add their variants to one file.
    with _only_writer(file.absolute()):
        known = load(file) if file.exists() and not replaces else None
        accepted = accept(known, new, measured.case.baseline.tolerances)
        save(accepted.baseline, file)
    return accepted


def _new_baseline(measured: MeasuredCase, labels: Sequence[str]) -> Baseline:
    machine, record = measured.machine_of(labels[0]), measured.record
    if record is None:
        raise BaselineError(f"{measured.case.name}: the run does not say which model it judged; run the case again")
    variants: dict[str, VariantFigures] = {}
    for label in labels:
        key = variant_key(label)
        if key in variants:
            raise BaselineError(
                f"{label}: is {key} on {machine.key}, and so is another variant of this run; "
                "accept one release of TensorRT at a time, with --variant"
            )
        variants[key] = _acceptable(measured, label)
    is_of_feeds = any(found.figures.keys() - {"engine"} for found in variants.values())
    return Baseline(
        case=measured.case.name,
        machine=machine.key,
        environment=machine.facts,
        taken=measured.runs[0].created,
        model_sha256=record.model_sha256,
        feeds_sha256=record.feeds_sha256 if is_of_feeds else "",
        variants=variants,
    )


def _acceptable(measured: MeasuredCase, label: str) -> VariantFigures:
    found = measured.figures_of(label)
    if not found.figures and not found.latency:
        raise BaselineError(f"{measured.case.name} / {label}: the run has no figure of it; run the case again")
    for size, why in disturbed_batches(measured.outcomes_of(label)).items():
        raise BaselineError(
            f"{measured.case.name} / {label}: its latency at batch {size} was disturbed ({why}); "
            "nothing is accepted, measure again on a GPU that nobody else uses"
        )
    return found


@contextmanager
def _only_writer(written: Path) -> Iterator[None]:
    file = cache_folder() / "baseline" / f"{hashlib.sha256(os.fsencode(written)).hexdigest()[:16]}.lock"
    try:
        lock = take_lock_or_other(file)
    except OSError as error:
        raise BaselineError(
            f"{file}: cannot be made ({error.strerror}); set PARITY_CACHE_DIR to another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()
