"""Latency as charts: how it moved while it was measured, and where in the network the time goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.report.charts import Chart, Series, drawable
from parity.report.layer_names import WHOLE, shortened

if TYPE_CHECKING:
    from parity.latency_table import LatencyRecord, LayerLatency, Measurement


def blocks_chart(found: Measurement) -> Chart:
    """Return the medians of consecutive blocks of readings beside the median of all."""
    count = len(found.blocks_ms)
    return Chart(
        label=f"Latency over the measurement, batch {found.batch_size}, {found.clock} clock",
        unit="ms",
        x_label="block of readings",
        series=(
            Series("median of a block", drawable(found.blocks_ms)),
            Series("median of all", drawable([found.judged.median_ms] * count), "faint", "dashes"),
        ),
        x=tuple(float(number) for number in range(1, count + 1)),
        names=tuple(f"block {number} of {count}" for number in range(1, count + 1)),
    )


def layer_times_chart(record: LatencyRecord, room: int = WHOLE) -> Chart:
    """Return the median time of every layer in the order of execution, with names of at most ``room`` characters."""
    return Chart(
        label="Time of every layer in the order of execution",
        unit="ms",
        x_label="place in the order of execution",
        series=(Series("median of a layer", drawable(layer.median_ms for layer in record.layers), "accent", "bars"),),
        names=tuple(_named(layer, room) for layer in record.layers),
    )


def _named(layer: LayerLatency, room: int) -> str:
    name = shortened(layer.name, room)
    return f"{name} ({layer.precision})" if layer.precision else name
