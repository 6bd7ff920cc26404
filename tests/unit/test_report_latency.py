"""What latency adds to every report: figures as measured, foreign text harmless, and nothing claimed beyond it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from parity.latency_table import (
    LatencyMode,
    LatencyRecord,
    Measurement,
)
from parity.layer_table import LayerError, LayerReport, LayerRow
from parity.report import print_run, render, summary_json
from parity.report.figures import FORECAST_NOTE, verdict_line
from parity.report.html import report_html
from parity.report.latency import LATENCY_COLUMNS, latency_csv
from parity.report.latency_gain import gain_notes, gain_table
from parity.report.latency_layers import slow_layers_table
from parity.report.markdown import summary_markdown
from parity.report.tables import outputs_csv
from parity.stats import summarize
from parity.verdict import Verdict
from tests.html_page import without_assets
from tests.latency_examples import MEASURED, RECORD, latency
from tests.run_examples import FAILING, PASSING, attack_everywhere, make_run, save

if TYPE_CHECKING:
    from parity.results import Outcome, Run

ATTACK = "<script>alert('x')</script>{{ 7 * 7 }}```|\n](javascript:x)\x1b[2J"
TITLES = ("Latency", "Latency budgets", "How latency was measured", "Rebuilds", "Slowest layers")


class Pipe(io.StringIO):
    encoding = "utf-8"


def terminal(run: Run) -> str:
    stream = Pipe()
    print_run(run, Path("reports/x/report.html"), stream)
    return stream.getvalue()


def test_the_table_has_a_row_for_each_clock_with_every_figure() -> None:
    rows = pd.read_csv(io.StringIO(latency_csv(make_run(latency()))), keep_default_na=False)
    assert tuple(rows.columns) == LATENCY_COLUMNS
    assert [(row.clock, row.median_ms, row.is_judged, row.transfers) for row in rows.itertuples()][:3] == [
        ("gpu", 1.0, True, False),
        ("host", 1.5, False, True),
        ("host_compute", 1.125, False, False),
    ]
    assert [row.build for row in rows.itertuples()] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert set(rows.throttle_reasons) == {"power cap"}


def test_a_run_without_latency_has_no_such_file_and_none_of_its_tables(tmp_path: Path) -> None:
    save(make_run(PASSING), tmp_path)
    assert "latency.csv" not in {path.name for path in render(tmp_path)}
    assert not any(f"## {title}\n" in summary_markdown(make_run(PASSING)) for title in TITLES)


@pytest.mark.parametrize("write", [summary_markdown, report_html])
def test_pages_have_every_table(write) -> None:
    page = without_assets(write(make_run(latency())))
    assert [title for title in TITLES if title not in page] == []
    for text in ("1890/1980/1985", "no CUDA graph", "worth its precision", "layer 12", "12 + Relu", "25.0%"):
        assert text in page
    assert "layer 2<" not in page.replace("layer 2 ", "layer 2<"), "only the slowest ten are shown"


def observed(node: str) -> LayerReport:
    error = LayerError(54.25, 0.1, 0.1, 1.0)
    row = LayerRow(
        *(3, "conv", (node,), ("Conv",), "t", (), "fp16", (1,), error, replace(error, sqnr_db=61.5)),
        *(None, 60.0, 1, 0, 0, (0.0, 1.0), (0.0, 1.0)),
    )
    return LayerReport((row,), (), 1.0)


def test_a_slow_layer_has_its_error_beside_it_where_the_same_run_observed_layers() -> None:
    layers = replace(latency(Verdict.PASS, record=None), check="layers", layers=observed("Conv_12"))
    elsewhere = replace(layers, variant="fp16@tensorrt-10.16")
    page = summary_markdown(make_run(latency(), layers))
    [line] = [line for line in page.splitlines() if "| layer 12 |" in line]
    assert [cell.strip() for cell in line.split("|")][-3:-1] == ["54.2", "61.5"]
    [other] = [line for line in page.splitlines() if "| layer 11 |" in line]
    assert [cell.strip() for cell in other.split("|")][-3:-1] == ["n/a", "n/a"]
    assert "own dB" not in slow_layers_table([latency(), elsewhere]).headings


def beside(host_ms: float, label: str, precision: str = "fp32", batch: int = 8) -> Outcome:
    found = Measurement(batch, None, summarize([host_ms] * 3), None, 1.0, (host_ms,))
    record = LatencyRecord(LatencyMode(), (found,))
    return replace(latency(Verdict.PASS, label, record), precision=precision)


@pytest.mark.parametrize("write", [summary_markdown, report_html, terminal])
def test_a_report_says_what_tensorrt_buys(write) -> None:
    calm = replace(RECORD, measurements=(replace(MEASURED, disturbances=()),))
    page = " ".join(write(make_run(latency(record=calm), beside(4.65, "fp32@onnxruntime-cuda"))).split())
    assert "is 3.1 times as fast as fp32@onnxruntime-cuda at batch 8: 1.5 ms against 4.65 ms" in page
    assert "host time, transfers included" in page


@pytest.mark.parametrize("write", [summary_markdown, report_html])
def test_pages_have_a_row_for_each_precision_that_an_engine_is_held_against(write) -> None:
    others = [beside(4.65, f"{name}@onnxruntime-cuda", name) for name in ("fp32", "fp16", "int8")]
    run = make_run(latency(), *others)
    rows = gain_table(run.outcomes).rows
    assert [(row[3], row[6]) for row in rows] == [("fp32@onnxruntime-cuda", "3.1"), ("fp16@onnxruntime-cuda", "3.1")]
    assert "What TensorRT buys" in write(run)
    assert "What TensorRT buys" not in without_assets(write(make_run(latency())))


def test_a_gain_is_told_of_engines_beside_float32_at_the_same_batch_alone() -> None:
    others = [
        beside(3.0, "fp32@onnxruntime", batch=4),
        beside(3.0, "fp16@onnxruntime-cuda", "fp16"),
        beside(3.0, "fp32@tensorrt-8.6"),
    ]
    assert gain_notes([latency(), *others]) == []
    overlapping = replace(RECORD, mode=LatencyMode(streams=2))
    assert gain_notes([latency(record=overlapping), beside(3.0, "fp32@onnxruntime")]) == []
    [(_, slower)] = gain_notes([latency(), beside(0.75, "fp32@onnxruntime")])
    assert slower.startswith("takes 2 times as long as fp32@onnxruntime")
    assert "readings were disturbed" in slower


def test_a_gain_without_transfers_is_told_where_both_sides_have_it() -> None:
    own, other = latency(), beside(4.65, "fp32@onnxruntime-cuda")
    assert own.latency is not None
    assert other.latency is not None

    def without(outcome: Outcome, record: LatencyRecord, ms: float | None) -> Outcome:
        statistics = summarize([ms]) if ms else None
        found = replace(record.measurements[0], host_compute=statistics)
        return replace(outcome, latency=replace(record, measurements=(found,)))

    engine, provider = without(own, own.latency, 0.5), without(other, other.latency, 4.0)
    [(_, told)] = gain_notes([engine, provider])
    assert told.endswith("; without transfers 0.5 ms against 4 ms, a factor of 8")
    row = ("shapes", engine.variant, "8", other.variant, "1.5", "4.65", "3.1", "0.5", "4", "8")
    assert gain_table([engine, provider]).rows == (row,)
    plain = without(other, other.latency, None)
    [(_, told)] = gain_notes([engine, plain])
    assert "without transfers" not in told
    assert gain_table([engine, plain]).rows == ((*row[:7], "n/a", "n/a", "n/a"),)


def test_the_terminal_shows_the_figures_before_the_findings() -> None:
    shown = terminal(make_run(latency()))
    assert shown.index("5052.6") < shown.index("25.0%") < shown.index("over budget")
    assert max(map(len, shown.splitlines())) <= 100


def test_json_has_the_figures_and_the_budgets() -> None:
    [outcome] = json.loads(summary_json(make_run(latency()), Path("x")))["outcomes"]
    assert outcome["latency"]["measurements"][0]["median_ms"] == 1.0
    assert outcome["latency"]["budgets"][0]["limit"] == 0.6


def test_what_was_measured_is_no_row_of_outputs_and_what_could_not_be_is_one() -> None:
    broken = latency(Verdict.ERROR, "int8@tensorrt-8.6", None)
    rows = pd.read_csv(io.StringIO(outputs_csv(make_run(latency(), broken))), keep_default_na=False)
    assert list(rows.variant) == ["int8@tensorrt-8.6"]


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ([latency(Verdict.PASS)], "every budget is kept"),
        ([latency(Verdict.FAIL)], "a budget is exceeded"),
        ([latency(Verdict.PASS, record=LatencyRecord(LatencyMode(), (MEASURED,)))], "measured; no budget judges it"),
        ([latency(Verdict.INCONCLUSIVE)], "not everything could be judged"),
        ([latency(Verdict.PASS), FAILING], "a disagreement was found"),
    ],
)
def test_the_verdict_claims_what_was_judged_and_no_more(outcomes: list[Outcome], words: str) -> None:
    assert verdict_line(make_run(*outcomes)).startswith(words)


def test_a_time_in_onnxruntime_is_no_forecast() -> None:
    assert FORECAST_NOTE not in terminal(make_run(latency(variant="fp32@onnxruntime")))


@pytest.mark.parametrize("write", [summary_markdown, report_html, terminal, latency_csv])
def test_no_text_of_a_run_becomes_markup(write) -> None:
    page = write(attack_everywhere(make_run(latency()), ATTACK))
    assert "\x1b" not in page
    assert "<script>" not in without_assets(page) or write is not report_html
    tables = "".join(line for line in page.splitlines() if line.startswith("|"))
    assert "<script>" not in tables
