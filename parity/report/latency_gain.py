"""What a variant's latency is worth: against ONNX Runtime in the same run, and against builds of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.report.text_table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from parity.latency_table import LatencyRecord, Measurement
    from parity.results import Outcome
    from parity.stats import LatencyStatistics


def gain_notes(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    """Return (``case / variant``, sentence) for each engine beside float32 in ONNX Runtime, by batch size.

    Both sides by the host's clock, which is all that ONNX Runtime has, and without transfers as well where both were
    timed so; one stream each.
    """
    return [
        (f"{engine.case} / {engine.variant}", _sentence(found, there, other.variant))
        for engine, other, found, there in _beside(outcomes)
        if other.precision == "fp32"
    ]


def gain_table(outcomes: Sequence[Outcome]) -> Table:
    """Return each engine beside ONNX Runtime, in float32 and at its own precision, by batch size."""
    return Table(
        "What TensorRT buys",
        "Medians in ms by the host's clock, of an engine and of ONNX Runtime in the same run, transfers included "
        "and without any; the gain is ONNX Runtime's time over the engine's.",
        (
            *("case", "variant", "batch", "beside", "engine", "ONNX Runtime", "gain"),
            *("engine, without transfers", "ONNX Runtime, without transfers", "gain, without transfers"),
        ),
        frozenset({2, *range(4, 10)}),
        tuple(
            (
                *(engine.case, engine.variant, str(found.batch_size), other.variant),
                *_gain_cells(found.host, there.host),
                *_gain_cells(found.host_compute, there.host_compute),
            )
            for engine, other, found, there in _beside(outcomes)
            if other.precision in {"fp32", engine.precision}
        ),
    )


def _gain_cells(own: LatencyStatistics | None, other: LatencyStatistics | None) -> tuple[str, str, str]:
    if own is None or other is None:
        return "n/a", "n/a", "n/a"
    return f"{own.median_ms:.4g}", f"{other.median_ms:.4g}", f"{other.median_ms / own.median_ms:.3g}"


def _beside(outcomes: Sequence[Outcome]) -> Iterator[tuple[Outcome, Outcome, Measurement, Measurement]]:
    """Yield each engine with what ONNX Runtime took for the same case and batch size, both with one stream."""
    timed = [
        (outcome, outcome.latency) for outcome in outcomes if outcome.latency and outcome.latency.mode.streams == 1
    ]
    for engine, record in timed:
        for other, beside in timed:
            if other.case == engine.case and _runs_on(engine, "tensorrt") and _runs_on(other, "onnxruntime"):
                yield from ((engine, other, found, there) for found, there in _pairs(record, beside))


def _runs_on(outcome: Outcome, backend: str) -> bool:
    return outcome.variant.partition("@")[2].partition("-")[0] == backend


def _pairs(record: LatencyRecord, beside: LatencyRecord) -> Iterator[tuple[Measurement, Measurement]]:
    for found in record.measurements:
        there = beside.at(found.batch_size)
        if there is not None:
            yield found, there


def _sentence(found: Measurement, there: Measurement, label: str) -> str:
    own, other = found.host.median_ms, there.host.median_ms
    gain = f"is {other / own:.3g} times as fast as" if own <= other else f"takes {own / other:.3g} times as long as"
    noise = "; readings were disturbed" if found.disturbances or there.disturbances else ""
    return (
        f"{gain} {label} at batch {found.batch_size}: {own:.4g} ms against {other:.4g} ms "
        f"(host time, transfers included{noise}){_without_transfers(found, there)}"
    )


def _without_transfers(found: Measurement, there: Measurement) -> str:
    if found.host_compute is None or there.host_compute is None:
        return ""
    own, other = found.host_compute.median_ms, there.host_compute.median_ms
    return f"; without transfers {own:.4g} ms against {other:.4g} ms, a factor of {other / own:.3g}"


def rebuild_table(outcomes: Sequence[Outcome]) -> Table:
    """Return how far engines that were built anew are apart, for each variant and batch size."""
    return Table(
        "Rebuilds",
        "Medians in ms of engines built anew from the same model and options, without what earlier builds measured; "
        "the spread is the largest over the smallest.",
        ("case", "variant", "batch", "builds", "least", "largest", "spread", "disturbed by"),
        frozenset({2, 3, 4, 5, 6}),
        tuple(
            (outcome.case, outcome.variant, *_rebuild_cells(record, found.batch_size))
            for outcome, record in ((outcome, outcome.latency) for outcome in outcomes if outcome.latency)
            for found in record.measurements
            if record.rebuilt_at(found.batch_size)
        ),
    )


def _rebuild_cells(record: LatencyRecord, batch_size: int) -> tuple[str, ...]:
    builds = record.rebuilt_at(batch_size)
    medians = [found.judged.median_ms for found in builds]
    spread = record.rebuild_spread(batch_size)
    noise = dict.fromkeys(reason for found in builds for reason in found.disturbances)
    return (
        *(str(batch_size), str(len(builds)), f"{min(medians):.4g}", f"{max(medians):.4g}"),
        *("n/a" if spread is None else f"{spread - 1:.1%}", "; ".join(noise) or "nothing seen"),
    )
