"""What engines add to every report, and that a run without engines reads as before."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from parity.pytest_cases import figures_of
from parity.report import print_run, render, summary_json
from parity.report.engines import engine_tables
from parity.report.html import report_html
from parity.report.markdown import summary_markdown
from parity.report.tables import (
    CENSUS_COLUMNS,
    ENGINE_COLUMNS,
    INVARIANTS_COLUMNS,
    OUTPUT_COLUMNS,
    census_csv,
    invariants_csv,
    outputs_csv,
)
from parity.run_file import run_from_json, run_to_json
from parity.verdict import Verdict
from tests.html_page import Tags, without_assets
from tests.run_examples import (
    BROKEN,
    CENSUS,
    ENGINE,
    ENGINES,
    EVERYTHING,
    INVARIANTS,
    JUDGED_ENGINE,
    PASSING,
    TRIANGULATED,
    attack_everywhere,
    make_run,
    save,
)

ATTACK = "<script>alert('x')</script>{{ 7 * 7 }}```|\n](javascript:x)\x1b[2J"
TITLES = ("Whose error it is", "Census", "Invariants", "Engines", "What TensorRT said", "Interpreters of TensorRT")


class Pipe(io.StringIO):
    encoding = "utf-8"


def shown(*outcomes) -> str:
    stream = Pipe()
    print_run(make_run(*outcomes), Path("reports/x/report.html"), stream)
    return stream.getvalue()


def frame(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), keep_default_na=False)


def test_a_run_with_engines_survives_its_json() -> None:
    read = run_from_json(run_to_json(ENGINES), "run.json")
    assert run_to_json(read) == run_to_json(ENGINES)
    assert (read.environment, read.outcomes[1], read.outcomes[3]) == (ENGINES.environment, INVARIANTS, CENSUS)


def test_a_run_without_engines_has_none_of_their_tables_columns_or_files(tmp_path: Path) -> None:
    assert engine_tables(EVERYTHING) == []
    assert outputs_csv(EVERYTHING).splitlines()[0] == ",".join(OUTPUT_COLUMNS)
    assert (census_csv(EVERYTHING), invariants_csv(EVERYTHING)) == ("", "")
    assert set(json.loads(summary_json(make_run(PASSING), tmp_path))["outcomes"][0]) & {"engine", "census"} == set()
    save(EVERYTHING, tmp_path)
    assert {path.name for path in render(tmp_path)} == {"outputs.csv", "summary.md", "report.html"}


def test_census_and_invariants_are_files_beside_the_others(tmp_path: Path) -> None:
    save(ENGINES, tmp_path)
    names = {path.name for path in render(tmp_path)}
    assert names == {"outputs.csv", "census.csv", "invariants.csv", "summary.md", "report.html"}


@pytest.mark.parametrize("title", TITLES)
def test_every_table_of_engines_stands_in_markdown_and_html(title: str) -> None:
    assert [table.title for table in engine_tables(ENGINES)] == list(TITLES)
    assert f"\n## {title}\n" in summary_markdown(ENGINES)
    # Of one variant there is one engine, shown as names and values.
    assert title.removesuffix("s") in without_assets(report_html(ENGINES))


@pytest.mark.parametrize(
    "text",
    ["60.2", "cdcdcdcdcdcdcdcd", "12.3", "weak", "subnormal-weights", "NVIDIA H200", "equal bit for bit", "43.7",
     "no input is dynamic", "not seen", "1.125", "the timing cache was new", "stride = 32", "tensorrt 8.6.1", "fp16"],
)  # fmt: skip
def test_what_is_known_of_an_engine_is_told_in_markdown_and_html(text: str) -> None:
    assert text in summary_markdown(ENGINES)
    assert text in report_html(ENGINES)


def test_rows_of_every_table_have_a_cell_for_each_heading() -> None:
    for table in engine_tables(ENGINES):
        assert {len(row) for row in table.rows} == {len(table.headings)}
        assert max(table.numeric) < len(table.headings)


def test_an_engine_that_three_checks_share_is_told_once() -> None:
    [table] = [table for table in engine_tables(ENGINES) if table.title == "Engines"]
    assert len(table.rows) == 1


def test_the_matrix_has_a_row_for_each_check_where_there_are_several() -> None:
    for run, names in ((ENGINES, ["shapes", "outputs", "census", "invariants"]), (EVERYTHING, ["shapes"])):
        rows = re.findall(r'<th scope="row">(.*?)</th>', report_html(run))
        assert [Tags(row).text for row in rows] == names


def test_no_string_of_an_engine_becomes_markup() -> None:
    poisoned = attack_everywhere(ENGINES, ATTACK)
    html, markdown = report_html(poisoned), summary_markdown(poisoned)
    assert "<script" not in without_assets(html)
    assert html.count("&lt;script&gt;") > 60
    outside = re.sub(r"(?ms)^(`{3,})text\n.*?^\1\n", "", markdown)
    assert re.search(r"(?<!\\)<", outside) is None
    assert "\x1b" not in html + markdown + shown(*poisoned.outcomes)


def test_markdown_stays_below_its_limit_and_counts_the_rows_it_leaves_out() -> None:
    laws = tuple(replace(INVARIANTS.invariants[0], detail="ü" * 500) for _ in range(500))
    many = [replace(INVARIANTS, case=f"case {i}", invariants=laws) for i in range(3)]
    summary = summary_markdown(make_run(*many, JUDGED_ENGINE), max_bytes=60_000)
    assert len(summary.encode()) < 60_000
    assert re.search(r"^[\d,]+ more rows are in report\.html\.$", summary, re.M)


def test_the_terminal_tells_errors_apart_and_other_checks_in_tables_of_their_own() -> None:
    lines = shown(JUDGED_ENGINE, CENSUS, INVARIANTS, PASSING).splitlines()
    heads = [i for i, line in enumerate(lines) if line.startswith("case ")]
    assert [lines[i].split()[2] for i in heads] == ["verdict", "output", "check"]
    assert lines[heads[1] + 2].split() == ["shapes", "fp16@tensorrt-8.6", "logits", "60.2", "31.5", "31.5", "engine"]
    assert lines[heads[2] + 2].split()[:5] == ["shapes", "fp16@tensorrt-8.6", "census", "✗", "fail"]
    assert "2 hold, 1 do not apply" in lines[heads[2] + 3]


def test_terminal_tables_fit_100_columns_whatever_the_names() -> None:
    def longer(outcome):
        tensors = tuple(replace(tensor, output="output_" * 30) for tensor in outcome.tensors)
        names = {"case": "case_" * 20, "variant": "variant_" * 20 + "@tensorrt-8.6", "headline": "word " * 90}
        return replace(outcome, **names, tensors=tensors)

    text = shown(*map(longer, (JUDGED_ENGINE, CENSUS, INVARIANTS)))
    tables = text.split("✗ case_")[0]
    assert max(map(len, tables.splitlines())) <= 100
    assert "60.2" in tables


def test_a_run_of_census_alone_has_no_empty_table_of_outputs() -> None:
    assert "worst output" not in shown(CENSUS)


def test_outputs_csv_has_the_three_distances_and_the_engine() -> None:
    text = outputs_csv(ENGINES)
    assert text.splitlines()[0] == ",".join((*OUTPUT_COLUMNS, *ENGINE_COLUMNS))
    rows = frame(text)
    assert list(rows.check) == ["outputs", "outputs"]
    row = rows[rows.variant == JUDGED_ENGINE.variant].iloc[0]
    assert (row.conversion_sqnr_db, row.engine_sqnr_db, row.total_sqnr_db) == ("60.25", "31.5", "31.47")
    assert (row.blames_engine, row.unwritten_count, row.engine_sha256) == ("True", 2, ENGINE.sha256)


def test_census_csv_has_a_row_for_each_precision_and_every_figure() -> None:
    rows = frame(census_csv(ENGINES))
    assert tuple(rows.columns) == CENSUS_COLUMNS
    assert list(rows.precision) == ["fp32", "fp16", "none"]
    assert (rows.arithmetic_count[0], rows.arithmetic_time_ms[0], rows.minimum_share[0]) == (10, "1.125", 0.5)


def test_invariants_csv_has_a_row_for_each_law_and_every_figure() -> None:
    rows = frame(invariants_csv(ENGINES))
    assert tuple(rows.columns) == INVARIANTS_COLUMNS
    assert list(rows.verdict) == ["pass", "pass", "skipped"]
    assert (rows.sqnr_db[0], rows.floor_db[1], rows.engine_sha256[0]) == ("inf", "43.7", ENGINE.sha256)


def test_a_census_that_could_not_be_taken_keeps_its_row_in_outputs_csv() -> None:
    rows = frame(outputs_csv(make_run(replace(BROKEN, check="census"))))
    assert list(rows.check) == ["census"]


def test_machine_summary_has_engine_distances_census_and_laws() -> None:
    summary = json.loads(summary_json(ENGINES, Path("reports/x")))
    by_check = {outcome["check"]: outcome for outcome in summary["outcomes"] if "@tensorrt" in outcome["variant"]}
    assert {outcome["engine"]["sha256"] for outcome in by_check.values()} == {ENGINE.sha256}
    [output] = by_check["outputs"]["outputs"]
    assert output["triangulation"]["conversion_sqnr_db"] == 60.25
    assert output["triangulation"]["blames_engine"] is True
    assert output["unwritten_count"] == 2
    assert by_check["census"]["census"]["arithmetic_layers"] == {"fp32": 10, "fp16": 2, "none": 0}
    assert by_check["invariants"]["invariants"]["profile corners"] == "skipped"


def test_junit_properties_carry_the_engines_hash_distances_shares_and_laws() -> None:
    figures = dict(figures_of(JUDGED_ENGINE))
    assert figures["engine.sha256"] == ENGINE.sha256
    assert (figures["logits.conversion_sqnr_db"], figures["logits.blames_engine"]) == (60.25, True)
    assert dict(figures_of(CENSUS))["census.share"] == CENSUS.census.share
    assert dict(figures_of(INVARIANTS))["invariant.permuted rows"] == Verdict.PASS
    assert not any(name.startswith("engine.") for name, _ in figures_of(PASSING))


@pytest.mark.parametrize(
    ("blames_engine", "verdict", "blamed"),
    [
        (True, Verdict.FAIL, "engine"),
        (True, Verdict.PASS, "engine"),
        (False, Verdict.FAIL, "precision"),
        (False, Verdict.PASS, "nobody"),
    ],
)
def test_whoever_is_to_blame_is_named(blames_engine: bool, verdict: Verdict, blamed: str) -> None:
    distances = replace(TRIANGULATED.triangulation, blames_engine=blames_engine)
    tensor = replace(TRIANGULATED, triangulation=distances, verdict=verdict)
    [origin, *_] = engine_tables(make_run(replace(JUDGED_ENGINE, tensors=(tensor,))))
    assert [row[-1] for row in origin.rows] == [blamed]
