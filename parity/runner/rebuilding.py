"""Further builds of an engine that was judged, and how near they come to it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from parity.errors import BackendTimeout
from parity.runner.distances import Distances
from parity.runner.engine_judge import differing_dtypes
from parity.runner.engine_request import engine_request
from parity.runner.planned import typed_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from parity.backends.engine import EngineBackend
    from parity.runner.deadline import Deadline
    from parity.runner.planned import PlannedVariant
    from parity.runner.reference import StoredFeed

_MOST_BUILDS = 3


@dataclass(frozen=True, slots=True)
class JudgedEngine:
    """An engine that was judged.

    Attributes
    ----------
    answers
        What it gave, by the number of the feed, in the order in which it was fed.
    build_s
        What its own build took, with the timing cache that it had: another one takes no less. None where that is not
        known.
    """

    backend: EngineBackend
    answers: Mapping[int, Mapping[str, np.ndarray]]
    build_s: float | None


def compare_builds(
    planned: PlannedVariant, engine: JudgedEngine, feeds: Sequence[StoredFeed], deadline: Deadline
) -> tuple[dict[str, float], ...]:
    """Build an engine anew while there is time, tactics measured again, and hold each build against the judged one.

    Returns
    -------
    Of each build, the SQNR in dB of each output; nothing for a file that was built elsewhere.

    Raises
    ------
    BackendTimeout
        There is no time for one.
    PrecisionError, ModelError, FeedError, BackendError, StructureError
        It cannot be built, or does not run.
    """
    if planned.variant.engine is not None:
        return ()
    found: list[dict[str, float]] = []
    longest_s = engine.build_s or 0.0
    while len(found) < _MOST_BUILDS and deadline.left_s > longest_s:
        began = time.monotonic()
        try:
            found.append(_compare(planned, engine, feeds, deadline.left_s))
        except BackendTimeout:
            if not found:
                raise
            break
        longest_s = max(longest_s, time.monotonic() - began)
    if not found:
        raise BackendTimeout(f"a build takes {longest_s:.0f} s and more, and {deadline.left_s:.0f} s are left")
    return tuple(found)


def _compare(
    planned: PlannedVariant,
    engine: JudgedEngine,
    feeds: Sequence[StoredFeed],
    timeout_s: float,
) -> dict[str, float]:
    request, distances = replace(engine_request(planned), is_rebuild=True), Distances(planned.precision)
    with engine.backend.open_engine(request, timeout_s) as session:
        dtypes = differing_dtypes(planned.prepared.interface.inputs, session.inputs, planned)
        for feed in (feed for feed in feeds if feed.number in engine.answers):
            distances.add(session.run(typed_inputs(feed.tensors, dtypes)), engine.answers[feed.number])
    return distances.levels()
