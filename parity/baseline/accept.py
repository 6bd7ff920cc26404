"""What becomes of a baseline when a run is accepted.

A run that agrees with the baseline adds its latency measurement to it; one that does not takes its place. Many small
steps, each of them allowed, would carry a figure anywhere. So one that agrees keeps the value that was accepted, and a
latency is held against what was accepted first as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from parity.baseline.allowance import allowance_of
from parity.baseline.changes import Direction, changes_of, latency_change
from parity.baseline.judging import change_text
from parity.baseline.model import FirstMeasurements, VariantFigures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from parity.baseline.changes import Change
    from parity.baseline.model import Baseline, Figures, LatencySeries


@dataclass(frozen=True, slots=True)
class Accepted:
    """A baseline to be written, and by variant in words what became of it."""

    baseline: Baseline
    notes: dict[str, str]


def accept(known: Baseline | None, new: Baseline, overrides: Mapping[str, float]) -> Accepted:
    """Return the baseline after a run.

    Parameters
    ----------
    known
        The one so far; None where there is none, or where it is to be replaced.
    new
        What the run measured, on the same machine.
    overrides
        The case file's tolerances by figure.
    """
    if known is None:
        return Accepted(new, dict.fromkeys(new.variants, "accepted"))
    if reason := _starts_anew(known, new):
        gone = known.variants.keys() - new.variants.keys()
        dropped = f"; dropped {', '.join(sorted(gone))}" if gone else ""
        text = f"accepted anew, because {reason}{dropped}"
        notes = {name: text + _lost_latency(known.variants.get(name), found) for name, found in new.variants.items()}
        return Accepted(new, notes)
    variants, notes = dict(known.variants), {}
    for name, figures in new.variants.items():
        variants[name], notes[name] = _accept_variant(known.variants.get(name), figures, overrides, known.taken)
    feeds = new.feeds_sha256 or known.feeds_sha256
    return Accepted(replace(new, variants=variants, feeds_sha256=feeds), notes)


def _starts_anew(known: Baseline, new: Baseline) -> str:
    if known.case != new.case:
        return f"it was case {known.case!r}"
    if known.model_sha256 != new.model_sha256:
        return "the model is another one"
    if known.feeds_sha256 and new.feeds_sha256 and known.feeds_sha256 != new.feeds_sha256:
        return "the feeds are others"
    return ""


def _accept_variant(
    known: VariantFigures | None, new: VariantFigures, overrides: Mapping[str, float], taken: str
) -> tuple[VariantFigures, str]:
    if known is None:
        return new, "accepted"
    changes = changes_of(known, new, new.checks, overrides)
    moved = [change for change in changes if _is_other(change)]
    if moved:
        more = f" and {len(moved) - 1} more" if len(moved) > 1 else ""
        text = f"replaced, because of {change_text(moved[0])}{more}{_lost_latency(known, new)}"
        return VariantFigures(known.figures | new.figures, new.latency, new.layers), text
    drifts = _drifts(known, new, overrides)
    latency = dict(known.latency)
    for size, found in new.latency.items():
        has_drifted = size in drifts and drifts[size].is_significant
        latency[size] = found if has_drifted else _joined(known.latency.get(size), found, taken)
    kept = VariantFigures(_agreed(known, new, changes), latency, new.layers or known.layers)
    told = "".join(f"; {_drift_text(known.latency[size], drift)}" for size, drift in drifts.items())
    return kept, f"agrees; latency measurements: {_counts(latency.values())}{told}"


def _drifts(known: VariantFigures, new: VariantFigures, overrides: Mapping[str, float]) -> dict[int, Change]:
    """Return, by batch size, what became of a latency since it was accepted first, where much came in between."""
    factor = allowance_of("latency", "median_ms", overrides).relative
    found: dict[int, Change] = {}
    for size, series in new.latency.items():
        before = known.latency.get(size)
        if before is not None and before.first is not None and before.mode == series.mode:
            first = replace(before, measurements_ms=before.first.measurements_ms, rebuilds_ms=(), first=None)
            found[size] = latency_change(size, first, series, factor)
    return found


def _drift_text(series: LatencySeries, drift: Change) -> str:
    assert series.first is not None
    since = f"since {series.first.taken[:10]}"
    if not drift.is_significant:
        assert drift.slowdown is not None
        return f"{drift.subject} {drift.slowdown.ratio - 1:+.1%} {since}"
    return f"measurements replaced, because of {change_text(drift)} {since}, by steps that were each allowed"


def _agreed(known: VariantFigures, new: VariantFigures, changes: Iterable[Change]) -> Figures:
    """Return the new figures, of those that are within what is allowed the accepted values."""
    found = {check: {subject: dict(of_it) for subject, of_it in group.items()} for check, group in new.figures.items()}
    for change in changes:
        stays = change.is_judged and not change.is_significant and change.check in found
        if stays and change.old is not None:
            found[change.check][change.subject][change.name] = change.old
    return known.figures | found


def _lost_latency(known: VariantFigures | None, new: VariantFigures) -> str:
    """Say which accepted latencies were another engine's and were not measured again; empty where none."""
    lost = sorted(known.latency.keys() - new.latency.keys()) if known else []
    sizes = ", ".join(map(str, lost))
    return f"; latency is judged no more at batch {sizes}: measure it with --latency" if lost else ""


def _is_other(change: Change) -> bool:
    """Whether a change makes the measurements so far those of another engine; size and the like take new values."""
    is_moved = change.is_significant and change.direction not in {Direction.NEW, Direction.GONE}
    return is_moved and (change.leaves_baseline or change.check == "latency")


def _joined(known: LatencySeries | None, new: LatencySeries, taken: str) -> LatencySeries:
    if known is None or known.mode != new.mode:
        return new
    first = known.first or FirstMeasurements(taken, known.all_ms)
    return replace(known.followed_by(new), first=first)


def _counts(series: Iterable[LatencySeries]) -> str:
    counts = sorted({len(found.measurements_ms) for found in series})
    return ", ".join(map(str, counts)) or "none"
