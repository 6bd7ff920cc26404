"""What decoded results add to every report, and that a run without them reads as before."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from parity.agreement import ClassAgreement, Figure, JudgedFigure
from parity.decoded import Task
from parity.report import print_run, render
from parity.report.decoded import allowed_text, decoded_tables, figure_text
from parity.report.decoded_csv import DETECTIONS_COLUMNS, FIGURES_COLUMNS, detections_csv, figures_csv
from parity.report.decoded_headlines import HEADLINES
from parity.report.html import report_html
from parity.report.markdown import summary_markdown
from parity.report.pictures import embedded_pictures
from parity.report.tables import outputs_csv
from parity.run_file import run_from_json, run_to_json
from parity.verdict import Verdict
from tests.decoded_examples import CLASSIFIED, DECODED, DECODED_RUN, RECORD, save_pictures
from tests.html_page import without_assets
from tests.run_examples import BROKEN, EVERYTHING, PASSING, attack_everywhere, make_run, save

if TYPE_CHECKING:
    from parity.results import Outcome

ATTACK = "<script>alert('x')</script>{{ 7 * 7 }}```|\n](javascript:x)\x1b[2J"
TITLES = ("Decoded results", "Findings", "Agreement by class", "Least agreeing images")


class Pipe(io.StringIO):
    encoding = "utf-8"


def shown(*outcomes: Outcome) -> str:
    stream = Pipe()
    print_run(make_run(*outcomes), Path("reports/x/report.html"), stream)
    return stream.getvalue()


def frame(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), keep_default_na=False)


def test_a_run_with_decoded_results_survives_its_json() -> None:
    read = run_from_json(run_to_json(DECODED_RUN), "run.json")
    assert run_to_json(read) == run_to_json(DECODED_RUN)
    assert read.outcomes[1:] == (CLASSIFIED, DECODED)


def test_a_run_without_decoded_results_has_none_of_their_tables_files_or_styles(tmp_path: Path) -> None:
    assert decoded_tables(EVERYTHING.outcomes) == []
    assert (figures_csv(EVERYTHING), detections_csv(EVERYTHING)) == ("", "")
    assert "figcaption" not in without_assets(report_html(EVERYTHING))
    save(EVERYTHING, tmp_path)
    assert {path.name for path in render(tmp_path)} == {"outputs.csv", "summary.md", "report.html"}


def test_figures_and_findings_are_files_beside_the_others_and_the_page_is_last(tmp_path: Path) -> None:
    save(DECODED_RUN, tmp_path)
    save_pictures(tmp_path)
    names = [path.name for path in render(tmp_path)]
    assert set(names) == {"outputs.csv", "figures.csv", "detections.csv", "summary.md", "report.html"}
    assert names[-1] == "report.html"


@pytest.mark.parametrize("title", TITLES)
def test_every_table_of_decoded_results_stands_in_markdown_and_html(title: str) -> None:
    assert [table.title for table in decoded_tables(DECODED_RUN.outcomes)] == list(TITLES)
    assert f"\n## {title}\n" in summary_markdown(DECODED_RUN)
    assert f"<h5>{title}</h5>" in report_html(DECODED_RUN)


@pytest.mark.parametrize(
    "text",
    ["12.5 %", "≤ 2 %", "✗ fail", "? inconclusive", "-0.01 … 0.01", "a release may lose a point", "0.9877", "3.25 px",
     "1,024", "2 of 132", "cat 0.910 at 12.0, 8.5 … 40.0, 33.1", "class flip", "reference 7, candidate 6, missed 1",
     "4 boxes are borderline"],
)  # fmt: skip
def test_what_is_known_of_decoded_results_is_told_in_markdown_and_html(text: str) -> None:
    assert text in summary_markdown(DECODED_RUN)
    assert text in report_html(DECODED_RUN)


@pytest.mark.parametrize("has_place", [True, False])
def test_rows_of_every_table_have_a_cell_for_each_heading(has_place: bool) -> None:
    for table in decoded_tables(DECODED_RUN.outcomes, has_place=has_place):
        assert {len(row) for row in table.rows} == {len(table.headings)}
        assert max(table.numeric) < len(table.headings)
        numbers = [row[column] for row in table.rows for column in table.numeric]
        assert not any(re.search(r"[a-z]{4}", number) for number in numbers), table.title


def test_what_a_class_was_not_measured_on_reads_as_not_measured() -> None:
    [classes] = [table for table in decoded_tables([DECODED], has_place=False) if table.title == "Agreement by class"]
    assert classes.rows == (("cat", "0.5", "n/a"), ("dog", "1", "n/a"))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "share", "n/a"), (0.125, "share", "12.5 %"), (1.0, "share", "100 %"), (0.00001, "share", "0.001 %"),
        (3.0, "count", "3"), (12345.0, "count", "12,345"), (3.25, "px", "3.25 px"), (0.5, "ap", "0.5"),
        (math.nan, "iou", "nan"), (math.inf, "count", "inf"),
    ],
)  # fmt: skip
def test_figures_read_in_their_unit(value: float | None, unit: str, text: str) -> None:
    assert figure_text(value, unit) == text


@pytest.mark.parametrize(
    ("minimum", "maximum", "text"),
    [(None, None, ""), (None, 0.02, "≤ 2 %"), (0.9, None, "≥ 90 %"), (0.0, 0.02, "0 % … 2 %")],
)
def test_gates_read_as_what_they_allow(minimum: float | None, maximum: float | None, text: str) -> None:
    assert allowed_text(JudgedFigure(Figure("x", 0.0, "share"), minimum, maximum)) == text


def test_the_terminal_has_a_table_for_each_task_and_marks_what_its_gate_does_not_let_pass() -> None:
    lines = shown(DECODED, CLASSIFIED, PASSING).splitlines()
    heads = {line.split()[3]: number for number, line in enumerate(lines) if line.startswith("case ")}
    assert set(heads) == {"worst", "missed", "top-1"}
    assert lines[heads["missed"] + 2].split()[2:] == ["✗", "fail", "✗", "12.5", "%", "n/a", "n/a", "0.9877", "n/a"]
    assert lines[heads["top-1"] + 2].split()[2:] == ["✓", "pass", "100", "%", "n/a", "n/a", "n/a"]
    assert "4 boxes are borderline" in "\n".join(lines)


def test_the_terminal_names_the_worst_finding_of_a_failure_below_what_its_gate_says() -> None:
    failed = replace(DECODED, headline="missed_share is 0.125")
    lines = shown(failed).splitlines()
    at = next(number for number, line in enumerate(lines) if "missed_share is 0.125" in line)
    assert lines[at + 1] == "    worst: street.jpg: the candidate misses cat 0.910"
    assert "worst: " not in shown(replace(failed, verdict=Verdict.INCONCLUSIVE))


def test_a_decoded_check_that_could_not_be_judged_stands_among_the_checks_and_in_outputs_csv() -> None:
    undecided = replace(BROKEN, check="decoded", headline="outputs do not fit their decoder")
    text = shown(undecided, DECODED)
    assert re.search(r"decoded +! error +outputs do not fit", text)
    assert list(frame(outputs_csv(make_run(undecided, DECODED, PASSING))).check) == ["decoded", "outputs"]


def test_every_task_has_leading_figures() -> None:
    assert set(HEADLINES) == set(Task)


@pytest.mark.parametrize("task", Task)
def test_terminal_tables_fit_100_columns_whatever_the_names(task: Task) -> None:
    figures = tuple(
        JudgedFigure(Figure(name, 0.123456789, "share"), 0.0, 0.0, Verdict.INCONCLUSIVE)
        for name in HEADLINES[task].values()
    )
    long = replace(
        DECODED,
        case="case_" * 20,
        variant="variant_" * 20 + "@tensorrt-8.6",
        verdict=Verdict.INCONCLUSIVE,
        decoded=replace(RECORD, task=task, figures=figures),
    )
    table = shown(long).split("? case_")[0]
    assert max(map(len, table.splitlines())) <= 100
    assert table.count("12.35 %") == len(figures)


def test_figures_csv_has_a_row_for_each_figure_of_all_and_of_a_class() -> None:
    rows = frame(figures_csv(DECODED_RUN))
    assert tuple(rows.columns) == FIGURES_COLUMNS
    assert len(rows) == 1 + len(RECORD.figures) + 3
    [missed] = rows[rows.figure == "missed_share"].to_dict("records")
    assert (missed["value"], missed["maximum"], missed["minimum"]) == ("0.125", "0.02", "")
    assert (missed["verdict"], missed["unit"], missed["reason"], missed["class"]) == (
        "fail",
        "share",
        "default for fp16",
        "",
    )
    [drop] = rows[rows.figure == "true_ap_drop"].to_dict("records")
    assert (drop["value"], drop["verdict"]) == ("", "inconclusive")
    assert list(rows[rows["class"] == "cat"].figure) == ["matched_share", "ap"]


def test_detections_csv_has_a_row_for_each_finding_with_both_boxes() -> None:
    rows = frame(detections_csv(DECODED_RUN))
    assert tuple(rows.columns) == DETECTIONS_COLUMNS
    missed, flip = rows.to_dict("records")
    assert (missed["kind"], missed["reference_class"], missed["reference_y2"]) == ("missed", "cat", 33.125)
    assert (missed["candidate_class"], missed["candidate_score"]) == ("", "")
    assert (flip["candidate_class"], flip["candidate_x1"], flip["candidate_score"]) == ("dog", "13.0", "0.88")
    assert (flip["image"], flip["severity"], flip["case"]) == ("street.jpg", 0.88, "shapes")


def test_a_run_whose_decoded_results_agree_has_a_table_of_findings_without_rows() -> None:
    assert detections_csv(make_run(CLASSIFIED)) == ",".join(DETECTIONS_COLUMNS) + "\n"


@pytest.mark.parametrize("name", ["=1+1", "@cmd", "+1", "-1|cmd", "=cmd|' /C calc'!A0"])
def test_a_class_that_a_spreadsheet_would_run_is_quoted(name: str) -> None:
    poisoned = attack_everywhere(make_run(DECODED), name)
    for text in (figures_csv(poisoned), detections_csv(poisoned)):
        cells = [cell for row in frame(text).to_numpy().tolist() for cell in row if isinstance(cell, str)]
        assert sum(cell.startswith(f"'{name}") for cell in cells) > 5
        assert not any(cell.startswith(name) for cell in cells)


def test_no_string_of_decoded_results_becomes_markup(tmp_path: Path) -> None:
    poisoned = attack_everywhere(DECODED_RUN, ATTACK)
    html, markdown = report_html(poisoned, embedded_pictures(poisoned, tmp_path)), summary_markdown(poisoned)
    assert "<script" not in without_assets(html)
    assert html.count("&lt;script&gt;") > 40
    outside = re.sub(r"(?ms)^(`{3,})text\n.*?^\1\n", "", markdown)
    assert re.search(r"(?<!\\)<", outside) is None
    assert re.search(r"(?<!\\)\]", outside) is None
    assert "\x1b" not in html + markdown + shown(*poisoned.outcomes)


def test_the_name_of_a_figure_of_a_class_is_a_heading_and_no_markup() -> None:
    hostile = replace(RECORD, classes=(ClassAgreement("cat", {"<b>|x": 1.0}),))
    run = make_run(replace(DECODED, decoded=hostile))
    assert r"\<b\>\|x" in summary_markdown(run)
    assert "&lt;b&gt;|x" in report_html(run)


def test_markdown_stays_below_its_limit_and_counts_the_findings_it_leaves_out() -> None:
    many = replace(RECORD, findings=RECORD.findings * 500)
    summary = summary_markdown(make_run(replace(DECODED, decoded=many)), max_bytes=30_000)
    assert len(summary.encode()) < 30_000
    assert re.search(r"^[\d,]+ more rows are in report\.html\.$", summary, re.M)


def test_reasons_beyond_the_headline_are_told_in_html() -> None:
    record = replace(RECORD, reasons=("first reason", "second reason"))
    html = report_html(make_run(replace(DECODED, decoded=record)))
    assert "<p>second reason</p>" in html
    assert "<p>first reason</p>" not in html
