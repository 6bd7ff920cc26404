"""A failing feed of a saved run with both sides' outputs, computed again, to be handed to another tool."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from parity.backends import TensorRTSettings, open_backends
from parity.case.loader import CASE_FILE, load_case
from parity.case.paths import case_name
from parity.errors import RunError
from parity.run_file import load_run
from parity.runner.engine_judge import differing_dtypes
from parity.runner.engine_request import engine_request
from parity.runner.given_engines import with_engines
from parity.runner.planned import plan_variant, typed_inputs
from parity.runner.reference import prepare_case
from parity.runner.rounded import RoundedOutputs
from parity.runner.selection import is_engine_backend, variant_label
from parity.runner.settings import MADE_BY, RunSettings, with_selection
from parity.runner.store import TensorStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parity.backends import Backend
    from parity.case import Case, Variant
    from parity.results import CaseRecord, Outcome, Run
    from parity.runner.planned import PlannedVariant
    from parity.runner.run import OpenBackends
    from parity.runner.settings import JudgeSettings

    Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """What is to be exported.

    Attributes
    ----------
    run
        The folder of a saved run.
    feed
        One of its saved feeds, by any path to it; the only one if None.
    case
        Where the case is; where the run says it was if None.
    interpreters
        Where TensorRT is, if the feed failed there; as the run had it if empty.
    allow_python
        Whether the case may name code.
    cache
        Where engines and outputs are kept; nowhere if None.
    """

    run: Path
    feed: Path | None = None
    case: Path | None = None
    interpreters: tuple[str, ...] = ()
    allow_python: bool = True
    cache: Path | None = None


@dataclass(frozen=True, slots=True)
class FailingFeed:
    """A feed with the outputs of the reference and of the variant that failed on it."""

    file: Path
    case: Case
    outcome: Outcome
    inputs: Tensors
    reference: Tensors
    candidate: Tensors = field(repr=False)


def recompute(settings: ExportSettings, open_backends: OpenBackends = open_backends) -> FailingFeed:
    """Run the reference and the variant on a saved feed again.

    Parameters
    ----------
    open_backends
        Opens the backends of given names; they are closed by its context.

    Raises
    ------
    RunError
        There is no such run or feed, several feeds and none is named, or the case is not what was judged.
    CaseError, ModelError, FeedError, BackendError, PrecisionError
        The case cannot be read, or one of the sides cannot be run.
    """
    run = load_run(settings.run)
    folder = settings.run if settings.run.is_dir() else settings.run.parent
    outcome = _failing_outcome(run, settings.feed, folder)
    assert outcome.failing_feed is not None
    file = folder / outcome.failing_feed
    asked = _asked(run, settings)
    case = load_case(_case_file(run, outcome.case, settings.case), allow_python=settings.allow_python)
    [case] = with_engines([case], asked.engines, asked.engine_precision)
    judging = replace(asked.judging, feed=file, cache=settings.cache)
    variant, name = _variant(case, outcome)
    with ExitStack() as stack:
        store = stack.enter_context(TensorStore())
        prepared = prepare_case(case, judging, store)
        if not any(_is_same(record, prepared.record) for record in run.cases):
            raise RunError(
                f"{case.folder}: its case file or model is not what {settings.run} was made of; run it again"
            )
        planned = plan_variant(case, variant, prepared, judging)
        [backend] = stack.enter_context(open_backends([name], asked.tensorrt))
        [feed] = prepared.feeds
        candidate = _answer(planned, backend, judging, store)
        return FailingFeed(file, case, outcome, _copied(feed.tensors), _copied(feed.expected), _copied(candidate))


def _failing_outcome(run: Run, feed: Path | None, folder: Path) -> Outcome:
    failing = {o.failing_feed: o for o in reversed(run.outcomes) if o.failing_feed is not None}
    wanted = [name for name in failing if feed is None or (folder / name).resolve() == feed.resolve()]
    if len(wanted) == 1:
        return failing[wanted[0]]
    known = ", ".join(sorted(str(folder / name) for name in failing)) or "none"
    if feed is not None:
        raise RunError(f"{feed}: is no failing feed of {folder}; it has {known}")
    if not failing:
        raise RunError(f"{folder}: has no failing feed to export: nothing failed, or it was not saved")
    raise RunError(f"{folder}: has {len(failing)} failing feeds; name one with --feed: {known}")


def _asked(run: Run, settings: ExportSettings) -> RunSettings:
    """Return what the run was asked to do; one that pytest made says no more than where a variant ran."""
    # Named as a run to resume, so that a damaged selection is told of with its folder.
    blank = RunSettings(resume=settings.run)
    asked = blank if MADE_BY in run.selection else with_selection(blank, run.selection)
    interpreters = settings.interpreters or asked.tensorrt.interpreters
    return replace(asked, tensorrt=TensorRTSettings(interpreters, settings.cache))


def _case_file(run: Run, name: str, given: Path | None) -> Path:
    if given is not None:
        return given / CASE_FILE if given.is_dir() else given
    files = (path / CASE_FILE if path.is_dir() else path for path in map(Path, run.selection.get("cases", ())))
    file = next((file for file in files if case_name(file.resolve().parent) == name), None)
    if file is None:
        raise RunError(f"{run.name}: does not say where case {name!r} is; name its folder with --case")
    return file


def _variant(case: Case, outcome: Outcome) -> tuple[Variant, str]:
    name, _, backend = outcome.variant.rpartition("@")
    for variant in case.variants:
        if variant.name == name:
            return variant, backend
    known = ", ".join(variant_label(variant.name, backend) for variant in case.variants)
    raise RunError(f"{case.name}: has no variant {outcome.variant} any more; it has {known}")


def _is_same(saved: CaseRecord, now: CaseRecord) -> bool:
    keys = ("name", "model_sha256", "case_file_sha256")
    return all(getattr(saved, key) == getattr(now, key) for key in keys)


def _answer(planned: PlannedVariant, backend: Backend, judging: JudgeSettings, store: TensorStore) -> Tensors:
    [feed] = planned.prepared.feeds
    if not is_engine_backend(backend):
        return RoundedOutputs(planned, judging, store)[feed.number]
    with backend.open_engine(engine_request(planned), judging.build_timeout_s) as session:
        dtypes = differing_dtypes(planned.prepared.interface.inputs, session.inputs, planned)
        return session.infer(typed_inputs(feed.tensors, dtypes)).outputs


def _copied(tensors: Tensors) -> dict[str, np.ndarray]:
    # What lies in the temporary store is gone when this is used.
    return {name: np.array(tensor) for name, tensor in tensors.items()}
