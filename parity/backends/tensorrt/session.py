"""A loaded engine: feeds in, outputs out, and what else only an engine can be asked."""

from __future__ import annotations

import logging
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parity.backends.engine import EngineAnswer, EngineTiming, LayerTime
from parity.backends.tensorrt.batching import batches, limits_of
from parity.backends.tensorrt.bindings import check_inputs, check_profile, choose_profile, read_bindings
from parity.backends.tensorrt.conversation import SentFile
from parity.backends.tensorrt.fingerprint import identify
from parity.backends.tensorrt.model_file import write_model
from parity.errors import BackendCrash, BackendError, BackendTimeout
from parity.results import BuildMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    import numpy as np
    from onnx import ModelProto

    from parity.backends import Tensors
    from parity.backends.tensorrt.batching import Limits
    from parity.backends.tensorrt.link import Link
    from parity.graph import TensorInfo
    from parity.results import EngineRecord

_log = logging.getLogger(__name__)

_UNLOAD_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A plan on this machine, and how it is loaded.

    Attributes
    ----------
    offset
        Where it begins in its file, in bytes.
    options
        The field ``options`` of a ``load``.
    record
        What is known before it is loaded.
    """

    path: Path
    offset: int
    options: dict[str, Any]
    record: EngineRecord


class TensorRTSession:
    """An engine in a worker.

    Where the worker was replaced since the engine was loaded, because another request killed it, the plan is loaded
    again before the next request; the record's notes say so.

    Parameters
    ----------
    timeout_s
        The longest that one request may take.
    weights
        The model that a plan without weights takes them from.

    Raises
    ------
    BackendError
        TensorRT refuses the plan.
    """

    def __init__(self, link: Link, plan: PlanFile, timeout_s: float, weights: ModelProto | None = None) -> None:
        self._link = link
        self._plan = plan
        self._timeout_s = timeout_s
        self._weights = weights
        self._reload_count = 0
        self._is_closed = False
        self._load()

    def _load(self) -> None:
        fields = {"plan": SentFile(self._plan.path), "offset": self._plan.offset, "options": self._plan.options}
        with ExitStack() as stack:
            if self._weights is not None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parity-")))
                fields["model"] = SentFile(write_model(self._weights, folder))
            answer = self._link.ask("load", fields, self._timeout_s)
        self._require_same(answer["engine"])
        self._age = self._link.age
        self._handle = answer["engine"]
        bindings = read_bindings(answer["bindings"])
        self._input_bindings = tuple(binding for binding in bindings if binding.is_input)
        self._outputs = tuple(binding.info for binding in bindings if not binding.is_input)
        self._record = replace(
            self._plan.record,
            bindings=tuple(str(binding.info) for binding in bindings),
            profile_count=answer["profile_count"],
            device_memory_bytes=answer["device_memory_bytes"],
            messages=(*self._plan.record.messages, *(BuildMessage(**message) for message in answer["messages"])),
        )

    def _require_same(self, handle: Any) -> None:
        """Refuse a plan that was written over since its hash was taken: the report would name another engine."""
        found, known = identify(self._plan.path).sha256, self._plan.record.sha256
        if found == known:
            return
        self._unload(handle)
        raise BackendError(
            f"{self._plan.path.name}: was written over while it was judged (SHA-256 {known[:12]} before, {found[:12]} "
            "now); judge it once nobody writes it"
        )

    def _ask(self, operation: str, **fields: Any) -> dict[str, Any]:
        """Ask about this engine, which is loaded again first where its worker is gone."""
        self._require_loaded()
        try:
            return self._ask_once(operation, fields)
        except (BackendCrash, BackendTimeout):
            raise
        except BackendError:
            if self._age == self._link.age:
                raise
        # The worker died unseen, and the request met another one, which does not have the engine.
        self._load_if_lost()
        return self._ask_once(operation, fields)

    def _ask_once(self, operation: str, fields: dict[str, Any]) -> dict[str, Any]:
        return self._link.ask(operation, {"engine": self._handle, **fields}, self._timeout_s)

    def _require_loaded(self) -> None:
        if self._is_closed:
            raise BackendError(f"engine {self._plan.record.sha256[:12]}: its session is closed; open it again")
        self._load_if_lost()

    def _load_if_lost(self) -> None:
        if self._age != self._link.age:
            self._load()
            self._reload_count += 1

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The engine's inputs, in its order and its dtypes."""
        return tuple(binding.info for binding in self._input_bindings)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The engine's outputs, in its order and its dtypes."""
        return self._outputs

    @property
    def record(self) -> EngineRecord:
        """What the engine is."""
        if not self._reload_count:
            return self._record
        times = "once more" if self._reload_count == 1 else f"{self._reload_count} more times"
        note = f"the worker was replaced after a failure; the plan was loaded {times}"
        return replace(self._record, notes=(*self._record.notes, note))

    @property
    def inspector_json(self) -> str:
        """The engine inspector's answer as TensorRT gave it, for the shapes of the last run.

        Raises
        ------
        BackendError
            TensorRT failed.
        """
        return str(self._ask("inspect")["json"])

    def run(self, feed: Tensors) -> dict[str, np.ndarray]:
        """Run one feed and return every output by name, in the engine's order.

        Raises
        ------
        FeedError, BackendError
            As ``infer``.
        """
        return self.infer(feed).outputs

    def infer(
        self,
        feed: Tensors,
        *,
        profile: int | None = None,
        fresh_context: bool = False,
        find_unwritten: bool = False,
        debug: Sequence[str] = (),
    ) -> EngineAnswer:
        """Run one feed; ``EngineSession`` explains the parameters.

        Raises
        ------
        FeedError
            The feed's names, dtypes or shapes do not fit the engine or any of its profiles.
        BackendError
            TensorRT failed (``BackendTimeout``, ``BackendCrash`` where it can be told).
        """
        fields = _infer_fields(feed, self._profile_of(feed, profile))
        fields |= {"fresh_context": fresh_context, "find_unwritten": find_unwritten}
        # Where nobody asks for them they do not travel, nor count for what was recorded.
        return self._answer(self._ask("infer", **fields, **({"debug": list(debug)} if debug else {})))

    def infer_all(self, feeds: Iterable[Tensors]) -> Iterator[EngineAnswer]:
        """Run feeds and yield the answers in their order; ``EngineSession`` explains more.

        Raises
        ------
        FeedError, BackendError
            As ``infer``.
        """
        feeds = iter(feeds)
        # The first one goes alone: it loads the engine again where its worker is gone, and sizes the batches.
        for first in islice(feeds, 1):
            answer = self.infer(first)
            limits = limits_of(first, answer)
            yield answer
            requests = self._requests(feeds, limits)
            yield from map(self._answer, self._link.infer_all(requests, self._timeout_s))

    def _requests(self, feeds: Iterable[Tensors], limits: Limits) -> Iterator[list[dict[str, Any]]]:
        for batch in batches(((feed, self._profile_of(feed, None)) for feed in feeds), limits):
            self._require_loaded()
            yield [{"engine": self._handle, **_infer_fields(feed, profile)} for feed, profile in batch]

    def _answer(self, answer: dict[str, Any]) -> EngineAnswer:
        return EngineAnswer(
            self._ordered(answer["tensors"]),
            dict(answer["unwritten"]),
            float(answer["gpu_ms"]),
            dict(answer.get("debug", {})),
        )

    def _profile_of(self, feed: Tensors, asked: int | None) -> int:
        check_inputs(self._input_bindings, feed)
        if asked is None:
            return choose_profile(self._input_bindings, feed)
        check_profile(self._input_bindings, feed, asked)
        return asked

    def _ordered(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [info.name for info in self._outputs]
        if set(tensors) != set(names):
            raise BackendError(f"worker: answered with the outputs {sorted(tensors)}; the engine has {sorted(names)}")
        return {name: tensors[name] for name in names}

    def layer_times(self, feed: Tensors, iterations: int) -> tuple[LayerTime, ...]:
        """Profile layers, in order of execution, in a context of its own.

        Raises
        ------
        FeedError, BackendError
            As ``infer``.
        """
        profile = self._profile_of(feed, None)
        answer = self._ask("profile", tensors=dict(feed), profile=profile, iterations=iterations)
        return tuple(LayerTime(layer["name"], tuple(layer["times_ms"])) for layer in answer["layers"])

    def time(
        self,
        feed: Tensors,
        *,
        warm_up_ms: float,
        min_iterations: int,
        min_s: float,
        cuda_graph: bool = False,
        streams: int = 1,
        transferless_s: float = 0.0,
    ) -> EngineTiming:
        """Run one feed again and again, in the kept context; ``EngineSession`` explains the parameters.

        Raises
        ------
        FeedError, BackendError
            As ``infer``.
        """
        answer = self._ask(
            "time",
            tensors=dict(feed),
            profile=self._profile_of(feed, None),
            warm_up_ms=warm_up_ms,
            min_iterations=min_iterations,
            min_s=min_s,
            cuda_graph=cuda_graph,
            # As with debug tensors: what nobody asks for does not travel.
            **({"streams": streams} if streams > 1 else {}),
            **({"transferless_s": transferless_s} if transferless_s else {}),
        )
        clocks = ("gpu_ms", "host_ms", "enqueue_ms", "host_compute_ms")
        # A recording may be older than the last of them.
        readings = {name: tuple(map(float, answer.get(name, ()))) for name in clocks}
        return EngineTiming(
            **readings,
            cuda_graph=bool(answer["cuda_graph"]),
            notes=tuple(answer["notes"]),
            elapsed_s=float(answer.get("elapsed_s", 0.0)),
            streams=streams,
        )

    def reload(self) -> TensorRTSession:
        """Load the same plan once more, as another engine of the same worker; close it as this one.

        Raises
        ------
        BackendError
            TensorRT failed.
        """
        return TensorRTSession(self._link, self._plan, self._timeout_s, self._weights)

    def close(self) -> None:
        """Unload the engine; nothing where its worker is gone already.

        Raises
        ------
        BackendError
            TensorRT failed.
        """
        if self._is_closed:
            return
        self._is_closed = True
        if self._age == self._link.age:
            self._unload(self._handle)

    def _unload(self, handle: Any) -> None:
        self._link.ask("unload", {"engine": handle}, min(self._timeout_s, _UNLOAD_LIMIT_S))

    def __enter__(self) -> TensorRTSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except BackendError as lost:
            # What was asked has been answered; the next request tells what became of the worker.
            _log.warning("engine %s: could not be unloaded: %s", self._plan.record.sha256[:12], lost)


def _infer_fields(feed: Tensors, profile: int) -> dict[str, Any]:
    return {"tensors": dict(feed), "profile": profile, "fresh_context": False, "find_unwritten": False}
