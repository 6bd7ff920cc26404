"""Bars of a report: lengths stand in the proportion of the figures, limits where they are, colours by verdict."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.report.bars import BarGroup, census_group, error_groups, latency_group
from parity.report.variants import Anchors, gather
from parity.verdict import Verdict
from tests.latency_examples import BUDGET, MEASURED, RECORD, latency
from tests.layer_examples import BLANK, FAILING
from tests.run_examples import CENSUS, DIFFERENCE, ENGINES, EVERYTHING, GOOD_TENSOR, TENSOR, TRIANGULATED, make_run
from tests.texts import any_text


def shares(group: BarGroup) -> dict[str, float]:
    return {bar.label: bar.share for bar in group.bars}


def test_distances_stand_beside_each_other_and_say_who_is_to_blame() -> None:
    level, origin, _ = error_groups(TRIANGULATED)
    lengths = shares(level)
    assert lengths["precision"] / lengths["engine"] == pytest.approx(60.25 / 31.5)
    assert lengths["noise floor"] / lengths["engine"] == pytest.approx(73.7 / 31.5)
    assert "To blame: engine." in level.note
    assert {bar.label: bar.tone for bar in level.bars}["engine"] == "fail"
    assert origin.limit is not None
    assert shares(origin)["together"] / origin.limit == pytest.approx(0.25 / 0.02)


def test_an_output_without_a_triangulation_shows_its_own_level_alone() -> None:
    titles = [group.title for group in error_groups(TENSOR)]
    assert titles == ["Signal to noise", "Sizes of the errors"]
    assert list(shares(error_groups(TENSOR)[0])) == ["this output", "noise floor"]


def test_sizes_stand_on_a_logarithmic_scale_with_the_bound_between_them() -> None:
    group = error_groups(TENSOR)[-1]
    lengths = shares(group)
    low, high = -4, 0
    assert lengths["median"] == pytest.approx((math.log10(0.003) - low) / (high - low))
    assert lengths["median"] < group.limit < lengths["99 %"] < lengths["99.9 %"] < lengths["largest"]
    assert [bar.tone for bar in group.bars] == ["accent", "fail", "fail", "fail"]


def test_percentiles_say_how_far_off_they_may_be() -> None:
    difference = replace(DIFFERENCE, percentile_bin_error=2.0**-7)
    note = error_groups(replace(TENSOR, difference=difference))[-1].note
    assert note.endswith("Percentiles are up to 0.78 % too large.")


def test_a_level_that_is_not_known_has_no_unit() -> None:
    group = error_groups(replace(TENSOR, difference=replace(DIFFERENCE, sqnr_db=math.nan)))[0]
    assert [bar.text for bar in group.bars] == ["n/a", "73.7 dB"]


def test_what_misses_its_bound_and_passes_all_the_same_is_not_shown_as_a_failure() -> None:
    tones = {bar.tone for bar in error_groups(replace(TENSOR, verdict=Verdict.PASS))[-1].bars}
    assert tones == {"accent", "inconclusive"}


def test_a_histogram_has_a_bar_for_each_octave_and_those_beyond_the_bound_fail() -> None:
    octaves = ((-10, 4000), (-8, 30), (-2, 1))
    found = replace(TENSOR, difference=replace(DIFFERENCE, octaves=octaves))
    [group] = [group for group in error_groups(found) if group.title == "Histogram of the errors"]
    assert [bar.text for bar in group.bars] == ["4,000", "0", "30", "0", "0", "0", "0", "0", "1"]
    assert group.bars[0].share == 1.0
    assert next(bar.tone for bar in group.bars) == "accent"
    assert group.bars[-1].tone == "fail"


@given(st.dictionaries(st.integers(-1022, 1023), st.integers(1, 10**9), min_size=1, max_size=60))
def test_a_histogram_of_any_width_has_few_bars_and_loses_no_element(counts: dict[int, int]) -> None:
    found = replace(TENSOR, difference=replace(DIFFERENCE, octaves=tuple(sorted(counts.items()))))
    [group] = [group for group in error_groups(found) if group.title == "Histogram of the errors"]
    assert len(group.bars) <= 14
    assert sum(int(bar.text.replace(",", "")) for bar in group.bars) == sum(counts.values())
    assert all(0 <= bar.share <= 1 for bar in group.bars)


def test_equal_tensors_fill_their_bar_and_have_no_sizes() -> None:
    [level] = error_groups(GOOD_TENSOR)
    assert (shares(level)["this output"], level.bars[0].text) == (1.0, "inf dB")
    assert error_groups(replace(TENSOR, difference=None)) == []


@given(st.floats(), st.floats(), st.floats(min_value=0))
def test_no_figure_leaves_its_track(level: float, size: float, floor: float) -> None:
    worst = replace(DIFFERENCE.worst_absolute, difference=abs(size), allowed=floor)
    tensor = replace(TENSOR, noise_floor_db=floor, difference=replace(DIFFERENCE, sqnr_db=level, worst_absolute=worst))
    for group in error_groups(tensor):
        for share in (*shares(group).values(), group.limit or 0.0):
            assert 0 <= share <= 1


def test_a_census_shows_the_share_of_each_precision_and_what_was_asked() -> None:
    assert CENSUS.census is not None
    group = census_group(CENSUS.census)
    assert shares(group) == {"fp32": pytest.approx(10 / 12), "fp16": pytest.approx(2 / 12)}
    assert group.limit == 0.5
    assert [bar.tone for bar in group.bars] == ["faint", "accent"]


def test_a_budget_of_the_median_is_a_line_across_the_times() -> None:
    budget = replace(BUDGET, figure="median_ms", limit=0.5)
    group = latency_group(MEASURED, (BUDGET, budget))
    assert group.limit == pytest.approx(0.5 / (1.05 * 1.25))
    assert shares(group)["slowest"] / shares(group)["median"] == pytest.approx(1.25)
    assert latency_group(MEASURED, (BUDGET,)).limit is None


@given(st.lists(any_text(max_size=80)))
def test_every_name_gets_an_anchor_of_its_own_that_a_link_can_hold(names: list[str]) -> None:
    anchors = Anchors()
    made = [anchors.make(name) for name in names]
    assert len(set(made)) == len(names)
    assert all(
        anchor.startswith("at-") and set(anchor) <= set("abcdefghijklmnopqrstuvwxyz0123456789._@-") for anchor in made
    )


def test_variants_are_gathered_worst_first_with_every_outcome_once() -> None:
    for run in (EVERYTHING, ENGINES):
        views = gather(run).variants
        assert {check.outcome.key for view in views for check in view.checks} == {o.key for o in run.outcomes}
        assert sum(len(view.checks) for view in views) == len(run.outcomes)
    assert [view.verdict for view in gather(EVERYTHING).variants] == [
        "fail",
        "error",
        "inconclusive",
        "pass",
        "skipped",
    ]
    [engine] = [view for view in gather(ENGINES).variants if view.variant == "fp16@tensorrt-8.6"]
    assert dict(engine.engine)["from"] == "built"
    assert engine.messages is not None


def test_what_needs_several_outcomes_of_a_case_is_told_with_the_variant() -> None:
    layers = replace(BLANK, variant="fp16@tensorrt-8.6", check="layers", layers=FAILING)
    beside = replace(latency(Verdict.PASS), variant="fp32@onnxruntime", precision="fp32")
    slow = replace(RECORD.layers[-1], nodes=FAILING.rows[0].nodes)
    timed = latency(record=replace(RECORD, layers=(slow,)))
    [view] = [found for found in gather(make_run(timed, layers, beside)).variants if found.variant == timed.variant]
    [note] = [note for note in view.notes if "times as" in note]
    assert "fp32@onnxruntime at batch 8" in note
    assert RECORD.notes[0] in view.notes
    [check] = [check for check in view.checks if check.outcome.check == "latency"]
    [table] = [table for table in check.tables if table.title == "Slowest layers"]
    assert table.rows[0][-2] == f"{FAILING.rows[0].inherited.sqnr_db:.1f}"
