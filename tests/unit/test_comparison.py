"""Two sides joined by case and variant; shown in four forms, none of which a name can break out of."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from parity.baseline.changes import Direction
from parity.baseline.comparison import Comparison, Pair, compare_sides
from parity.baseline.files import save
from parity.baseline.sides import Side, load_side
from parity.errors import BaselineError, RunError
from parity.report.comparison import comparison_html, comparison_json, comparison_markdown, print_comparison
from parity.verdict import Verdict
from tests.accepted import (
    GPU_HOST,
    LABEL,
    LAYERS,
    MACHINE,
    WORKER,
    baseline,
    gpu_run,
    latency_outcome,
    measurement,
    outputs_outcome,
    series,
    variant,
)
from tests.run_examples import save as save_run

if TYPE_CHECKING:
    from parity.results import Outcome

NEWER = "fp16@tensorrt-10.16"
SLOW = (("conv1", 0.9), ("relu1", 0.3), ("conv2", 0.6))


def side(*outcomes, tmp_path, name="run", **more) -> Side:
    folder = tmp_path / name
    folder.mkdir()
    save_run(gpu_run(*outcomes, **more), folder)
    return load_side(folder)


@pytest.fixture
def compared(tmp_path):
    def compare(old, new, **more) -> Comparison:
        sides = side(*old, tmp_path=tmp_path, name="a"), side(*new, tmp_path=tmp_path, name="b")
        return compare_sides(*sides, **more)

    return compare


def only(found: Comparison) -> Pair:
    [pair] = found.pairs
    return pair


def text_of(found: Comparison, **more) -> str:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="utf-8")
    print_comparison(found, stream, **more)
    stream.flush()
    return written.getvalue().decode()


def test_equal_runs_are_no_regression(compared) -> None:
    found = compared([outputs_outcome()], [outputs_outcome()])
    assert found.exit_code == 0
    assert only(found).direction is Direction.EQUAL
    assert "nothing got worse" in text_of(found)


def test_a_figure_that_got_worse_is_exit_code_1_and_stands_in_every_form(compared) -> None:
    found = compared([outputs_outcome(60.0)], [outputs_outcome(40.0)])
    assert (found.exit_code, only(found).direction) == (1, Direction.WORSE)
    assert "something got worse: " in text_of(found)
    assert "outputs y sqnr_db" in text_of(found)
    assert "| shapes | fp16@tensorrt-8.6 | outputs y sqnr\\_db | 60 | 40 | -20 dB | ±1 dB | worse |" in (
        comparison_markdown(found)
    )
    [change] = [c for c in json.loads(comparison_json(found))["pairs"][0]["changes"] if c["name"] == "sqnr_db"]
    assert (change["direction"], change["is_significant"]) == ("worse", True)


def test_that_only_one_side_was_held_against_a_baseline_is_nothing_to_tell(compared) -> None:
    checked = replace(outputs_outcome(), check="baseline", tensors=(), headline="4 figures are as accepted")
    assert only(compared([outputs_outcome(), checked], [outputs_outcome()])).not_looked_at == ()


@pytest.mark.parametrize("blocks", [(), (0.0, 1.0), (math.nan,), (math.inf, 1.0), (-1.0,)], ids=str)
def test_a_saved_run_without_usable_samples_has_no_latency(compared, blocks: tuple[float, ...]) -> None:
    empty = replace(measurement(1.0), blocks_ms=blocks)
    found = compared(
        [outputs_outcome(), latency_outcome(measurement(1.0))], [outputs_outcome(), latency_outcome(empty)]
    )
    [gone] = [change for change in only(found).changes if change.check == "latency"]
    assert (gone.new, gone.direction) == (None, Direction.GONE)
    assert found.exit_code == 1
    assert "something is gone: " in text_of(found)
    assert "1 figures gone" in text_of(found)


def test_better_is_told_and_is_no_regression(compared) -> None:
    found = compared([outputs_outcome(40.0)], [outputs_outcome(60.0)])
    assert (found.exit_code, only(found).direction) == (0, Direction.BETTER)


def test_what_did_not_change_is_shown_on_request_alone(compared) -> None:
    found = compared([outputs_outcome(60.0)], [outputs_outcome(60.4)])
    assert "sqnr_db" not in text_of(found)
    assert "within" in text_of(found, all_figures=True)


def test_a_slower_engine_is_told_with_the_layers_that_slowed(compared) -> None:
    old, new = latency_outcome(measurement(1.0)), latency_outcome(measurement(1.6), layers=SLOW)
    found = compared([old], [new])
    assert found.exit_code == 1
    shown = text_of(found)
    assert "+60.0%" in shown
    assert "slower layer: conv1 and 1 more: 0.4 ms -> 1.2 ms" in shown
    assert "one measurement of latency, so the noise is assumed" in shown


def test_noise_is_not_significant(compared) -> None:
    found = compared([latency_outcome(measurement(1.0))], [latency_outcome(measurement(1.08))])
    assert found.exit_code == 0


def test_variants_of_two_releases_are_joined(compared) -> None:
    pair = only(compared([outputs_outcome()], [outputs_outcome(label=NEWER)]))
    assert pair.label == "fp16@tensorrt-8.6 -> tensorrt-10.16"


def test_exact_labels_go_before_other_releases(compared) -> None:
    old = [outputs_outcome(), outputs_outcome(label=NEWER)]
    found = compared(old, [outputs_outcome()])
    assert {pair.label: pair.direction for pair in found.pairs} == {LABEL: Direction.EQUAL, NEWER: Direction.GONE}


def test_a_choice_between_releases_is_nobodys(compared) -> None:
    new = [outputs_outcome(label=f"fp16@tensorrt-10.{n}") for n in (1, 2)]
    found = compared([outputs_outcome()], new)
    assert [pair.direction for pair in found.pairs] == [Direction.GONE, Direction.NEW, Direction.NEW]
    assert found.exit_code == 2


def test_other_backends_are_joined_on_request_alone(compared, tmp_path) -> None:
    forecast = [replace(outputs_outcome(label="fp16@onnxruntime"), engine=None)]
    found = compared(forecast, [outputs_outcome()])
    assert found.exit_code == 2
    across = compare_sides(found.base, found.new, across=True)
    assert only(across).label == "fp16@onnxruntime -> tensorrt-8.6"
    assert across.exit_code == 0
    assert {change.check for change in only(across).changes} == {"outputs"}


def test_a_variant_that_is_gone_is_a_regression_and_one_that_is_new_is_none(compared) -> None:
    int8 = outputs_outcome(label="int8@tensorrt-8.6")
    gone = compared([outputs_outcome(), int8], [outputs_outcome()])
    assert gone.exit_code == 1
    assert gone.pairs[0].direction is Direction.GONE
    assert "something is gone: " in text_of(gone)
    assert "1 variants gone" in text_of(gone)
    new = compare_sides(gone.new, gone.base)
    assert new.exit_code == 0
    assert "1 variants new" in text_of(new)


def test_a_check_that_was_not_made_is_told_and_is_no_regression(compared) -> None:
    found = compared([outputs_outcome(), latency_outcome(measurement(1.0))], [outputs_outcome()])
    assert found.exit_code == 0
    assert "not measured on the new side: latency" in text_of(found)


def crashed(outcome: Outcome, **more) -> Outcome:
    return replace(outcome, verdict=Verdict.ERROR, headline="the worker ended", tensors=(), engine=None, **more)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ([crashed(outputs_outcome()), latency_outcome(measurement(1.0))], "outputs: the worker ended"),
        ([crashed(outputs_outcome())], "outputs: the worker ended"),
        ([crashed(outputs_outcome(label=NEWER))], "outputs: the worker ended"),
        ([crashed(outputs_outcome(label=""), check="case")], "case: the worker ended"),
    ],
    ids=["beside a check that was made", "the whole variant", "the whole variant of another release", "the case"],
)
def test_what_the_new_side_could_not_judge_is_broken_and_never_equal_nor_worse(
    compared, broken: list[Outcome], told: str
) -> None:
    judged = [outputs_outcome(), latency_outcome(measurement(1.0))]
    found = compared(judged, broken)
    assert found.exit_code == 2
    shown = text_of(found)
    assert f"could not be judged on the new side: {told}" in shown
    assert "the new side could not judge everything" in shown
    assert told in json.loads(comparison_json(found))["pairs"][0]["broken"]


def test_what_neither_side_could_judge_is_nothing_new(compared) -> None:
    both = [crashed(outputs_outcome()), latency_outcome(measurement(1.0))]
    assert compared(both, both).exit_code == 0


def test_an_interrupted_run_is_told_and_its_missing_variants_are_no_regression(tmp_path) -> None:
    whole = side(outputs_outcome(), outputs_outcome(label="int8@tensorrt-8.6"), tmp_path=tmp_path, name="a")
    half = side(outputs_outcome(), tmp_path=tmp_path, name="b", is_complete=False)
    found = compare_sides(whole, half)
    assert found.exit_code == 2
    assert "the new run was interrupted, so more may be missing" in text_of(found)
    assert compare_sides(half, whole).exit_code == 0
    assert "the base run was interrupted" in text_of(compare_sides(half, whole))


def test_other_feeds_and_another_case_file_are_told_where_they_decide_a_figure(tmp_path) -> None:
    def with_case(name: str, *outcomes: Outcome, **hashes: str) -> Side:
        run = gpu_run(*outcomes)
        return side(*outcomes, tmp_path=tmp_path, name=name, cases=(replace(run.cases[0], **hashes),))

    base = with_case("a", outputs_outcome(), latency_outcome(measurement(1.0)))
    other = {"feeds_sha256": "ff", "case_file_sha256": "ee"}
    shown = text_of(compare_sides(base, with_case("b", outputs_outcome(), **other)))
    assert "the feeds differ: sha256 cc, now ff" in shown
    assert "the case file differs: sha256 bb, now ee" in shown
    assert "differ" not in text_of(compare_sides(base, with_case("c", latency_outcome(measurement(1.0)), **other)))


def test_a_disturbed_latency_is_told_on_either_side(compared) -> None:
    quiet, shared = latency_outcome(measurement(1.0)), latency_outcome(measurement(1.4, 64, "shared: 2 processes"))
    found = compared([quiet], [shared])
    assert "latency was disturbed on the new side: batch 64 (shared: 2 processes)" in text_of(found)
    assert "disturbed on the base side: batch 64" in text_of(compare_sides(found.new, found.base))


def test_sides_that_share_nothing_are_exit_code_2(compared) -> None:
    found = compared([outputs_outcome()], [replace(outputs_outcome(), case="other")])
    assert found.exit_code == 2
    assert "nothing could be compared" in text_of(found)


def test_another_gpu_and_another_model_are_told(tmp_path) -> None:
    a = side(outputs_outcome(), tmp_path=tmp_path, name="a")
    run = gpu_run(outputs_outcome())
    host = replace(GPU_HOST, workers=(replace(WORKER, gpu="NVIDIA L4"),))
    run = replace(run, environment=host, cases=(replace(run.cases[0], model_sha256="another"),))
    (tmp_path / "b").mkdir()
    save_run(run, tmp_path / "b")
    shown = text_of(compare_sides(a, load_side(tmp_path / "b")))
    assert "NVIDIA H200" in shown
    assert "NVIDIA L4" in shown
    assert "the model differs: sha256 aa, now another" in shown


def test_a_baseline_is_a_side(tmp_path) -> None:
    known = baseline(variant(60.0, latency=series(1.0, 1.01), layers=LAYERS))
    save(known, tmp_path / "cases" / f"{MACHINE}.json")
    found = compare_sides(load_side(tmp_path / "cases"), side(outputs_outcome(50.0), tmp_path=tmp_path))
    assert only(found).label == "fp16@tensorrt -> tensorrt-8.6"
    assert found.exit_code == 1


def test_of_a_folder_of_runs_the_newest_counts(tmp_path) -> None:
    side(outputs_outcome(40.0), tmp_path=tmp_path, name="20260101-000000-x")
    side(outputs_outcome(60.0), tmp_path=tmp_path, name="20260102-000000-x")
    assert load_side(tmp_path).name.endswith("20260102-000000-x/run.json")


def test_what_is_no_side_is_told(tmp_path) -> None:
    with pytest.raises(BaselineError, match=r"has no run; expected a run's folder"):
        load_side(tmp_path)
    with pytest.raises(BaselineError, match="cannot be read"):
        load_side(tmp_path / "missing.json")
    (tmp_path / "a.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match="is not a saved run"):
        load_side(tmp_path)
    (tmp_path / "a.json").write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(RunError, match="is not a saved run"):
        load_side(tmp_path)
    (tmp_path / "a.json").write_text('{"machine": "x", "format_version": 9}', encoding="utf-8")
    with pytest.raises(BaselineError, match="format version 9"):
        load_side(tmp_path)
    (tmp_path / "b.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BaselineError, match="has 2 baselines"):
        load_side(tmp_path)


def test_infinite_figures_are_strict_json(compared) -> None:
    found = compared([outputs_outcome(math.inf)], [outputs_outcome(math.nan)])
    assert '"inf"' in comparison_json(found)
    assert found.exit_code == 1


def test_names_are_no_markup_and_move_no_cursor(compared) -> None:
    evil = "<script>|\x1b[2J`"
    found = compared([replace(outputs_outcome(), case=evil)], [replace(outputs_outcome(10.0), case=evil)])
    assert "\x1b" not in text_of(found)
    markdown = comparison_markdown(found)
    assert "<script>" not in markdown.replace("\\<script\\>", "")
    assert "\x1b" not in markdown


def test_a_page_has_every_figure_and_lets_no_name_out(compared) -> None:
    evil = "</td><script>alert(1)</script>"
    found = compared([replace(outputs_outcome(), case=evil)], [replace(outputs_outcome(10.0), case=evil)])
    page = comparison_html(found)
    assert "alert(1)</script>" not in page
    assert page.count("outputs y sqnr_db") == 2
    assert page.count("outputs y headroom") == 1
    assert "Something got worse" in page


def test_lines_are_at_most_100_columns(compared) -> None:
    long = "x" * 90
    found = compared([replace(outputs_outcome(), case=long)], [replace(outputs_outcome(10.0), case=long)])
    table = [line for line in text_of(found).splitlines() if "sqnr" in line or "───" in line]
    assert table
    assert max(map(len, table)) <= 100
