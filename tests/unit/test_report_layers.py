"""What layer reports and diagnoses add to every report, and that a run without them reads as before."""

from __future__ import annotations

import io
import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pandas as pd
import pytest

from parity.layer_table import LayerReport, LayerRow, Role
from parity.report import LayerView, print_run, render, summary_json
from parity.report.html import report_html
from parity.report.layer_curve import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, layer_curve
from parity.report.layers import layer_lines, layer_tables, offenders_table, source_sentences
from parity.report.layers_csv import LAYERS_COLUMNS, layers_csv
from parity.report.markdown import summary_markdown
from parity.report.tables import outputs_csv
from parity.results import run_from_json, run_to_json
from parity.verdict import Verdict
from tests.layer_examples import AGREEING, BLANK, DIAGNOSIS, FAILING, row
from tests.run_examples import EVERYTHING, attack_everywhere, make_run, save

if TYPE_CHECKING:
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
    assert "<svg" not in report_html(EVERYTHING)
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
    markdown, page = summary_markdown(RUN), report_html(RUN)
    for text in (markdown, page):
        assert "Where error is born" in text
        assert "Layers of shapes / fp16" in text
    assert page.count('class="source"') == 2
    assert page.count('class="amplifier"') == 1
    assert page.count('class="layer"') == 2
    assert "<script" not in page


def test_the_curve_is_well_formed_and_lies_inside_its_box() -> None:
    page = report_html(RUN)
    drawing = ET.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    for circle in drawing.iter("circle"):
        assert LEFT <= float(circle.attrib["cx"]) <= WIDTH
        assert TOP <= float(circle.attrib["cy"]) <= HEIGHT - BOTTOM
    titles = [title.text for title in drawing.iter("title")]
    assert len(titles) == len(FAILING.rows)


def test_a_layer_with_new_infinities_lies_at_the_bottom_and_better_is_higher() -> None:
    curve = layer_curve(FAILING)
    assert curve is not None
    heights = {mark.title.split(":")[0]: mark.y for mark in curve.marks}
    assert heights["2 /block/conv2"] == HEIGHT - BOTTOM
    assert heights["4 /block/conv4"] < heights["0 /block/conv0"] < heights["1 /block/conv1"] < HEIGHT - BOTTOM


def test_a_level_that_was_not_measured_breaks_the_line_and_no_level_draws_nothing() -> None:
    rows = (row(0), row(1, Role.UNKNOWN, math.nan), row(2))
    curve = layer_curve(LayerReport(rows, (), 1.0))
    assert curve is not None
    assert (len(curve.inherited), len(curve.floor)) == (2, 1)
    assert layer_curve(LayerReport((row(0, sqnr_db=math.nan, floor_db=math.nan),), (), 1.0)) is None
    assert layer_curve(LayerReport((), (), 0.0)) is None


def test_names_of_a_model_are_text_everywhere() -> None:
    poisoned = attack_everywhere(make_run(replace(FAILED, diagnoses=(DIAGNOSIS,))), ATTACK)
    page = report_html(poisoned)
    assert "<script" not in page
    assert "\x1b" not in page + summary_markdown(poisoned) + layers_csv(poisoned) + shown(*poisoned.outcomes)


def test_a_report_that_agrees_has_no_table_of_sources() -> None:
    passed = make_run(replace(BLANK, verdict=Verdict.PASS, headline="all agree", layers=AGREEING))
    assert [table.title for table in layer_tables(passed)] == ["Layers of shapes / fp16@onnxruntime"]
