"""What latency adds to every report: figures as measured, foreign text harmless, and nothing claimed beyond it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from parity.latency_table import (
    GpuConditions,
    JudgedBudget,
    LatencyMode,
    LatencyRecord,
    LayerLatency,
    Measurement,
)
from parity.report import print_run, render, summary_json
from parity.report.figures import FORECAST_NOTE, verdict_line
from parity.report.html import report_html
from parity.report.latency import LATENCY_COLUMNS, latency_csv
from parity.report.markdown import summary_markdown
from parity.report.tables import outputs_csv
from parity.results import Outcome, Run
from parity.stats import summarize
from parity.verdict import Verdict
from tests.run_examples import FAILING, PASSING, attack_everywhere, make_run, save

ATTACK = "<script>alert('x')</script>{{ 7 * 7 }}```|\n](javascript:x)\x1b[2J"
TITLES = ("Latency", "Latency budgets", "How latency was measured", "Slowest layers")

MEASURED = Measurement(
    batch_size=8,
    gpu=summarize([1.0, 1.0, 1.25]),
    host=summarize([1.5, 1.5, 1.75]),
    enqueue=None,
    rows_per_s=5052.6,
    blocks_ms=(1.0, 1.25),
    conditions=GpuConditions("H200", 12, 1890, 1980, 1985, 55, 512.25, ("power cap",), 1),
    disturbances=("throttled: the GPU slowed its clocks (power cap)",),
)
BUDGET = JudgedBudget("ratio", 8, 0.75, 0.6, Verdict.FAIL, "worth its precision", "gpu", "fp32@tensorrt-8.6")
LAYERS = tuple(LayerLatency(place, f"layer {place}", 0.01 * place) for place in range(1, 13))
RECORD = LatencyRecord(LatencyMode(cuda_graph_asked=True), (MEASURED,), (BUDGET,), LAYERS, ("a note",))


class Pipe(io.StringIO):
    encoding = "utf-8"


def latency(verdict: Verdict = Verdict.FAIL, variant: str = "fp16@tensorrt-8.6", record: LatencyRecord | None = RECORD):
    return Outcome("shapes", variant, "fp16", "latency", verdict, "over budget", "a message", latency=record)


def terminal(run: Run) -> str:
    stream = Pipe()
    print_run(run, Path("reports/x/report.html"), stream)
    return stream.getvalue()


def test_the_table_has_a_row_for_each_clock_with_every_figure() -> None:
    rows = pd.read_csv(io.StringIO(latency_csv(make_run(latency()))), keep_default_na=False)
    assert tuple(rows.columns) == LATENCY_COLUMNS
    assert [(row.clock, row.median_ms, row.is_judged, row.transfers) for row in rows.itertuples()] == [
        ("gpu", 1.0, True, False),
        ("host", 1.5, False, True),
    ]
    assert set(rows.throttle_reasons) == {"power cap"}


def test_a_run_without_latency_has_no_such_file_and_none_of_its_tables(tmp_path: Path) -> None:
    save(make_run(PASSING), tmp_path)
    assert "latency.csv" not in {path.name for path in render(tmp_path)}
    assert not any(f"## {title}\n" in summary_markdown(make_run(PASSING)) for title in TITLES)


@pytest.mark.parametrize("write", [summary_markdown, report_html])
def test_pages_have_every_table(write) -> None:
    page = write(make_run(latency()))
    assert [title for title in TITLES if title not in page] == []
    for text in ("1890/1980/1985", "no CUDA graph", "worth its precision", "layer 12"):
        assert text in page
    assert "layer 2<" not in page.replace("layer 2 ", "layer 2<"), "only the slowest ten are shown"


def test_the_terminal_shows_the_figures_before_the_findings() -> None:
    shown = terminal(make_run(latency()))
    assert shown.index("5052.6") < shown.index("over budget")
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
    assert "<script>" not in page or write is not report_html
    tables = "".join(line for line in page.splitlines() if line.startswith("|"))
    assert "<script>" not in tables
