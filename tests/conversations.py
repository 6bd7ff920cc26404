"""Live conversations with toy operations in place of TensorRT's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parity.backends.tensorrt.interpreter import Interpreter, parse_interpreter
from parity.backends.tensorrt.process import LiveConversation

if TYPE_CHECKING:
    from collections.abc import Iterator

TOYS = {"toys.py": (Path(__file__).parent / "worker_toys.py").read_bytes()}


def toy_conversation(interpreter: str | Interpreter = sys.executable, **more: Any) -> LiveConversation:
    """Return a conversation with ``tests/worker_toys.py``."""
    where = parse_interpreter(interpreter) if isinstance(interpreter, str) else interpreter
    return LiveConversation(where, **{"handlers": "parity_worker.toys", "extra_sources": TOYS, **more})


def closing(conversation: LiveConversation) -> Iterator[LiveConversation]:
    """Yield a conversation for a fixture, and close it."""
    yield conversation
    conversation.close()
