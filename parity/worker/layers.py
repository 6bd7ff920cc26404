"""Readings by layer, from ``trt.IProfiler``."""

from __future__ import annotations

from typing import Any, Sequence, Tuple

from .errors import WorkerError

Reading = Tuple[str, float]
"""A layer's name and its time in ms."""


def make_profiler(trt: Any) -> Any:
    """Make a ``trt.IProfiler``; keep it alive as long as a context knows it.

    It has ``iterations``, the readings of each iteration in order; ``begin()`` starts the next.
    """

    class Profiler(trt.IProfiler):  # type: ignore[misc]  # the class of whichever TensorRT is given
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.iterations: list[list[Reading]] = []

        def begin(self) -> None:
            self.iterations.append([])

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.iterations[-1].append((str(layer_name), float(ms)))

    return Profiler()


def by_position(iterations: Sequence[Sequence[Reading]]) -> list[dict[str, Any]]:
    """Gather the readings of each layer by its position, for a name may occur twice in one engine.

    Raises
    ------
    WorkerError
        Nothing was read, or two iterations name different layers.
    """
    names = [name for name, _ in iterations[0]] if iterations else []
    if not names:
        raise WorkerError("TensorRT reported no layer to the profiler; ask for at least one iteration")
    for number, readings in enumerate(iterations):
        if [name for name, _ in readings] != names:
            raise WorkerError(
                f"iteration {number} reported {len(readings)} layers that are not the {len(names)} of the first, in "
                "their order; layers cannot be told apart by position"
            )
    columns = zip(*([ms for _, ms in readings] for readings in iterations))
    return [{"name": name, "times_ms": list(times)} for name, times in zip(names, columns)]
