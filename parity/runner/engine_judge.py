"""Judges a variant on an engine: outputs with all three distances, census, invariants."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from parity.checks.outputs import OutputsCheck
from parity.errors import ParityError, RunError
from parity.runner.engine_request import engine_request
from parity.runner.message import with_error
from parity.runner.planned import typed_inputs
from parity.runner.selection import CENSUS, INVARIANTS, OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from parity.backends.engine import EngineBackend, EngineSession
    from parity.graph import TensorInfo
    from parity.results import Outcome
    from parity.runner.planned import PlannedVariant
    from parity.runner.rounded import RoundedOutputs
    from parity.runner.settings import JudgeSettings

    Judged = tuple[Outcome, int | None]
    """An outcome, and the number of the feed that fails most."""

_FLOATS = frozenset({"float16", "bfloat16", "float32"})
_PROFILE_ITERATIONS = 10


def judge_engine(
    planned: PlannedVariant,
    backend: EngineBackend,
    rounded: RoundedOutputs,
    settings: JudgeSettings,
    blanks: Mapping[str, Outcome],
) -> Iterator[Judged]:
    """Build or load a variant's engine and yield an outcome for each check of ``blanks``, in their order.

    A check that cannot be made costs its own outcome; the next one meets a new worker where the last one died.

    Raises
    ------
    PrecisionError, ModelError, BackendError
        There is no engine to judge.
    RunError
        There is no space to set tensors aside.
    """
    with backend.open_engine(engine_request(planned), settings.build_timeout_s) as session:
        judges = {OUTPUTS: _judge_outputs, CENSUS: _judge_census, INVARIANTS: _judge_invariants}
        for check, blank in blanks.items():
            filled = replace(blank, model=planned.record)
            try:
                judged, worst = judges[check](planned, session, rounded, filled)
            except RunError:
                raise
            except ParityError as error:
                judged, worst = with_error(filled, error), None
            yield replace(judged, engine=session.record), worst


def _judge_outputs(planned: PlannedVariant, session: EngineSession, rounded: RoundedOutputs, blank: Outcome) -> Judged:
    inputs, outputs = _engine_dtypes(planned, session)
    check = OutputsCheck(planned.regions_of, planned.precision, outputs)
    for feed in planned.prepared.feeds:
        answer = session.infer(typed_inputs(feed.tensors, inputs), find_unwritten=feed is planned.prepared.feeds[0])
        check.update(feed.number, answer.outputs, dict(feed.expected))
    result = check.result()
    judged = replace(
        blank,
        verdict=result.verdict,
        headline=result.headline,
        tensors=result.tensors,
        feed_count=result.feed_count,
    )
    return judged, result.worst_feed


def _judge_census(planned: PlannedVariant, session: EngineSession, rounded: RoundedOutputs, blank: Outcome) -> Judged:
    raise NotImplementedError


def _judge_invariants(
    planned: PlannedVariant, session: EngineSession, rounded: RoundedOutputs, blank: Outcome
) -> Judged:
    raise NotImplementedError


def _engine_dtypes(planned: PlannedVariant, session: EngineSession) -> tuple[dict[str, str], dict[str, str]]:
    """Return the dtypes of inputs and of outputs that rightly differ from the model's, by name."""
    model = planned.prepared.interface
    return _differing(model.inputs, session.inputs, planned), _differing(model.outputs, session.outputs, planned)


def _differing(model: Iterable[TensorInfo], engine: Iterable[TensorInfo], planned: PlannedVariant) -> dict[str, str]:
    wanted = {info.name: info.dtype for info in model}
    own = planned.half_tensors(engine)
    is_foreign = planned.variant.engine is not None or bool(planned.variant.network)
    for info in engine:
        pair = wanted.get(info.name), info.dtype
        # TensorRT 8.6 has no INT64 and narrows it; a foreign engine has the floating dtypes that its maker chose.
        if pair == ("int64", "int32") or (is_foreign and set(pair) <= _FLOATS and pair[0] != pair[1]):
            own[info.name] = info.dtype
    return own
