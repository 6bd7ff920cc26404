"""``LiveConversation``: a worker's process that is started when it is first asked, and replaced when it was lost."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from parity.backends.tensorrt.archive import PACKAGE, worker_archive
from parity.backends.tensorrt.batching import answers_of_many, fields_of_many
from parity.backends.tensorrt.conversation import infer_singly
from parity.backends.tensorrt.generation import Generation, WorkerFailure
from parity.backends.tensorrt.launch import ProcessGone
from parity.errors import (
    BackendCrash,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    FeedError,
    ModelError,
    ParityError,
    PrecisionError,
)
from parity.worker.errors import WorkerError
from parity.worker.exchange import LANES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from parity.backends.tensorrt.interpreter import Interpreter

    Fields = dict[str, Any]

_LOGGER = logging.getLogger(__name__)

START_LIMIT_S = 60.0
"""For an interpreter to start and to import NumPy: a cold network disk is slow."""

_ERRORS: dict[str, type[ParityError]] = {
    "model": ModelError,
    "precision": PrecisionError,
    "feed": FeedError,
    "unavailable": BackendUnavailable,
    "backend": BackendError,
    "cuda": BackendCrash,
}


class LiveConversation:
    """A worker in a process of its own.

    Parameters
    ----------
    interpreter
        Where it runs.
    name
        What messages call it.
    handlers
        The module over there that has ``HANDLERS``.
    extra_sources
        More modules for the worker, by file name.
    mapped
        Whether a worker on this machine is to share memory and files; one elsewhere never does.
    start_limit_s
        For its start, in seconds.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        *,
        name: str = "tensorrt",
        handlers: str = f"{PACKAGE}.handlers",
        extra_sources: Mapping[str, bytes] | None = None,
        mapped: bool = True,
        start_limit_s: float = START_LIMIT_S,
    ) -> None:
        self.name = name
        self.interpreter = interpreter
        self._handlers = handlers
        self._extra_sources = dict(extra_sources or {})
        self._is_mapped = mapped and interpreter.is_local
        self._start_limit_s = start_limit_s
        self._generation = 0
        self._worker: Generation | None = None
        self._sent: deque[_Sent] = deque()

    @property
    def generation(self) -> int:
        """How many workers were started so far."""
        return self._generation

    @property
    def process_id(self) -> int | None:
        """The worker's process on its machine; None while there is none."""
        return self._worker.process_id if self._worker else None

    def ask(self, operation: str, fields: Fields, timeout_s: float) -> Fields:
        """Ask, and return the answer's fields; see ``Conversation``."""
        while self._sent:
            self._read_oldest()
        worker = self._living_worker()
        with self._watched(worker, operation, timeout_s):
            return worker.ask(operation, fields, timeout_s)

    def infer_all(self, batches: Iterable[Sequence[Fields]], timeout_s: float) -> Iterator[Fields]:
        """Ask ``infer`` for each request; see ``Conversation``.

        A worker that shares memory is sent a batch while it works on the one before. Whoever asks something else
        meanwhile first has these answers read and kept here; where nobody wants them any more they are dropped.
        """
        waiting: deque[_Sent] = deque()
        for batch in batches:
            # An engine without inputs has nothing to stack: all of its feeds go one by one.
            if not (self._require_worker().is_mapped and batch[0]["tensors"]):
                yield from infer_singly(self, [batch], timeout_s)
                continue
            waiting.append(self._send(batch, timeout_s))
            if len(waiting) == LANES:
                yield from self._answers(waiting.popleft())
        for sent in waiting:
            yield from self._answers(sent)

    def _require_worker(self) -> Generation:
        if self._worker is None:
            # Another one would not have the engine, or would have another engine by its number.
            raise BackendCrash(f"{self._who()}: was ended in the middle of inferences; run them again")
        # What it has answered so far is read, and then how it ended.
        return self._worker if self._sent else self._living_worker()

    def _send(self, batch: Sequence[Fields], timeout_s: float) -> _Sent:
        if len(self._sent) == LANES:
            self._read_oldest()
        worker = self._require_worker()
        lane = min(set(range(LANES)) - {sent.lane for sent in self._sent})
        limit_s = timeout_s * len(batch)
        with self._watched(worker, "infer", limit_s):
            worker.send("infer_many", fields_of_many(batch), limit_s, lane)
        self._sent.append(_Sent(lane, len(batch), limit_s))
        return self._sent[-1]

    def _answers(self, sent: _Sent) -> Iterator[Fields]:
        while not (sent.answers or sent.failure):
            self._read_oldest()
        if sent.failure:
            raise sent.failure
        yield from sent.answers

    def _read_oldest(self) -> None:
        """Read an answer for whoever waits for it.

        Raises
        ------
        BackendTimeout, BackendCrash
            The worker is lost; so are the answers to all that was sent.
        """
        worker, sent = self._require_worker(), self._sent[0]
        try:
            with self._watched(worker, "infer", sent.limit_s):
                sent.answers = answers_of_many(worker.receive(sent.lane), sent.count)
        except (BackendTimeout, BackendCrash):
            raise
        except ParityError as failure:
            sent.failure = failure
        self._sent.popleft()

    @contextmanager
    def _watched(self, worker: Generation, operation: str, limit_s: float) -> Iterator[None]:
        """End the worker if the block takes too long, and map what it raises."""
        watchdog = worker.process.watchdog
        doing = f'while it did "{operation}"'
        try:
            with watchdog.limit(limit_s):
                yield
            if watchdog.has_fired:
                raise ProcessGone
        except ProcessGone as gone:
            if watchdog.has_fired:
                raise BackendTimeout(
                    self._lose(f"gave no answer within {limit_s:g} s {doing}, and was ended")
                ) from None
            raise BackendCrash(self._lose(_join(worker.process.how_it_ended(), str(gone)) + f" {doing}")) from None
        except WorkerFailure as failure:
            raise self._translate(failure, doing) from None
        except (ParityError, WorkerError) as error:
            raise error if isinstance(error, ParityError) else BackendError(f"{self._who()}: {error}") from None
        except OSError as error:
            # Whoever tidies up temporary folders takes them from under a long run; another worker has others.
            raise BackendCrash(self._lose(f"lost the files that are shared with it ({error}) {doing}")) from None
        except BaseException:
            # Ctrl-C, or a test's time limit: the answer would come to the next question.
            self._drop(kill=True)
            raise

    def _living_worker(self) -> Generation:
        if self._worker is None:
            self._worker = self._start()
        elif not self._worker.process.is_alive:
            raise BackendCrash(self._lose(f"{self._worker.process.how_it_ended()} between two requests"))
        return self._worker

    def _start(self) -> Generation:
        worker = Generation(self.interpreter, is_mapped=self._is_mapped)
        watchdog = worker.process.watchdog
        try:
            with watchdog.limit(self._start_limit_s):
                worker.start(worker_archive(self._extra_sources), self._handlers)
        except ProcessGone as gone:
            how = (
                f"no sign of life in {self._start_limit_s:g} s" if watchdog.has_fired else worker.process.how_it_ended()
            )
            message = self._start_failure(worker, _join(how, str(gone)))
            worker.end()
            raise BackendUnavailable(message) from None
        except WorkerFailure as failure:
            worker.end()
            raise self._translate(failure, "at its start") from None
        except BaseException:
            worker.process.kill()
            worker.end()
            raise
        self._generation += 1
        _LOGGER.info("%s: started, generation %d, %s", self._who(), self._generation, worker.facts)
        return worker

    def _start_failure(self, worker: Generation, how: str) -> str:
        # An old Python points with a caret at what it cannot parse.
        lines = [" ".join(line.split()) for line in worker.process.log.tail() if line.strip("^ ")]
        said = " / ".join(lines[-2:])
        return f"{self._who()}: no worker could be started there: {_join(how, said)}; {self._advice()}"

    def _advice(self) -> str:
        if self.interpreter.is_local:
            return "expected CPython 3.8 or later; name another one by --tensorrt-python"
        return f"see that this works without a password: ssh HOST PYTHON -V, as in {self.interpreter.label}"

    def _translate(self, failure: WorkerFailure, doing: str) -> ParityError:
        """Turn what the worker answered into an exception of this side's tree."""
        kind = _ERRORS.get(failure.kind, BackendError)
        text = str(failure)
        if kind is BackendCrash:
            text = self._lose(f"lost its CUDA context {doing}: {text}")
        elif issubclass(kind, BackendError):
            text = f"{self._who()}: {text}"
        error = kind(text)
        if failure.detail:
            error.add_note(f"in the worker:\n{failure.detail}")
        return error

    def _who(self) -> str:
        return f"worker {self.name} ({self.interpreter.label})"

    def _lose(self, what: str) -> str:
        """Let go of the worker, and say what happened with the last lines of its log."""
        lines = self._worker.process.log.tail() if self._worker else []
        self._drop(kill=True)
        tail = "last lines of its log:\n" + "\n".join(f"    {line}" for line in lines) if lines else "its log is empty"
        return f"{self._who()}: {what}; {tail}"

    def _drop(self, *, kill: bool) -> None:
        worker, self._worker = self._worker, None
        while self._sent:
            self._sent.popleft().failure = BackendCrash(f"{self._who()}: was ended before it answered; run again")
        if worker is None:
            return
        if kill:
            worker.process.kill()
        worker.end()

    def close(self) -> None:
        """End the worker."""
        self._drop(kill=False)


@dataclass(slots=True)
class _Sent:
    """A batch that was sent, and what came back: answers, or a failure, once it was read.

    Attributes
    ----------
    count
        How many feeds it has.
    limit_s
        The longest that its answer may take.
    """

    lane: int
    count: int
    limit_s: float
    answers: list[Fields] = field(default_factory=list)
    failure: ParityError | None = None


def _join(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
