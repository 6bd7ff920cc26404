"""How far a build is, by the steps that TensorRT 10 and later report of it."""

from __future__ import annotations

from threading import Lock
from typing import Any, Callable

_STEP = 0.01
"""A share is told again when it has grown by so much: a build has steps by the thousand."""


class Steps:
    """Phases that are under way, and the share of their steps that is done.

    Phases nest: what a phase inside another has done counts as a part of the step that the outer one is at. Steps count
    as equally long, which they are not, and further phases may follow, so a share is no time. It never falls.

    Parameters
    ----------
    tell
        Takes a share, in 0 to 1; called from TensorRT's threads.
    """

    def __init__(self, tell: Callable[[float], None]) -> None:
        self._tell = tell
        self._told = 0.0
        self._lock = Lock()
        self._phases: dict[str, _Phase] = {}

    def start(self, name: str, parent: str | None, count: int) -> None:
        """Begin a phase of so many steps, perhaps inside another."""
        with self._lock:
            self._phases[name] = _Phase(parent or "", max(count, 1))

    def complete(self, name: str, step: int) -> None:
        """Take a step, counted from 0, as done."""
        with self._lock:
            if name in self._phases:
                self._phases[name].done = step + 1
            share = min(1.0, max(map(self._share, self._outermost()), default=0.0))
            if share < self._told + _STEP:
                return
            self._told = share
        self._tell(share)

    def finish(self, name: str) -> None:
        """End a phase, whether or not all its steps were done."""
        with self._lock:
            self._phases.pop(name, None)

    def _outermost(self) -> list[str]:
        return [name for name, phase in self._phases.items() if phase.parent not in self._phases]

    def _share(self, name: str) -> float:
        phase = self._phases[name]
        inner = [self._share(child) for child, other in self._phases.items() if other.parent == name]
        return min(1.0, (phase.done + max(inner, default=0.0)) / phase.count)


class _Phase:
    """A phase under way: the one around it ("" where there is none), its steps, and how many of them are done."""

    def __init__(self, parent: str, count: int) -> None:
        self.parent = parent
        self.count = count
        self.done = 0


def watch_build(trt: Any, config: Any, tell: Callable[[float], None]) -> Any:
    """Have a build tell its share of steps; return the ``trt.IProgressMonitor``, to be kept until the build has ended.

    None where this TensorRT reports no steps, as 8.6. Phases outlive no build, so each build has a monitor of its own.
    """
    if not hasattr(trt, "IProgressMonitor") or not hasattr(config, "progress_monitor"):
        return None
    steps = Steps(tell)

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the class of whichever TensorRT is given
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            steps.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            steps.complete(phase_name, step)
            return True  # go on

        def phase_finish(self, phase_name: str) -> None:
            steps.finish(phase_name)

    monitor = Monitor()
    config.progress_monitor = monitor
    return monitor
