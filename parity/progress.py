"""The bar on standard error while a run goes on."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from parity.pace import listening

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.progress import Progress, ProgressColumn, Task, TaskID
    from rich.text import Text


class ProgressBar:
    """Shows how many outcomes of a run are on disk, what is worked on, and how long that will still take.

    ``parity.runner.Progress`` for the run, ``parity.pace.Listener`` for the work at hand.
    """

    def __init__(self) -> None:
        self._run: TaskID | None = None
        self._work: dict[int, TaskID] = {}

    @cached_property
    def _bar(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            BarColumn(),
            TextColumn("{task.completed:g}/{task.fields[of]}"),
            TimeElapsedColumn(),
            _left_column(),
            TextColumn("{task.description}", markup=False),
        )
        return Progress(*columns, console=Console(stderr=True), transient=True)

    @cached_property
    def _listening(self) -> AbstractContextManager[None]:
        return listening(self)

    def start(self, total: int) -> None:
        """Show the bar."""
        self._run = self._bar.add_task("", total=total, of=str(total))
        self._bar.start()
        self._listening.__enter__()

    def begin(self, label: str) -> None:
        """Name what is worked on."""
        from parity.report.figures import one_line

        assert self._run is not None
        self._bar.update(self._run, description=one_line(label))

    def advance(self) -> None:
        """Move the bar by one outcome."""
        assert self._run is not None
        self._bar.update(self._run, advance=1)

    def finish(self) -> None:
        """Remove the bar."""
        self._listening.__exit__(None, None, None)
        self._bar.stop()

    def enter(self, what: str, total: int | None, expected_s: float | None) -> int:
        """Show a line for the work at hand, in place of the work around it."""
        of = "?" if total is None else str(total)
        task = self._bar.add_task(what, total=total, of=of, expected_s=expected_s, last_s=expected_s)
        self._work[int(task)] = task
        self._show_innermost()
        return int(task)

    def step(self, work: int) -> None:
        """Move a line."""
        self._bar.update(self._work[work], advance=1)

    def share(self, work: int, done: float) -> None:
        """Show how much of the work is done, and how long it will take by that."""
        task = next(task for task in self._bar.tasks if task.id == self._work[work])
        expected_s = expected_total_s(task.elapsed or 0.0, done, task.fields["last_s"])
        self._bar.update(task.id, total=100, completed=int(100 * done), of="100 %", expected_s=expected_s)

    def leave(self, work: int) -> None:
        """Take a line away, and show that of the work around it again."""
        self._bar.remove_task(self._work.pop(work))
        self._show_innermost()

    def _show_innermost(self) -> None:
        last = max(self._work, default=None)
        for work, task in self._work.items():
            self._bar.update(task, visible=work == last)


def expected_total_s(elapsed_s: float, done: float, last_s: float | None) -> float:
    """Return how long work may take in all, in s, of which a share above 0 is done.

    Steps are not equally long, and what the like took last is a time; so the steps tell how much of that time is left,
    and are drawn out only where nothing like it was done before.

    Parameters
    ----------
    last_s
        What the like took before; None where nothing is known.
    """
    return elapsed_s / done if last_s is None else elapsed_s + (1 - done) * last_s


def time_left(elapsed_s: float, expected_s: float) -> str:
    """Say how long work will still take that was expected to take so long: minutes and seconds, or that it is late."""
    left_s = expected_s - elapsed_s
    return f"about {int(left_s) // 60}:{int(left_s) % 60:02d} left" if left_s >= 1 else "longer than expected"


def _left_column() -> ProgressColumn:
    from rich.progress import ProgressColumn
    from rich.text import Text

    class LeftColumn(ProgressColumn):
        """By the pace so far, or by what the like took before; empty where neither is known."""

        def render(self, task: Task) -> Text:
            elapsed_s, expected_s = task.elapsed or 0.0, task.fields.get("expected_s")
            if expected_s is None and task.time_remaining is not None:
                expected_s = elapsed_s + task.time_remaining
            if expected_s is None or task.finished:
                return Text()
            return Text(time_left(elapsed_s, expected_s))

    return LeftColumn()
