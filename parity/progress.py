"""The bar on standard error while a run goes on."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class ProgressBar:
    """Shows how many outcomes of a run are on disk, and what is worked on; ``parity.runner.Progress``."""

    def __init__(self) -> None:
        self._task: TaskID | None = None

    @cached_property
    def _bar(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
        )
        return Progress(*columns, console=Console(stderr=True), transient=True)

    def start(self, total: int) -> None:
        """Show the bar."""
        self._task = self._bar.add_task("", total=total)
        self._bar.start()

    def begin(self, label: str) -> None:
        """Name what is worked on."""
        from parity.report.figures import one_line

        assert self._task is not None
        self._bar.update(self._task, description=one_line(label))

    def advance(self) -> None:
        """Move the bar by one outcome."""
        assert self._task is not None
        self._bar.update(self._task, advance=1)

    def finish(self) -> None:
        """Remove the bar."""
        self._bar.stop()
