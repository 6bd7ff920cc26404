"""What the worker keeps from one request to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .pagelock import PageLocks

if TYPE_CHECKING:
    from typing import Callable

    from .exchange import Exchange


class State:
    """Handed to every handler.

    Attributes
    ----------
    log
        ``log(severity, text)`` tells the harness a line at once, from any thread; severities are ``error``,
        ``warning``, ``info`` and ``verbose``.
    tell_share
        ``tell_share(share)`` tells the harness at once, from any thread, how much of the request is done, in 0 to 1.
    exchange
        The current request's: ``exchange.allocate`` gives outputs their final place.
    page_locks
        Memory of exchanges that CUDA knows.
    folder
        A folder of this worker's own, removed when it ends.
    engines
        The loaded engines by handle.
    """

    def __init__(
        self, log: Callable[[str, str], None], tell_share: Callable[[float], None], exchange: Exchange, folder: str
    ) -> None:
        self.log = log
        self.tell_share = tell_share
        self.exchange = exchange
        self.page_locks = PageLocks()
        self.folder = folder
        self.engines: dict[int, object] = {}
        self._next_handle = 1

    def add_engine(self, engine: object) -> int:
        """Keep an engine and return its handle; handles are never used twice."""
        handle = self._next_handle
        self._next_handle += 1
        self.engines[handle] = engine
        return handle
