"""Every figure of a run that other runs are compared with: flat, one row each, with the side on which it is worse."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING

from parity.agreement import Better

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity.latency_table import LatencyMode
    from parity.results import Outcome, Run, TensorOutcome


class Kind(StrEnum):
    """What a figure is about, which decides how two of its values are compared."""

    CLOSENESS = "closeness"
    """Of raw tensors to the reference's."""
    AGREEMENT = "agreement"
    """Of decoded results with the reference's."""
    ACCURACY = "accuracy"
    """Of decoded results against annotations."""
    CENSUS = "census"
    """Share of arithmetic layers at the precision asked for."""
    LATENCY = "latency"
    SIZE = "size"
    BUILD = "build"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class RunFigure:
    """One figure of one variant.

    Attributes
    ----------
    case, variant, check
        As in ``parity.results.Outcome``: ``shapes_yolo``, ``fp16@tensorrt-8.6``, ``outputs``.
    subject
        What of the variant it is about: an output or its slice, ``batch 8``; empty for the variant as a whole.
    name
        With its unit where it has one: ``sqnr_db``, ``median_ms``, ``true_ap_candidate``.
    value
        Infinite or NaN where that was measured (an SQNR of equal tensors); never missing: what was not measured has no
        row.
    unit
        ``dB``, ``ms``, ``bytes``, ``s``, ``count``, ``share``, or a unit of ``parity.agreement.Figure``.
    samples
        Medians of blocks of readings, in ms, of a latency; empty for all else.
    """

    case: str
    variant: str
    check: str
    subject: str
    name: str
    value: float
    unit: str
    kind: Kind
    better: Better
    samples: tuple[float, ...] = ()

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What two runs are joined by."""
        return self.case, self.variant, self.check, self.subject, self.name


OUTPUT_FIGURES = ("sqnr_db", "headroom", "mismatch_count", "nonfinite_mismatch_count")
ENGINE_FIGURES = ("size_bytes", "build_s", "device_memory_bytes")
MEDIAN = "median_ms"


def compared_figures() -> tuple[str, ...]:
    """Return the names of all figures that are compared between runs."""
    from parity.detect.figures import SPECS

    return tuple(dict.fromkeys((*OUTPUT_FIGURES, "share", *ENGINE_FIGURES, MEDIAN, *SPECS)))


def better_of(name: str) -> Better:
    """Return which way a figure of decoded results improves; a change of one that is not known here asks for a look."""
    from parity.detect.figures import SPECS

    return SPECS[name].better if name in SPECS else Better.NEITHER


def figures_of(run: Run) -> tuple[RunFigure, ...]:
    """Return the figures of all outcomes, in the run's order; an engine's own stand once a variant."""
    found = {figure.key: figure for outcome in run.outcomes for figure in outcome_figures(outcome)}
    return tuple(found.values())


def outcome_figures(outcome: Outcome) -> Iterator[RunFigure]:
    """Yield the figures of one outcome; of an engine also where another check of its variant has them."""
    return chain(_closeness(outcome), _decoded(outcome), _census(outcome), _latency(outcome), _engine(outcome))


@dataclass(frozen=True, slots=True)
class _Found:
    """A figure without what it belongs to."""

    name: str
    value: float
    unit: str
    kind: Kind
    better: Better = Better.LOWER
    samples: tuple[float, ...] = ()

    def of(self, outcome: Outcome, subject: str = "", check: str = "") -> RunFigure:
        return RunFigure(
            case=outcome.case,
            variant=outcome.variant,
            check=check or outcome.check,
            subject=subject,
            name=self.name,
            value=float(self.value),
            unit=self.unit,
            kind=self.kind,
            better=self.better,
            samples=self.samples,
        )


def _closeness(outcome: Outcome) -> Iterator[RunFigure]:
    for tensor in outcome.tensors:
        yield from _of_tensor(outcome, tensor)


def _of_tensor(outcome: Outcome, tensor: TensorOutcome) -> Iterator[RunFigure]:
    difference = tensor.difference
    if difference is None:
        return
    rows = (
        _Found("sqnr_db", difference.sqnr_db, "dB", Kind.CLOSENESS, Better.HIGHER),
        _Found("headroom", difference.headroom, "share", Kind.CLOSENESS),
        _Found("mismatch_count", difference.mismatch_count, "count", Kind.CLOSENESS),
        _Found("nonfinite_mismatch_count", difference.nonfinite_mismatch_count, "count", Kind.CLOSENESS),
    )
    yield from (row.of(outcome, tensor.output) for row in rows)


def _decoded(outcome: Outcome) -> Iterator[RunFigure]:
    for judged in outcome.decoded.figures if outcome.decoded else ():
        figure = judged.figure
        if figure.value is None:
            continue
        kind = Kind.ACCURACY if figure.name.startswith(("true_", "accuracy_")) else Kind.AGREEMENT
        yield _Found(figure.name, figure.value, figure.unit, kind, better_of(figure.name)).of(outcome)


def _census(outcome: Outcome) -> Iterator[RunFigure]:
    if outcome.census is not None:
        yield _Found("share", outcome.census.share, "share", Kind.CENSUS, Better.HIGHER).of(outcome)


def _latency(outcome: Outcome) -> Iterator[RunFigure]:
    record = outcome.latency
    if record is None:
        return
    for measured in record.measurements:
        subject, judged = _launched(record.mode, measured.batch_size), measured.judged
        median = _Found("median_ms", judged.median_ms, "ms", Kind.LATENCY, samples=measured.blocks_ms)
        yield median.of(outcome, subject)
        yield _Found("p99_ms", judged.p99_ms, "ms", Kind.LATENCY).of(outcome, subject)


def _launched(mode: LatencyMode, batch_size: int) -> str:
    """Return what a latency is of: no two are comparable that were launched in different ways."""
    graph = ", CUDA graph" if mode.cuda_graph else ""
    streams = f", {mode.streams} streams" if mode.streams > 1 else ""
    return f"batch {batch_size}{graph}{streams}"


def _engine(outcome: Outcome) -> Iterator[RunFigure]:
    engine = outcome.engine
    if engine is None:
        return
    rows = (
        ("size_bytes", engine.size_bytes, "bytes", Kind.SIZE),
        ("build_s", engine.build_s, "s", Kind.BUILD),
        ("device_memory_bytes", engine.device_memory_bytes, "bytes", Kind.MEMORY),
    )
    for name, value, unit, kind in rows:
        if value is not None:
            # Every check of a variant carries its engine; the figure is the variant's.
            yield _Found(name, value, unit, kind).of(outcome, check="engine")
