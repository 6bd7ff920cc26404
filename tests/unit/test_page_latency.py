"""Latencies of a page against NumPy's figures of the same readings."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import numpy as np
import pytest

from parity.backends.engine import EngineTiming, LayerTime
from parity.checks.latency import layer_latencies, measurement_of
from parity.latency_table import LatencyMode, LatencyRecord
from parity.report.html import report_html
from parity.verdict import Verdict
from tests.latency_examples import latency
from tests.page_reading import PageText, number
from tests.run_examples import make_run

# Of so many readings, every percentile that trtexec counts in float32 is the one that exact numbers give.
COUNT, BATCH = 1003, 8


@dataclass(frozen=True)
class Timed:
    """A page, and the readings it was made of, in ms: of the GPU, of the host, and of layers (layers, iterations)."""

    text: str
    gpu: np.ndarray
    host: np.ndarray
    layers: np.ndarray


@pytest.fixture(scope="module")
def timed() -> Timed:
    random = np.random.default_rng(7)
    gpu = 1.5 * random.lognormal(0, 0.1, COUNT)
    host = gpu + 0.4 * random.lognormal(0, 0.2, COUNT)
    layers = random.lognormal(0, 1, (14, 1)) * random.lognormal(0, 0.1, (14, 21))
    found = measurement_of(EngineTiming(gpu_ms=tuple(gpu), host_ms=tuple(host)), BATCH, BATCH)
    profile = layer_latencies([LayerTime(f"layer {place}", tuple(times)) for place, times in enumerate(layers)])
    record = LatencyRecord(LatencyMode(), (found,), (), profile)
    return Timed(report_html(make_run(latency(Verdict.PASS, record=record))), gpu, host, layers)


def test_percentiles_of_a_page_are_those_of_the_readings(timed: Timed) -> None:
    page = PageText(timed.text)
    table = page.tables["Latency"]
    expected = {
        "median": np.median(timed.gpu),
        **{f"p{percent}": np.percentile(timed.gpu, percent, method="inverted_cdf") for percent in (90, 95, 99)},
        "host median": np.median(timed.host),
    }
    for heading, value in expected.items():
        assert number(table.cell(str(BATCH), heading)) == pytest.approx(value, abs=0.000501), heading
    assert table.cell(str(BATCH), "cv") == f"{timed.gpu.std() / timed.gpu.mean():.1%}"
    assert number(table.cell(str(BATCH), "rows/s")) == pytest.approx(BATCH * 1000 / timed.host.mean(), abs=0.051)
    bars = {label: number(value) for (title, label), value in page.bars.items() if title.startswith(f"Batch {BATCH}")}
    ends = {"fastest": timed.gpu.min(), "90 %": expected["p90"], "99 %": expected["p99"], "slowest": timed.gpu.max()}
    assert {name: bars[name] for name in ends} == pytest.approx(ends, abs=0.000501)


def test_the_chart_of_a_measurement_has_the_medians_of_its_blocks(timed: Timed) -> None:
    [data] = re.findall(r'<script type="application/json" id="charts">([^<]*)</script>', timed.text)
    [chart] = [chart for name, chart in json.loads(data).items() if "blocks" in name]
    blocks, whole = (series["values"] for series in chart["series"])
    # As even as they can be: the first ones have a reading more.
    sizes = [COUNT // 30 + (place < COUNT % 30) for place in range(30)]
    medians = [np.median(part) for part in np.split(timed.gpu, np.cumsum(sizes)[:-1])]
    assert blocks == pytest.approx(medians, rel=1e-4)
    assert whole == pytest.approx([np.median(timed.gpu)] * 30, rel=1e-4)


def test_slow_layers_of_a_page_are_the_slowest_with_their_share_of_all(timed: Timed) -> None:
    table = PageText(timed.text).tables["Slowest layers"]
    medians = np.median(timed.layers, axis=1)
    slowest = np.argsort(-medians)[:10]
    assert table.column("place") == [str(place) for place in slowest]
    assert [number(text) for text in table.column("ms")] == pytest.approx(medians[slowest], rel=5.1e-4)
    shares = 100 * medians[slowest] / medians.sum()
    assert [float(text.removesuffix("%")) for text in table.column("share")] == pytest.approx(shares, abs=0.051)
