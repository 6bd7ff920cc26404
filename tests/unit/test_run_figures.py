"""Figures of a run: one row each, nothing that was not measured, directions for all that decoders measure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from parity.agreement import Better, DecodedRecord, Figure, JudgedFigure
from parity.detect.figures import FIGURES
from parity.latency_table import LatencyMode, LatencyRecord, Measurement
from parity.pytest_cases import figures_of as junit_properties
from parity.run_figures import Kind, better_of, figures_of, outcome_figures
from parity.run_file import load_run
from parity.stats import summarize

SAMPLE = Path(__file__).parents[2] / "reports" / "samples" / "20261121-045047-h200-tensorrt-8.6"


@pytest.fixture(scope="module")
def run():
    return load_run(SAMPLE)


def test_every_compared_output_gives_its_figures_once(run) -> None:
    rows = figures_of(run)
    compared = sum(tensor.difference is not None for outcome in run.outcomes for tensor in outcome.tensors)
    assert compared
    assert sum(row.name == "sqnr_db" for row in rows) == compared
    assert len({row.key for row in rows}) == len(rows)


def test_an_engine_stands_once_a_variant(run) -> None:
    variants = {(outcome.case, outcome.variant) for outcome in run.outcomes if outcome.engine}
    sizes = [row for row in figures_of(run) if row.name == "size_bytes"]
    assert sorted((row.case, row.variant) for row in sizes) == sorted(variants)
    assert all(row.kind is Kind.SIZE and row.value > 0 and row.better is Better.LOWER for row in sizes)


def test_a_figure_without_a_value_has_no_row(run) -> None:
    figures = (JudgedFigure(Figure("ap", None, "ap")), JudgedFigure(Figure("true_ap_candidate", 0.5, "ap")))
    outcome = replace(run.outcomes[0], decoded=DecodedRecord("detection", "yolov8", figures))
    rows = figures_of(replace(run, outcomes=(outcome,)))
    (found,) = (row for row in rows if row.unit == "ap")
    assert (found.name, found.kind, found.better) == ("true_ap_candidate", Kind.ACCURACY, Better.HIGHER)


def test_every_figure_is_a_property_of_its_test_in_junit(run) -> None:
    for outcome in run.outcomes:
        properties = dict(junit_properties(outcome))
        for row in outcome_figures(outcome):
            assert properties[f"{row.subject or row.check}.{row.name}"] == row.value


@pytest.mark.parametrize("name", sorted({spec.name for specs in FIGURES.values() for spec in specs}))
def test_directions_follow_the_words_of_a_name(name: str) -> None:
    higher = ("agreement", "iou", "oks", "correlation", "matched", "candidate", "f1")
    is_count = name.endswith("_count") and not name.startswith(("absent", "lost", "one_sided"))
    of_reference = name.endswith(("_reference", "_bias")) or name in {"margin_p5", "small_margin_share"}
    if is_count or of_reference:
        assert better_of(name) is Better.NEITHER
    elif any(word in name for word in higher) or name in {"ap", "ap50", "ap75"}:
        assert better_of(name) is Better.HIGHER
    else:
        assert better_of(name) is Better.LOWER


def test_a_figure_of_several_tasks_improves_the_same_way_in_all() -> None:
    found = [(spec.name, spec.better, spec.unit) for specs in FIGURES.values() for spec in specs]
    assert len(set(found)) == len({name for name, *_ in found})


def test_a_figure_that_no_task_has_improves_neither_way() -> None:
    assert better_of("of_a_later_release") is Better.NEITHER


@pytest.mark.parametrize(
    ("mode", "subject"),
    [
        (LatencyMode(), "batch 4"),
        (LatencyMode(cuda_graph_asked=True), "batch 4"),
        (LatencyMode(cuda_graph_asked=True, cuda_graph=True), "batch 4, CUDA graph"),
        (LatencyMode(streams=2), "batch 4, 2 streams"),
    ],
)
def test_latencies_that_were_launched_otherwise_are_never_joined(run, mode: LatencyMode, subject: str) -> None:
    statistics = summarize([1.0, 1.1, 1.2])
    measured = Measurement(4, statistics, statistics, None, 3000.0, blocks_ms=(1.0, 1.1))
    outcome = replace(run.outcomes[0], tensors=(), engine=None, latency=LatencyRecord(mode, (measured,)))
    rows = figures_of(replace(run, outcomes=(outcome,)))
    assert {(row.subject, row.name) for row in rows} == {(subject, "median_ms"), (subject, "p99_ms")}
    assert rows[0].samples == (1.0, 1.1)
