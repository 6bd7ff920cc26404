"""One backend for each interpreter that has TensorRT, all of them ended together."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from parity.backends.tensorrt.backend import TensorRTBackend, ask_worker
from parity.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from parity.backends import TensorRTSettings
    from parity.backends.tensorrt.conversation import Conversation


@contextmanager
def open_engine_backends(settings: TensorRTSettings) -> Iterator[tuple[TensorRTBackend, ...]]:
    """Start a worker in each interpreter, or open its recording, and end them all behind the block.

    Raises
    ------
    BackendError
        An interpreter is missing, or lacks TensorRT, PyCUDA, a driver or a GPU; a recording cannot be read.
    """
    from parity.backends.tensorrt.interpreter import named_interpreters
    from parity.backends.tensorrt.process import LiveConversation
    from parity.backends.tensorrt.recording import open_conversation

    interpreters = named_interpreters(settings.interpreters, os.environ)
    conversations = [open_conversation(interpreter, LiveConversation) for interpreter in interpreters]
    with converse(conversations, settings) as backends:
        yield backends


@contextmanager
def converse(
    conversations: Iterable[Conversation], settings: TensorRTSettings
) -> Iterator[tuple[TensorRTBackend, ...]]:
    """Open a backend on each conversation, of different names, and end them all behind the block.

    Raises
    ------
    BackendError
        A worker does not answer, or lacks what it needs.
    """
    with ExitStack() as stack:
        opened: list[TensorRTBackend] = []
        for conversation in conversations:
            stack.enter_context(closing(conversation))
            backend = stack.enter_context(closing(_open(conversation, opened, settings)))
            opened.append(backend)
        yield tuple(opened)


def _open(conversation: Conversation, opened: Sequence[TensorRTBackend], settings: TensorRTSettings) -> TensorRTBackend:
    name = ask_worker(conversation, settings.device).name
    twins = sum(other.name == name or other.name.startswith(f"{name}-") for other in opened)
    label = f"-{twins + 1}" if twins else ""
    return TensorRTBackend(conversation, settings.cache, label, settings.device)


def select_backends(backends: Sequence[TensorRTBackend], name: str) -> tuple[TensorRTBackend, ...]:
    """Return the backends that a name stands for: all for ``tensorrt``, one for ``tensorrt-8.6``.

    Raises
    ------
    BackendError
        No interpreter has a TensorRT of that name.
    """
    found = tuple(backend for backend in backends if name in {"tensorrt", backend.name})
    if not found:
        here = ", ".join(backend.name for backend in backends)
        raise BackendError(
            f"backend {name!r}: the interpreters have {here}; name one of that version by --tensorrt-python"
        )
    return found
