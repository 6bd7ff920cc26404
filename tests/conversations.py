"""Live conversations with toy operations in place of TensorRT's."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parity.backends.tensorrt.interpreter import Interpreter, parse_interpreter
from parity.backends.tensorrt.process import LiveConversation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOYS = {"toys.py": (Path(__file__).parent / "worker_toys.py").read_bytes()}


def toy_conversation(interpreter: str | Interpreter = sys.executable, **more: Any) -> LiveConversation:
    """Return a conversation with ``tests/worker_toys.py``."""
    where = parse_interpreter(interpreter) if isinstance(interpreter, str) else interpreter
    return LiveConversation(where, **{"handlers": "parity_worker.toys", "extra_sources": TOYS, **more})


def closing(conversation: LiveConversation) -> Iterator[LiveConversation]:
    """Yield a conversation for a fixture, and close it."""
    yield conversation
    conversation.close()


def wait_until(is_so: Callable[[], bool], limit_s: float = 60.0) -> None:
    """Wait until a condition holds; fail if it does not come about."""
    end = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < end, "did not come about"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Tell whether a process of this machine has ended; one that nobody has waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
