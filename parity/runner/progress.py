"""How far a run is, for whoever shows it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Something that shows a run's progress."""

    def start(self, total: int) -> None:
        """Begin; ``total`` outcomes will come."""
        ...

    def begin(self, label: str) -> None:
        """Work on something begins; ``label`` names its case and variant."""
        ...

    def advance(self) -> None:
        """One more outcome is on disk."""
        ...

    def finish(self) -> None:
        """End, also after a failure or Ctrl-C."""
        ...


class SilentProgress:
    """Shows nothing."""

    def start(self, total: int) -> None:
        """Show nothing."""

    def begin(self, label: str) -> None:
        """Show nothing."""

    def advance(self) -> None:
        """Show nothing."""

    def finish(self) -> None:
        """Show nothing."""
