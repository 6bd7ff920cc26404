"""A conversation that knows when its worker was lost, so that whoever holds a loaded engine can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parity.errors import BackendCrash, BackendTimeout

if TYPE_CHECKING:
    from parity.backends.tensorrt.conversation import Conversation


class Link:
    """All requests of one backend and of its sessions."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._loss_count = 0

    @property
    def age(self) -> tuple[int, int]:
        """What changes as soon as loaded engines are void: workers started, and workers lost, so far."""
        return self._conversation.generation, self._loss_count

    def ask(self, operation: str, fields: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Ask as ``Conversation.ask`` does.

        Raises
        ------
        ModelError, PrecisionError, FeedError, BackendError
            As there.
        """
        try:
            return self._conversation.ask(operation, fields, timeout_s)
        except (BackendCrash, BackendTimeout):
            self._loss_count += 1
            raise

    def close(self) -> None:
        """End the worker."""
        self._conversation.close()
