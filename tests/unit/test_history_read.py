"""What a history tells: series, steps with what else changed, runs to bisect between, clocks that jump."""

from __future__ import annotations

import json
import math
import os
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.errors import HistoryError
from parity.history import Asked, History, append_run, read_history
from parity.history.marks import bisect_sentence
from parity.report.history import change_text, history_json, print_history, value_text
from parity.report.history_page import history_html
from parity.report.sparkline import ASCII, BLOCKS, sparkline
from tests.history_runs import latency_outcome, night, nights
from tests.run_examples import FAILING, PASSING, attack_everywhere, make_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity.history.model import Marked
    from parity.results import Run

SLOWED = [1.0, 1.01, 0.99, 1.0, 1.02, 1.0, 0.98, 1.01, 1.2, 1.21, 1.19, 1.2]


def remembered(folder: Path, *runs: Run) -> Path:
    for run in runs:
        append_run(folder / "history.db", run)
    return folder / "history.db"


def slowed(folder: Path, *figures: str) -> History:
    runs = [
        replace(run, environment=night(0, driver="580.1" if n < 8 else "580.9").environment)
        for n, run in enumerate(nights(SLOWED))
    ]
    return read_history(remembered(folder, *runs), Asked("shapes", figures=figures))


def printed(history: History) -> str:
    stream = StringIO()
    print_history(history, stream)
    return stream.getvalue()


def only_step(history: History) -> Marked:
    (marked,) = [marked for one in history.series if one.name == "median_ms" for marked in one.steps]
    return marked


def test_a_step_names_its_run_what_else_changed_and_the_commits_to_bisect_between(tmp_path: Path) -> None:
    marked = only_step(slowed(tmp_path))
    assert (marked.at.number, marked.is_worse) == (9, True)
    assert marked.changed == ("tensorrt 8 driver 580.1 to 580.9",)
    assert bisect_sentence(marked).startswith("bisect between 7cccccccccccc"[:26])
    assert "8ccccccccccc" in bisect_sentence(marked)


@pytest.mark.parametrize(
    ("good", "bad", "changed", "words"),
    [
        ("", "ab", (), "not both say their commit"),
        ("ab", "ab", ("driver 1 to 2",), "the commit is the same on both sides"),
        ("ab", "ab", (), "nothing that was recorded changed: look at the machine"),
    ],
)
def test_where_no_commit_explains_a_step_that_is_said(
    tmp_path: Path, good: str, bad: str, changed: tuple[str, ...], words: str
) -> None:
    marked = only_step(slowed(tmp_path))
    other = replace(
        marked, good=replace(marked.good, commit=good), bad=replace(marked.bad, commit=bad), changed=changed
    )
    assert words in bisect_sentence(other)


def test_a_changed_case_or_model_is_named_at_the_step(tmp_path: Path) -> None:
    runs = nights(SLOWED)
    changed = [replace(run, cases=(replace(run.cases[0], model_sha256="dd"),)) for run in runs[8:]]
    history = read_history(remembered(tmp_path, *runs[:8], *changed), Asked("shapes"))
    assert only_step(history).changed == ("model aa to dd",)


def test_facts_of_engines_do_not_explain_a_step_of_onnxruntime(tmp_path: Path) -> None:
    runs = [
        night(number, latency_outcome(median_ms, "fp16@onnxruntime"), driver="580.1" if number < 8 else "580.9")
        for number, median_ms in enumerate(SLOWED)
    ]
    assert only_step(read_history(remembered(tmp_path, *runs), Asked("shapes"))).changed == ()


def test_machines_are_series_of_their_own_and_where_one_ends_is_told(tmp_path: Path) -> None:
    runs = [*nights([1.0] * 6), *(night(number, latency_outcome(2.0), driver="590.1") for number in range(6, 12))]
    history = read_history(remembered(tmp_path, *runs), Asked("shapes", figures=("median_ms",)))
    assert [(one.machine[-10:], len(one.points), one.steps) for one in history.series] == [
        ("driver-580", 6, ()),
        ("driver-590", 6, ()),
    ]
    (note,) = history.notes
    assert "driver-590 begins with nightly" in note
    assert "no step is looked for between them" in note


def absences(folder: Path, kinds: str) -> list[str]:
    """Return what is told of a night for each letter: ``b`` gives outputs and latency, ``o`` and ``l`` one of them."""
    outputs, latency = replace(PASSING, variant="fp16@tensorrt-8.6"), latency_outcome(1.0)
    given = {"b": (outputs, latency), "o": (outputs,), "l": (latency,)}
    runs = [night(number, *given[kind]) for number, kind in enumerate(kinds)]
    notes = read_history(remembered(folder, *runs), Asked("shapes")).notes
    return [note for note in notes if "not in the newest" in note]


def test_a_figure_that_runs_give_no_more_is_told_with_how_old_its_latest_is(tmp_path: Path) -> None:
    [note] = absences(tmp_path, "bbbbooo")
    assert note.startswith("fp16@tensorrt latency batch 8 median_ms and 4 more of this variant: not in the newest 3")
    assert note.endswith("(2026-01-04T03:00:00+00:00)")


@pytest.mark.parametrize("kinds", ["bbbboo", "ololololol", "bbooobbbooooo", "llooo"])
def test_figures_that_not_every_run_measures_are_not_missed(tmp_path: Path, kinds: str) -> None:
    assert absences(tmp_path, kinds) == []


def test_the_order_is_that_of_arrival_and_a_clock_that_went_back_is_told(tmp_path: Path) -> None:
    first, second = night(1, latency_outcome(1.0)), night(2, latency_outcome(2.0))
    late = replace(second, created="2019-01-01T00:00:00+00:00")
    history = read_history(remembered(tmp_path, first, late), Asked("shapes", figures=("median_ms",)))
    assert [point.value for point in history.series[0].points] == [1.0, 2.0]
    assert "a clock was set, or runs overlapped" in history.notes[0]


def test_a_date_that_nobody_can_read_is_no_clock_that_jumped(tmp_path: Path) -> None:
    runs = night(1), replace(night(2), created="yesterday")
    assert read_history(remembered(tmp_path, *runs), Asked("shapes")).notes == ()


def test_a_case_that_was_renamed_is_asked_for_by_a_name_that_is_there(tmp_path: Path) -> None:
    file = remembered(tmp_path, night(1))
    with pytest.raises(HistoryError, match=r"no run of a case called 'forms'; it has shapes .*old name"):
        read_history(file, Asked("forms"))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Asked("shapes", variants=("bf16",)), r"variant 'bf16': matches none; known are fp16@tensorrt"),
        (Asked("shapes", figures=("speed",)), r"figure 'speed': matches none; known are .*median_ms"),
    ],
)
def test_what_a_history_does_not_have_is_told_with_what_it_has(tmp_path: Path, asked: Asked, words: str) -> None:
    with pytest.raises(HistoryError, match=words):
        read_history(remembered(tmp_path, night(1)), asked)


@pytest.mark.parametrize("pattern", ["fp16", "fp*", "fp16@tensorrt", "fp16@tensorrt-8.6", "fp16@tensorrt-8.9"])
def test_a_variant_is_named_as_in_a_run_of_any_release(tmp_path: Path, pattern: str) -> None:
    assert read_history(remembered(tmp_path, night(1)), Asked("shapes", variants=(pattern,))).series


def test_the_newest_runs_are_shown(tmp_path: Path) -> None:
    history = read_history(remembered(tmp_path, *nights(SLOWED)), Asked("shapes", figures=("median_ms",), last=3))
    assert [point.value for point in history.series[0].points] == SLOWED[-3:]
    assert history.run_count == len(SLOWED)
    assert len(history.judged[0].verdicts) == 3


def test_a_missing_file_a_damaged_one_and_an_empty_one_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(
        HistoryError, match=rf"is no file; .* parity run --history {re.escape(str(tmp_path))}/none\.db "
    ):
        read_history(tmp_path / "none.db", Asked("shapes"))
    (tmp_path / "bad.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(HistoryError, match=r"is damaged .*sets it aside"):
        read_history(tmp_path / "bad.db", Asked("shapes"))
    assert (tmp_path / "bad.db").read_bytes() == b"garbage" * 1000
    (tmp_path / "empty.db").touch()
    with pytest.raises(HistoryError, match="is empty"):
        read_history(tmp_path / "empty.db", Asked("shapes"))


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    # Not below pytest's own folder, which other users may not enter: root is one of them here.
    with TemporaryDirectory() as name:
        folder = Path(name)
        append_run(folder / "history.db", night(0))
        folder.chmod(0o555)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        yield folder
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)


def test_a_history_in_a_folder_that_takes_no_file_is_read(read_only_folder: Path) -> None:
    assert read_history(read_only_folder / "history.db", Asked("shapes")).run_count == 1


def test_the_terminal_has_a_line_a_figure_with_trend_latest_and_step(tmp_path: Path) -> None:
    text = printed(slowed(tmp_path, "median_ms"))
    assert "shapes: 12 runs\n  1 check passed in every run that is shown" in text
    assert "fp16@tensorrt latency batch 8" in text
    assert "+20 %, worse, 4 runs ago" in text
    assert "1.2 ms" in text
    assert "1 ms to 1.2 ms (+20 %, worse) with nightly of 2026-01-09" in text
    assert "changed as well: tensorrt 8 driver 580.1 to 580.9" in text
    assert max(map(len, text.partition("1 ms to")[0].splitlines()[:-1])) <= 100


def test_what_ever_failed_has_a_line_of_verdicts(tmp_path: Path) -> None:
    failing = [replace(make_run(FAILING), id=str(number)) for number in range(2)]
    text = printed(read_history(remembered(tmp_path, *failing), Asked("shapes")))
    assert "fp16@onnxruntime outputs: ✗✗ fail in its newest run" in text


def test_a_terminal_without_unicode_gets_ascii(tmp_path: Path) -> None:
    stream = TextIOWrapper(BytesIO(), encoding="ascii")
    print_history(slowed(tmp_path, "median_ms"), stream)
    stream.flush()
    assert "_" in stream.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]


def test_json_is_strict_and_has_points_and_steps(tmp_path: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    found = json.loads(history_json(slowed(tmp_path)), parse_constant=refuse)
    (series,) = [one for one in found["series"] if one["name"] == "median_ms"]
    assert [point["value"] for point in series["points"]] == SLOWED
    assert len(series["points"][0]["samples"]) == 4
    assert series["steps"][0]["good"]["commit"].startswith("7ccc")
    assert found["verdicts"][0]["runs"][-1]["verdict"] == "pass"


def test_the_page_draws_every_figure_with_its_steps(tmp_path: Path) -> None:
    history = slowed(tmp_path)
    page = history_html(history)
    charts = json.loads(page.partition('id="charts">')[2].partition("</script>")[0])
    assert len(charts) == len(history.series)
    (chart,) = [chart for chart in charts.values() if "median_ms over 12" in chart["label"]]
    assert chart["series"][0]["values"] == SLOWED
    assert [(marks["at"], marks["tone"]) for marks in chart["marks"] if marks["at"]] == [([8], "fail")]
    assert chart["names"][8] == "nightly, 2026-01-09 03:00 UTC, commit 8ccccccccccc: 1.2 ms"
    assert "bisect between" in page


def test_no_string_of_a_run_becomes_markup(tmp_path: Path) -> None:
    attack = "</script><img src=x onerror=alert(1)>"
    run = replace(attack_everywhere(night(1), attack), id="1")
    file = remembered(tmp_path, run)
    page = history_html(read_history(file, Asked(run.outcomes[0].case)))
    assert "<img" not in page


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.23456, "ms", "1.235 ms"),
        (5_242_880, "bytes", "5.243 MB"),
        (1234.0, "count", "1,234"),
        (math.inf, "dB", "inf dB"),
        (math.nan, "dB", "n/a"),
        (0.25, "share", "0.25"),
    ],
)
def test_a_value_reads_with_its_unit(value: float, unit: str, text: str) -> None:
    assert value_text(value, unit) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [(1.0, 1.1, "+10 %, worse"), (2.0, 1.0, "-50 %, worse"), (1.0, 40.0, "x 40, worse"), (0.0, 1.0, "from 0, worse")],
)
def test_a_change_reads_as_a_share(tmp_path: Path, before: float, after: float, text: str) -> None:
    marked = only_step(slowed(tmp_path))
    assert change_text(replace(marked, step=replace(marked.step, before=before, after=after))) == text


@given(st.lists(st.floats(), max_size=40), st.sampled_from(["utf-8", "ascii"]))
def test_a_sparkline_has_a_sign_for_each_of_the_newest_values(values: list[float], encoding: str) -> None:
    line = sparkline(values, encoding)
    assert len(line) == min(len(values), 24)
    assert set(line) <= set((BLOCKS if encoding == "utf-8" else ASCII) + "?")


def test_a_sparkline_of_the_smallest_numbers_is_drawn() -> None:
    assert len(sparkline([0.0, 5e-324], "utf-8")) == 2


def test_a_sparkline_rises_with_its_values() -> None:
    assert sparkline([1, 2, 3, 4, 5, 6, 7, 8]) == BLOCKS
    assert sparkline([math.inf, math.nan, 1.0, -math.inf]) == f"{BLOCKS[-1]}?{BLOCKS[3]}{BLOCKS[0]}"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE environment SET facts = '{bad'",
        "UPDATE environment SET facts = '[1]'",
        "UPDATE environment SET facts = x'ff00fe'",
        "UPDATE series SET better = 'sideways'",
        "UPDATE value SET samples = '{'",
        "UPDATE value SET samples = '[\"a\"]'",
        "UPDATE value SET value = 'abc'",
        "UPDATE judged SET hashes = '{\"feeds\": 3}'",
        "UPDATE run SET name = CAST(x'ff41' AS TEXT)",
        "DELETE FROM run",
        "DELETE FROM environment",
        "DROP TABLE value",
    ],
)
def test_what_no_run_wrote_is_a_sentence_that_says_what_to_do(tmp_path: Path, statement: str) -> None:
    file = remembered(tmp_path, *nights(SLOWED))
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)
    with pytest.raises(HistoryError, match=r"history\.db: .*restore it from a copy, or move it away"):
        read_history(file, Asked("shapes"))
