from __future__ import annotations

import errno
import math
import re
from dataclasses import fields, replace
from pathlib import Path

import pandas as pd
import pytest

from parity.difference import TensorDifference
from parity.errors import RunError
from parity.report import render, summary_json
from parity.report.html import report_html
from parity.report.markdown import MAX_BYTES, summary_markdown
from parity.report.tables import OUTPUT_COLUMNS, outputs_csv
from tests.html_page import Tags, without_assets
from tests.layer_examples import BLANK, DIAGNOSIS, row
from tests.layer_examples import FAILING as FAILED_LAYERS
from tests.run_examples import (
    BROKEN,
    DIFFERENCE,
    EVERYTHING,
    FAILING,
    GOOD_TENSOR,
    PASSING,
    TENSOR,
    attack_everywhere,
    make_run,
    save,
)

ATTACK = "<script>alert('x')</script><img src=x onerror=\"alert(1)\">{{ 7 * 7 }}```|\n](javascript:x)\x1b[2J"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(EVERYTHING, tmp_path)
    return tmp_path


@pytest.fixture
def rows() -> pd.DataFrame:
    from io import StringIO

    return pd.read_csv(StringIO(outputs_csv(EVERYTHING)))


def test_render_writes_three_files_and_leaves_no_temporary_one(folder: Path) -> None:
    paths = render(folder)
    assert [path.name for path in paths] == ["outputs.csv", "summary.md", "report.html"]
    assert {path.name for path in folder.iterdir()} == {"run.json", "outputs.csv", "summary.md", "report.html"}


def test_rendering_twice_gives_the_same_bytes(folder: Path) -> None:
    first = [path.read_bytes() for path in render(folder)]
    assert [path.read_bytes() for path in render(folder)] == first


def test_a_folder_without_a_run_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"run\.json"):
        render(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_disk_that_refuses_leaves_the_old_report_and_nothing_half_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    render(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    real = Path.write_text

    def refuse(path: Path, text: str, **options: str) -> int:
        real(path, text[:10], **options)
        raise OSError(code, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(RunError, match=r"outputs\.csv: cannot be written \(.*try again"):
        render(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_csv_has_one_row_for_each_tensor_and_one_for_an_outcome_without_tensors(rows: pd.DataFrame) -> None:
    assert len(rows) == 5
    [error] = rows[rows.variant == BROKEN.variant].to_dict("records")
    assert error["verdict"] == "error"
    assert error["reasons"] == BROKEN.headline
    assert math.isnan(error["element_count"])


def test_csv_carries_every_figure_of_a_difference() -> None:
    first_columns = {
        "worst_absolute": "max_absolute",
        "worst_relative": "max_relative",
        "first_nonfinite": "first_nonfinite_index",
        "actual": "actual_minimum",
        "expected": "expected_minimum",
    }
    for field in fields(TensorDifference):
        if field.name in {"octaves", "fill_count"}:
            continue  # a histogram is no cell, run.json and the page have it; of fill values the notes tell
        assert first_columns.get(field.name, field.name) in OUTPUT_COLUMNS


def test_a_note_on_a_passing_output_stands_in_every_report() -> None:
    note = "The reference holds 3 NaN and 0 infinite of 9 elements"
    run = make_run(replace(PASSING, tensors=(replace(GOOD_TENSOR, notes=(note,)),)))
    for text in (outputs_csv(run), summary_markdown(run), report_html(run), summary_json(run, Path("r"))):
        assert note in text
    assert f"shapes / fp32@onnxruntime / logits: {note}" in summary_markdown(run)


def test_csv_figures_equal_those_of_the_run(rows: pd.DataFrame) -> None:
    [row] = rows[rows.variant == FAILING.variant].to_dict("records")
    assert row["sqnr_db"] == DIFFERENCE.sqnr_db
    assert row["mismatch_fraction"] == 12 / 2000
    assert (row["max_absolute"], row["max_absolute_index"], row["max_absolute_feed"]) == (0.25, "0 7", 3)
    assert row["shape"] == "8x250"
    [good] = rows[rows.variant == PASSING.variant].to_dict("records")
    assert good["sqnr_db"] == math.inf
    assert good["max_absolute"] == 0


def test_csv_tells_a_figure_that_is_not_a_number_from_a_missing_one() -> None:
    undefined = replace(FAILING, tensors=(replace(TENSOR, difference=replace(DIFFERENCE, cosine=math.nan)),))
    header, row, error = outputs_csv(make_run(undefined, BROKEN)).splitlines()
    place = header.split(",").index("cosine")
    assert row.split(",")[place] == "nan"
    assert error.split(",")[place] == ""


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@x"])
def test_a_name_that_a_spreadsheet_would_run_is_quoted(name: str) -> None:
    table = outputs_csv(make_run(replace(FAILING, case=name)))
    assert table.splitlines()[1].startswith(f"'{name},")


def test_summary_starts_with_the_verdict_and_stands_worst_first() -> None:
    summary = summary_markdown(EVERYTHING)
    assert summary.startswith("# ! parity: a disagreement was found, and not everything could be judged")
    table = [line for line in summary.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].split()[1] for row in table[1:]] == ["fail", "error", "inconclusive", "pass", "skipped"]


def test_summary_carries_messages_replay_and_rounding() -> None:
    summary = summary_markdown(EVERYTHING)
    assert FAILING.message in summary
    assert FAILING.replay in summary
    assert "rounding fused" in summary
    assert "A forecast in ONNX Runtime" in summary


def test_summary_stays_below_its_limit_and_counts_what_it_leaves_out() -> None:
    many = make_run(*(replace(FAILING, case=f"case-{i}-{'ü' * 400}", message="m" * 9000) for i in range(3000)))
    summary = summary_markdown(many)
    assert 0.5 * MAX_BYTES < len(summary.encode()) < MAX_BYTES
    counts = re.findall(r"^([\d,]+) more (\w+) are in (\S+)\.$", summary, re.M)
    assert [(what, where) for _, what, where in counts] == [
        ("outcomes", "outputs.csv"),
        ("failures", "report.html"),
        ("notes", "report.html"),
    ]
    shown = sum(line.startswith("| ✗") for line in summary.splitlines())
    assert shown + int(counts[0][0].replace(",", "")) == 3000


def test_summary_of_one_enormous_message_stays_below_its_limit() -> None:
    assert len(summary_markdown(make_run(replace(FAILING, message="`" * 3_000_000))).encode()) < MAX_BYTES


def test_no_string_of_a_run_becomes_markdown_or_html_in_the_summary() -> None:
    summary = summary_markdown(attack_everywhere(EVERYTHING, ATTACK))
    outside = re.sub(r"(?ms)^(`{3,})text\n.*?^\1\n", "", summary)
    assert re.search(r"(?<!\\)<", outside) is None
    assert re.search(r"(?<!\\)\]", outside) is None
    assert "\x1b" not in summary
    columns = {len(re.findall(r"(?<!\\)\|", line)) for line in outside.splitlines() if line.startswith("|")}
    assert columns == {9}


def test_no_string_of_a_run_becomes_markup_in_the_html_report() -> None:
    poisoned = attack_everywhere(EVERYTHING, ATTACK)
    attacked, plain = (Tags(without_assets(report_html(run))) for run in (poisoned, EVERYTHING))
    assert [tag for tag, _ in attacked.tags if tag in ("script", "img", "iframe")] == []
    assert {tag for tag, _ in attacked.tags} <= {tag for tag, _ in plain.tags}
    assert [name for _, attributes in attacked.tags for name in attributes if name.startswith("on")] == []
    assert "{{ 7 * 7 }}" in attacked.text
    assert "\x1b" not in attacked.text


def test_every_string_that_the_html_report_shows_was_escaped() -> None:
    """Counts attacks in the text, so that a report which drops the strings cannot pass for one that escapes them."""
    assert report_html(attack_everywhere(EVERYTHING, ATTACK)).count("&lt;script&gt;") > 20


def test_html_report_opens_offline_and_forbids_all_scripts_but_its_own() -> None:
    document = report_html(EVERYTHING)
    page = Tags(without_assets(document))
    assert not [tag for tag, _ in page.tags if tag in ("script", "iframe", "img")]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links
    assert all(link.startswith("#") for link in links)
    assert [attributes["href"][:5] for tag, attributes in page.tags if tag == "link"] == ["data:"]
    [policy] = [attributes.get("content") for _, attributes in page.tags if "http-equiv" in attributes]
    assert str(policy).startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in str(policy)
    assert not [name for _, attributes in Tags(document).tags for name in attributes if name in ("style", "onclick")]


def test_every_link_of_the_html_report_has_its_target() -> None:
    page = Tags(report_html(EVERYTHING))
    targets = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {attributes["href"].removeprefix("#") for tag, attributes in page.tags if tag == "a"} <= targets


def test_html_report_shows_verdict_first_then_matrix_message_and_replay() -> None:
    page = without_assets(report_html(EVERYTHING))
    text = Tags(page[page.index("<main") :]).text
    parts = (
        "A disagreement was found, and not everything could be judged",
        "What failed",
        FAILING.headline,
        "Cases and variants",
        FAILING.message,
    )
    places = [text.index(part) for part in (*parts, FAILING.replay)]
    assert places == sorted(places)
    assert "onnxruntime" in text[places[-1] :]


def test_a_failure_is_told_first_with_its_cause_in_one_sentence() -> None:
    page = without_assets(report_html(make_run(replace(FAILING, diagnoses=(DIAGNOSIS,)))))
    summary = Tags(page[page.index('id="failed"') : page.index('id="matrix"')]).text
    assert FAILING.headline in summary
    assert f"{DIAGNOSIS.title} {100 * DIAGNOSIS.certainty:.0f} % certain" in " ".join(summary.split())


def test_a_page_of_twenty_variants_with_all_their_layers_stays_below_three_megabytes() -> None:
    rows = tuple(
        replace(row(at), layer=f"/model.22/cv{at}/conv/Conv", nodes=(f"/model.22/cv{at}/conv/Conv",))
        for at in range(300)
    )
    layers = replace(FAILED_LAYERS, rows=rows, sources=())
    outcomes = [
        replace(outcome, variant=f"v{number}@tensorrt-8.6")
        for number in range(20)
        for outcome in (FAILING, replace(BLANK, check="layers", layers=layers))
    ]
    assert len(report_html(make_run(*outcomes)).encode()) < 3 * 10**6


@pytest.mark.parametrize(("is_confirmed", "count"), [(True, 1), (None, 1), (False, 0)])
def test_nodes_that_were_kept_in_vain_are_not_offered(is_confirmed: bool | None, count: int) -> None:
    cause = replace(DIAGNOSIS, is_confirmed=is_confirmed)
    page = Tags(report_html(make_run(replace(FAILING, diagnoses=(cause,))))).text
    assert page.count("Nodes to keep at a higher precision") == count
    assert cause.title in page


def test_html_report_of_an_interrupted_run_says_so() -> None:
    page = report_html(make_run(PASSING, is_complete=False))
    assert "This run was interrupted" in page
    assert "parity run --resume" in page
    assert "This run was interrupted" not in report_html(make_run(PASSING))
