"""What layer reports and diagnoses add to every report, and that a run without them reads as before."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from parity.layer_table import LayerReport, LayerRow, Role
from parity.report import LayerView, print_run, render, summary_json
from parity.report.html import report_html
from parity.report.layer_curve import layer_curve
from parity.report.layers import layer_lines, layer_tables, offenders_table, source_sentences
from parity.report.layers_csv import LAYERS_COLUMNS, layers_csv
from parity.report.markdown import summary_markdown
from parity.report.tables import outputs_csv
from parity.run_file import run_from_json, run_to_json
from parity.verdict import Verdict
from tests.html_page import Tags, without_assets
from tests.layer_examples import AGREEING, BLANK, DIAGNOSIS, FAILING, row
from tests.run_examples import EVERYTHING, attack_everywhere, make_run, save

if TYPE_CHECKING:
    from parity.report.charts import Chart
    from parity.results import Outcome

FAILED = replace(BLANK, verdict=Verdict.FAIL, headline="/block/conv2 makes 40", message="…\nnext: x", layers=FAILING)
RUN = make_run(FAILED)
ATTACK = "<script>alert('x')</script>{{ 7 * 7 }}```|\n](javascript:x)\x1b[2J"


class Pipe(io.StringIO):
    encoding = "utf-8"


def shown(*outcomes: Outcome, view: LayerView | None = None) -> str:
    stream = Pipe()
    print_run(make_run(*outcomes), Path("reports/x/report.html"), stream, view or LayerView())
    return stream.getvalue()


def test_a_run_without_layers_has_none_of_their_tables_files_or_styles() -> None:
    assert (layer_tables(EVERYTHING), layers_csv(EVERYTHING)) == ([], "")
    assert "data-chart" not in without_assets(report_html(EVERYTHING))
    assert "layers" not in summary_json(EVERYTHING, Path("x"))


def test_a_run_with_layers_and_diagnoses_survives_its_json() -> None:
    run = make_run(replace(FAILED, diagnoses=(DIAGNOSIS,), diagnosis_notes=("a rule was left out",)))
    assert run_from_json(run_to_json(run), "run.json") == run


def test_the_csv_has_every_field_of_every_row() -> None:
    frame = pd.read_csv(io.StringIO(layers_csv(RUN)), keep_default_na=False)
    assert list(frame.columns) == list(LAYERS_COLUMNS)
    assert list(frame["layer"]) == [one.layer for one in FAILING.rows]
    assert list(frame["source_rank"]) == ["", "2", "1", "3", ""]
    assert list(frame["inherited_sqnr_db"]) == [70.0, 20.0, 60.0, 5.0, math.inf]
    assert (frame["quantized_saturation_share"][0], frame["time_ms"][0], frame["lost_db"][1]) == ("0.25", "0.5", 50.0)
    spread = {"inherited", "injected", "quantized", "reference_range", "candidate_range"}
    plain = {field.name for field in fields(LayerRow)} - spread
    assert plain <= set(LAYERS_COLUMNS)
    assert {
        name for name in spread if not any(c.startswith(name.removesuffix("_range")) for c in LAYERS_COLUMNS)
    } == set()


def test_layers_have_their_own_table_and_no_row_among_outputs() -> None:
    assert len(outputs_csv(RUN).splitlines()) == len(outputs_csv(make_run()).splitlines())


def test_each_source_is_a_sentence_and_the_most_harmful_comes_first() -> None:
    sick, source, amplifier = source_sentences(FAILING)
    assert sick == (
        "/block/conv2 (Conv, fp16) makes 40 elements NaN or infinite, of finite ones; the reference's range is -1 … 2"
    )
    assert source == (
        "/block/conv1 (Conv, fp16) has 21.0 dB on the reference's own inputs, 51.0 dB beyond its floor; "
        "50 dB are lost in it"
    )
    assert amplifier == "/block/conv3 (Conv, fp16) makes the error that reaches it worse; 55 dB are lost in it"


def test_what_was_not_observed_is_counted_and_the_first_are_named() -> None:
    lines = layer_lines(FAILING)
    assert lines[0] == "99.9 % of the model's float tensors were observed, in 5 rows"
    assert lines[1].startswith("7 not observed: /loop0: 2 tensors")
    assert lines[1].endswith("; 2 more")
    assert lines[2] == FAILING.notes[0]


def test_an_invalid_report_says_so_first() -> None:
    from parity.layer_table import Validity

    invalid = replace(FAILING, validity=Validity.INVALID, validity_reason="y is 9 dB worse")
    assert layer_lines(invalid)[0] == "INVALID: what was observed is not what is shipped: y is 9 dB worse"


def test_sources_come_first_and_the_rest_in_the_asked_order() -> None:
    assert [cells[1] for cells in offenders_table(FAILING, LayerView()).rows] == [
        f"/block/conv{place}" for place in (2, 1, 3, 0, 4)
    ]
    assert len(offenders_table(FAILING, LayerView("lost", 2)).rows) == 2


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("graph", [0, 1, 2]),
        ("inherited", [1, 2, 0]),
        ("injected", [2, 0, 1]),
        ("gain", [1, 0, 2]),
        ("lost", [1, 2, 0]),
        ("time", [2, 1, 0]),
    ],
)
def test_rows_are_sorted_by_what_is_asked_and_what_was_not_measured_stands_last(sort: str, order: list[int]) -> None:
    error = row(0).inherited
    rows = (
        row(0, sqnr_db=70.0, gain_db=2.0, injected=replace(error, sqnr_db=60.0)),
        row(1, sqnr_db=30.0, gain_db=9.0, injected=None, time_ms=0.1),
        row(
            2, sqnr_db=25.0, inputs=(), gain_db=None, injected=replace(error, sqnr_db=50.0), time_ms=0.2, floor_db=50.0
        ),
    )
    if sort == "inherited":
        order = [2, 1, 0]
    found = offenders_table(LayerReport(rows, (), 1.0), LayerView(sort)).rows
    assert [cells[1] for cells in found] == [f"/block/conv{place}" for place in order]


def test_a_long_name_loses_its_beginning() -> None:
    long = row(0, layer="/model/" + "block/" * 9 + "conv")
    [[_, name, *_]] = offenders_table(LayerReport((long,), (), 1.0), LayerView()).rows
    assert len(name) == 36
    assert name.startswith("...")
    assert name.endswith("block/conv")


def test_the_terminal_shows_sources_coverage_and_the_offenders_within_its_width() -> None:
    text = shown(FAILED)
    assert "shapes / fp16@onnxruntime / layers" in text
    assert "5 of 5 layers; layers.csv has all figures of all" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_failure_has_its_causes_below_it() -> None:
    failed = replace(FAILED, diagnoses=(DIAGNOSIS,), diagnosis_notes=("rule x could not look",))
    text = shown(failed)
    assert "    cause: /block/conv2 leaves the half range (fp16-overflow, certainty 90 %)" in text
    assert "    remedy: keep /block/conv2 at fp32" in text
    assert "    left out: rule x could not look" in text
    read = json.loads(summary_json(make_run(failed), Path("x")))
    assert read["outcomes"][0]["diagnoses"][0]["cause"] == "fp16-overflow"
    assert read["outcomes"][0]["layers"]["sources"][0]["layer"] == "/block/conv2"


def test_markdown_and_html_have_sources_every_row_and_the_curve(tmp_path: Path) -> None:
    save(RUN, tmp_path)
    files = {file.name for file in render(tmp_path)}
    assert "layers.csv" in files
    markdown, page = summary_markdown(RUN), without_assets(report_html(RUN))
    assert "Layers of shapes / fp16" in markdown
    for text in (markdown, page):
        assert "Where error is born" in text
        assert all(observed.layer in text for observed in FAILING.rows)
    [(tag, place)] = [(tag, found) for tag, found in Tags(page).tags if "data-chart" in found]
    assert (tag, "data-filterable" in page) == ("figure", True)
    chart = json.loads(re.findall(r'id="charts">([^<]*)<', report_html(RUN))[0])[place["data-chart"]]
    assert f'<table id="{chart["table"]}"' in page


def curve_of(*rows: LayerRow) -> Chart | None:
    return layer_curve(LayerReport(rows, (), 1.0), "rows")


def test_the_curve_marks_sources_and_amplifiers_where_they_are() -> None:
    curve = layer_curve(FAILING, "rows")
    assert curve is not None
    marked = {marks.label: marks.at for marks in curve.marks}
    for name, role in (("source", Role.SOURCE), ("amplifier", Role.AMPLIFIER)):
        assert marked[name] == tuple(at for at, observed in enumerate(FAILING.rows) if observed.role is role)
        assert marked[name]
    assert {len(series.values) for series in curve.series} == {len(FAILING.rows)}


def test_the_tooltip_reads_what_a_reader_asks_for_from_the_table_below() -> None:
    curve = layer_curve(FAILING, "rows")
    assert curve is not None
    [table] = [table for table in layer_tables(RUN) if table.title.startswith("Layers of")]
    assert [table.headings[column] for column in curve.columns][:5] == [
        "layer",
        "role",
        "nodes",
        "operators",
        "precision",
    ]
    assert [table.headings[column] for column in curve.columns][-1] == "ms"


def test_a_layer_with_new_infinities_lies_at_the_bottom_and_better_is_higher() -> None:
    curve = layer_curve(FAILING, "rows")
    assert curve is not None
    levels = dict(zip((observed.layer for observed in FAILING.rows), curve.series[0].values, strict=True))
    assert levels["/block/conv2"] == 0.0
    assert levels["/block/conv4"] > levels["/block/conv0"] > levels["/block/conv1"] > 0.0


def test_equal_tensors_are_drawn_a_little_above_all_others() -> None:
    curve = curve_of(row(0, sqnr_db=math.inf), row(1, sqnr_db=50.0, floor_db=70.0))
    assert curve is not None
    assert curve.series[0].values[0] == max(70.0, row(0).floor_db) + 10.0


def test_a_level_that_was_not_measured_breaks_the_line_and_no_level_draws_nothing() -> None:
    curve = curve_of(row(0), row(1, Role.UNKNOWN, math.nan), row(2))
    assert curve is not None
    assert [level is None for level in curve.series[0].values] == [False, True, False]
    assert curve_of(row(0, sqnr_db=math.nan, floor_db=math.nan)) is None
    assert curve_of() is None


def test_names_of_a_model_are_text_everywhere() -> None:
    poisoned = attack_everywhere(make_run(replace(FAILED, diagnoses=(DIAGNOSIS,))), ATTACK)
    page = report_html(poisoned)
    assert "<script" not in without_assets(page)
    assert "\x1b" not in page + summary_markdown(poisoned) + layers_csv(poisoned) + shown(*poisoned.outcomes)


def test_a_report_that_agrees_has_no_table_of_sources() -> None:
    passed = make_run(replace(BLANK, verdict=Verdict.PASS, headline="all agree", layers=AGREEING))
    assert [table.title for table in layer_tables(passed)] == ["Layers of shapes / fp16@onnxruntime"]
