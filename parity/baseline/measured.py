"""What a run measured of its variants, in the form that baselines have."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from parity.baseline.model import LatencySeries, VariantFigures
from parity.run_figures import Kind, figures_of
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parity.latency_table import LatencyRecord, Measurement
    from parity.results import Outcome, Run

Key = tuple[str, str]
"""A case and a variant's label."""

_UNJUDGED = frozenset({Verdict.ERROR, Verdict.SKIPPED})


def measured_of(run: Run) -> dict[Key, VariantFigures]:
    """Return the figures of every variant of a run that gave any, in the run's order."""
    found: dict[Key, VariantFigures] = {}
    for figure in figures_of(run):
        if figure.kind is not Kind.LATENCY:
            variant = found.setdefault((figure.case, figure.variant), VariantFigures())
            subjects = variant.figures.setdefault(figure.check, {})
            subjects.setdefault(figure.subject, {})[figure.name] = figure.value
    for outcome in run.outcomes:
        if outcome.latency and outcome.latency.measurements:
            key = outcome.case, outcome.variant
            found[key] = _with_latency(found.get(key, VariantFigures()), outcome.latency)
    return found


def _with_latency(variant: VariantFigures, record: LatencyRecord) -> VariantFigures:
    series = {found.batch_size: _series(found, record) for found in record.measurements if _has_samples(found)}
    # Layers without work, such as constants, are no line to review.
    layers = tuple((layer.name, layer.median_ms) for layer in record.layers if layer.median_ms)
    return replace(variant, latency=series, layers=layers)


def _series(found: Measurement, record: LatencyRecord) -> LatencySeries:
    rebuilds = tuple(
        rebuilt.blocks_ms
        for rebuilt in record.rebuilt_at(found.batch_size)
        if _has_samples(rebuilt) and not _is_disturbed(rebuilt)
    )
    return LatencySeries(found.clock, (found.blocks_ms,), record.mode.cuda_graph, record.mode.streams, rebuilds)


def _has_samples(found: Measurement) -> bool:
    """Whether a saved measurement can be compared; a run's file may have been written by anybody."""
    return bool(found.blocks_ms) and all(0 < ms < math.inf for ms in found.blocks_ms)


def disturbed_batches(outcomes: Iterable[Outcome]) -> dict[int, str]:
    """Return what disturbed a GPU's readings, by batch size; a CPU's nearly always vary."""
    return {
        found.batch_size: "; ".join(found.disturbances)
        for outcome in outcomes
        if outcome.latency
        for found in outcome.latency.measurements
        if _is_disturbed(found)
    }


def _is_disturbed(found: Measurement) -> bool:
    return bool(found.gpu and found.disturbances)


def checks_made(outcomes: Iterable[Outcome]) -> frozenset[str]:
    """Return the checks that were made to an end, ``engine`` among them where there was one."""
    made = [outcome for outcome in outcomes if outcome.verdict not in _UNJUDGED]
    has_engine = any(outcome.engine for outcome in made)
    return frozenset([*(outcome.check for outcome in made), *(["engine"] if has_engine else [])])


def merged(variants: Iterable[VariantFigures]) -> VariantFigures:
    """Return one variant's figures from several runs, their latency measurements one after the other."""
    result = VariantFigures()
    for variant in variants:
        figures = {**result.figures, **variant.figures}
        latency = {**result.latency, **{size: _joined(result, size, found) for size, found in variant.latency.items()}}
        result = VariantFigures(figures, latency, variant.layers or result.layers)
    return result


def _joined(variant: VariantFigures, size: int, found: LatencySeries) -> LatencySeries:
    known = variant.latency.get(size)
    return found if known is None or known.mode != found.mode else known.followed_by(found)
