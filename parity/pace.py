"""How far the work at hand is, told to whoever listens: a bar in a terminal, or nobody.

What works knows its steps and not who looks on, many calls above it; so listeners are found by context, not handed
down. Work within work is told as well.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")


class Listener(Protocol):
    """Who is told."""

    def enter(self, what: str, total: int | None, expected_s: float | None) -> int:
        """Begin work, and return the number that it is called by: it may end before or after what began later.

        Parameters
        ----------
        what
            Such as ``calibrating``.
        total
            Its steps; None where they are not known.
        expected_s
            How long it may take, by what the like took before; None where nothing is known.
        """
        ...

    def step(self, work: int) -> None:
        """Tell that one step of it is done."""
        ...

    def share(self, work: int, done: float) -> None:
        """Tell how much of it is done, in 0 to 1, where that is known; it is no share of its time."""
        ...

    def leave(self, work: int) -> None:
        """Tell that it has ended, well or not."""
        ...


_LISTENER: ContextVar[Listener | None] = ContextVar("parity_pace", default=None)
_WORK: ContextVar[int | None] = ContextVar("parity_work", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell a listener of all work inside."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


@contextmanager
def working(what: str, expected_s: float | None = None) -> Iterator[None]:
    """Tell of work without steps."""
    listener = _LISTENER.get()
    if listener is None:
        yield
        return
    work = listener.enter(what, None, expected_s)
    token = _WORK.set(work)
    try:
        yield
    finally:
        _WORK.reset(token)
        listener.leave(work)


def tell_share(done: float) -> None:
    """Tell how much of the work without steps at hand is done, in 0 to 1; nobody is told where there is none."""
    listener, work = _LISTENER.get(), _WORK.get()
    if listener is not None and work is not None:
        listener.share(work, done)


def paced(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield items, telling of each one that was worked off."""
    listener = _LISTENER.get()
    if listener is None:
        yield from items
        return
    work = listener.enter(what, total, None)
    try:
        for item in items:
            yield item
            listener.step(work)
    finally:
        listener.leave(work)
