"""An engine built once more so that it shows some of its tensors, run beside the plain one and the reference."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from parity.backends import get_backend
from parity.backends.engine import Exposed, Exposure
from parity.errors import BackendError, FeedError, ModelError, PrecisionError, StructureError
from parity.inspector import parse_inspection
from parity.layers.alone import typed_feed
from parity.layers.extract import expose
from parity.layers.groups import group_tensors
from parity.layers.reference import inputs_of
from parity.layers.validity import OutputPairs
from parity.options import SessionOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from onnx import ModelProto

    from parity.backends.engine import EngineAnswer, EngineBackend, EngineRequest, EngineSession
    from parity.layers.observe import Feeds, Told
    from parity.layers.rows import Measured
    from parity.tolerance import Tolerance


@dataclass(frozen=True, slots=True)
class Instrumenting:
    """What every build that shows tensors has in common.

    Attributes
    ----------
    model
        The reference's.
    request, plain
        Of the engine as it ships, and that engine.
    plain_layers
        Names of its layers.
    half
        Tensors that the plain engine holds as half.
    tolerances
        By output, with atol in the output's own unit.
    sizes
        Bytes of each tensor as float32.
    """

    model: ModelProto
    request: EngineRequest
    plain: EngineSession
    plain_layers: tuple[str, ...]
    how: Exposure
    half: frozenset[str]
    backend: EngineBackend
    tolerances: Mapping[str, Tolerance]
    feeds: Feeds
    sizes: Mapping[str, int]
    budget_bytes: int
    timeout_s: float


@dataclass(slots=True)
class Showing:
    """What came of the builds.

    Attributes
    ----------
    reasons
        By output and build, how an engine that shows its tensors differs from the plain one.
    is_nearer
        Whether one that differs is nearer the reference.
    unobserved
        Tensors without figures, each with the reason.
    """

    build_count: int = 0
    reasons: list[str] = field(default_factory=list)
    is_nearer: bool = False
    unobserved: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Attempt:
    """One build: its figures, how it differs from the plain engine, or why it failed."""

    measured: Mapping[str, Measured]
    reasons: tuple[str, ...] = ()
    is_nearer: bool = False
    error: str = ""
    misfits: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def best_exposure(capabilities: Mapping[str, bool]) -> Exposure:
    """Return what changes an engine least, of what a worker has."""
    if capabilities.get("unfused_debug_tensors", False):
        return Exposure.UNFUSED
    return Exposure.DEBUG if capabilities.get("debug_tensors", False) else Exposure.OUTPUT


def show(task: Instrumenting, measured: Mapping[str, Measured], most_retries: int, told: Told | None = None) -> Showing:
    """Fill what is measured of tensors inside the engine, in as few builds as the budget allows.

    A build that does not answer as the plain engine does, or fails, is made again in two halves.

    Parameters
    ----------
    most_retries
        Further builds for that.
    told
        Is told after each build how many are done, and how many there are by now.
    """
    found = Showing()
    waiting = deque(_builds(task, list(measured)))
    retries = most_retries
    while waiting:
        tensors = waiting.popleft()
        attempt = _try_build(task, {name: measured[name].fresh() for name in tensors})
        found.build_count += 1
        is_bad = bool(attempt.reasons or attempt.error)
        # Whatever survives fusion is shown all at once.
        if is_bad and retries >= 2 and len(tensors) > 1 and task.how is not Exposure.UNFUSED:
            retries -= 2
            middle = len(tensors) // 2
            waiting.extend([tensors[:middle], tensors[middle:]])
        else:
            _accept(attempt, measured, found)
        if told is not None:
            told(found.build_count, found.build_count + len(waiting))
    return found


def _accept(attempt: _Attempt, measured: Mapping[str, Measured], found: Showing) -> None:
    tensors = tuple(attempt.measured)
    found.reasons += [f"{reason} ({_told(tensors)})" for reason in attempt.reasons]
    found.is_nearer |= attempt.is_nearer
    found.notes += attempt.notes
    if attempt.error:
        found.unobserved += [f"{name}: {attempt.error}" for name in tensors]
        return
    found.unobserved += [f"{name}: {why}" for name, why in attempt.misfits.items()]
    for name, one in attempt.measured.items():
        measured[name].take(one)


def _builds(task: Instrumenting, tensors: list[str]) -> list[tuple[str, ...]]:
    """Return the tensors of each build: outputs leave it all together, of debug tensors each run asks for some."""
    if task.how is Exposure.OUTPUT:
        return list(_groups(task, tensors))
    return [tuple(tensors)] if tensors else []


def _groups(task: Instrumenting, tensors: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return group_tensors(tensors, task.sizes, dict.fromkeys(tensors, ()), task.budget_bytes)


def _try_build(task: Instrumenting, measured: Mapping[str, Measured]) -> _Attempt:
    attempt = _Attempt(measured)
    pairs = OutputPairs(task.tolerances, task.request.precision)
    request = replace(task.request, observe=_exposed(task, tuple(measured)))
    try:
        with task.backend.open_engine(request, task.timeout_s) as session:
            for group in _groups(task, tuple(measured)):
                _run_group(task, session, attempt, group, pairs)
            attempt.notes += _on_layers(task, session, len(measured))
            attempt.reasons, attempt.is_nearer = pairs.reasons(), pairs.are_nearer()
    except (BackendError, FeedError, ModelError, PrecisionError, StructureError) as error:
        attempt.error = f"TensorRT could not show it: {error}"
    return attempt


def _exposed(task: Instrumenting, tensors: tuple[str, ...]) -> Exposed:
    if task.how is Exposure.UNFUSED:
        return Exposed((), task.how)
    is_output = task.how is Exposure.OUTPUT
    return Exposed(tensors, task.how, tuple(name for name in tensors if is_output and name in task.half))


def _run_group(
    task: Instrumenting, session: EngineSession, attempt: _Attempt, group: Sequence[str], pairs: OutputPairs
) -> None:
    asked = () if task.how is Exposure.OUTPUT else group
    wanted = list(dict.fromkeys([*task.tolerances, *group]))
    with get_backend("onnxruntime").open(expose(task.model, wanted), SessionOptions()) as reference:
        for feed in task.feeds():
            expected = reference.run(inputs_of(reference, feed))
            inputs = typed_feed(session.inputs, feed)
            answer = session.infer(inputs, debug=asked)
            pairs.update(expected, task.plain.run(inputs), answer.outputs)
            for name in group:
                if why := _add(attempt.measured[name], expected[name], answer):
                    attempt.misfits[name] = why


def _add(measured: Measured, expected: np.ndarray, answer: EngineAnswer) -> str:
    """Add one feed, or return why that cannot be done."""
    name = measured.point.tensor
    actual = answer.debug.get(name, answer.outputs.get(name))
    if actual is None:
        return "the engine does not show it"
    if actual.dtype.kind not in "fV":
        return f"the engine has it as {actual.dtype}"
    if actual.size != expected.size:
        return f"the engine has it in shape {actual.shape}, the model in {expected.shape}"
    measured.update(expected, actual.reshape(expected.shape))
    return ""


def _on_layers(task: Instrumenting, session: EngineSession, count: int) -> list[str]:
    """Return what became of the plain engine's layers."""
    layers = parse_inspection(session.inspector_json).of_profile(0)
    gone = Counter(task.plain_layers) - Counter(layer.name for layer in layers)
    if not gone:
        return []
    sizes = f"{len(layers)} layers for {len(task.plain_layers)}"
    lost = f"{gone.total()} of the plain one's are not in it, among them {next(iter(gone))!r}"
    return [f"with {count} tensors shown the engine has {sizes}; {lost}"]


def _told(tensors: Sequence[str]) -> str:
    return f"showing {tensors[0]} alone" if len(tensors) == 1 else f"showing {len(tensors)} tensors, {tensors[0]} first"
