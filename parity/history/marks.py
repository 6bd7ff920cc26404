"""Steps of a series become sentences: where, between which runs to look, and what else changed there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from parity.agreement import Better
from parity.history.model import Marked
from parity.history.steps import find_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parity.history.model import Series, Visit
    from parity.history.steps import Step


def marked_steps(series: Series) -> tuple[Marked, ...]:
    """Return the steps of a series with the runs that they lie between; runs without a number are left out."""
    points = [point for point in series.points if not math.isnan(point.value)]
    visits = [point.visit for point in points]
    return tuple(_marked(series, visits, step) for step in find_steps([point.value for point in points]))


def _marked(series: Series, visits: Sequence[Visit], step: Step) -> Marked:
    good, bad = visits[step.last_before], visits[step.first_after]
    is_engine = "@tensorrt" in series.variant
    rose = step.after > step.before
    is_worse = None if series.better is Better.NEITHER else rose == (series.better is Better.LOWER)
    return Marked(step, visits[step.position], good, bad, differences(good, bad, with_engines=is_engine), is_worse)


def differences(one: Visit, other: Visit, *, with_engines: bool) -> tuple[str, ...]:
    """Return what differs between two runs beside their commit, one phrase each.

    Parameters
    ----------
    with_engines
        Whether facts of TensorRT's interpreters count: for what ran in ONNX Runtime they do not.
    """
    names = dict.fromkeys((*one.facts, *other.facts))
    return tuple(
        f"{name} {one.facts.get(name) or 'unknown'} to {other.facts.get(name) or 'unknown'}"
        for name in names
        if one.facts.get(name) != other.facts.get(name) and (with_engines or not name.startswith("tensorrt "))
    )


def bisect_sentence(marked: Marked) -> str:
    """Return where to look for what made a figure step."""
    good, bad = marked.good, marked.bad
    if not (good.commit and bad.commit):
        return f"look between the runs {_run(good)} and {_run(bad)}: not both say their commit"
    if good.commit != bad.commit:
        return f"bisect between {good.commit[:12]} ({_run(good)}) and {bad.commit[:12]} ({_run(bad)})"
    cause = (
        "what changed is named above" if marked.changed else "nothing that was recorded changed: look at the machine"
    )
    return f"the commit is the same on both sides, {good.commit[:12]} ({_run(good)}, {_run(bad)}): {cause}"


def _run(visit: Visit) -> str:
    return f"{visit.name} of {visit.created}"
