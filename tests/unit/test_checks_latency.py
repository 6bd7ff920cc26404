"""Latency judged from planted readings: budgets, noise, and never a pass by omission."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.backends.engine import EngineTiming, LayerTime
from parity.case.model import LatencyBudget
from parity.checks.latency import (
    NothingTimed,
    applies,
    latency_outcome,
    layer_latencies,
    measurement_of,
    ratio_labels,
)
from parity.inspector import EngineLayer
from parity.latency_table import GpuConditions, LatencyMode, LatencyRecord, Measurement
from parity.results import Outcome
from parity.run_file import run_from_json, run_to_json
from parity.verdict import Verdict
from tests.run_examples import make_run

FP16 = "fp16@tensorrt-8.6"
CALM = GpuConditions("H200", 30, 1900, 1980, 1980, 50, 400.0)


def timing(median_ms: float, cv: float = 0.01, *, has_gpu: bool = True) -> EngineTiming:
    """Return readings with a given median that rise once, by a given spread; the host needs 0.1 ms more."""
    gpu = tuple(median_ms * (1 + cv * sign) for sign in (-1,) * 50 + (1,) * 50)
    return EngineTiming(
        gpu if has_gpu else (), tuple(ms + 0.1 for ms in gpu), tuple(0.01 for _ in gpu) if has_gpu else ()
    )


def measured(median_ms: float, batch: int = 8, conditions: GpuConditions | None = CALM, **more) -> Measurement:
    return measurement_of(timing(median_ms, **more), batch, batch, conditions)


def record(*measurements: Measurement) -> LatencyRecord:
    return LatencyRecord(LatencyMode(), measurements)


def budget(variant: str = "fp16", batch: int = 8, to: str = "", **limits: float) -> LatencyBudget:
    asked = {name: limits.get(name) for name in ("max_median_ms", "max_p99_ms", "max_ratio")}
    return LatencyBudget(variant, batch, **asked, to=to, reason="a frame")


def judged(found: LatencyRecord, *budgets: LatencyBudget, label: str = FP16, **others: LatencyRecord) -> Outcome:
    blank = Outcome("shapes", label, "fp16", "latency", Verdict.ERROR, "")
    known = {f"{name}@tensorrt-8.6": other for name, other in others.items()} | {label: found}
    return latency_outcome(blank, found, budgets, known, "parity latency cases/shapes")


def test_without_a_budget_nothing_is_judged_and_the_headline_says_so() -> None:
    outcome = judged(record(measured(1.0)))
    assert (outcome.verdict, outcome.message) == (Verdict.PASS, "")
    assert outcome.headline.startswith("measured, no budget: 1 ms median")


def test_a_budget_is_kept_up_to_its_limit_and_missed_above() -> None:
    found = measured(1.0)
    assert found.gpu is not None
    limit = found.gpu.median_ms
    assert judged(record(found), budget(max_median_ms=limit)).verdict is Verdict.PASS
    assert judged(record(found), budget(max_median_ms=np.nextafter(limit, 0))).verdict is Verdict.FAIL


def test_a_failure_has_its_five_parts() -> None:
    outcome = judged(record(measured(1.2)), budget(max_median_ms=1, max_p99_ms=9), budget(max_p99_ms=1.1))
    assert outcome.message.splitlines() == [
        "latency is over its budget: median 1.2 > 1 ms at batch 8 (a frame)",
        "2 / 3 budgets exceeded (67%)",
        "worst: median_ms 1.2, limit 1, over by 20.0% (gpu time)",
        "in: shapes / fp16@tensorrt-8.6 / latency",
        "next: parity latency cases/shapes",
        "also p99 1.212 > 1.1 ms at batch 8 (a frame)",
    ]


def test_a_ratio_counts_from_another_variant_of_the_same_backend() -> None:
    half = budget(to="fp32", max_ratio=0.6)
    assert judged(record(measured(0.5)), half, fp32=record(measured(1.0))).verdict is Verdict.PASS
    slow = judged(record(measured(0.7)), half, fp32=record(measured(1.0)))
    assert slow.verdict is Verdict.FAIL
    assert slow.latency is not None
    assert (slow.latency.budgets[0].value, slow.latency.budgets[0].to) == (pytest.approx(0.7), "fp32@tensorrt-8.6")


def test_a_ratio_to_a_runtime_without_gpu_times_takes_the_hosts_on_both_sides() -> None:
    on_cpu = record(measured(10.0, conditions=None, has_gpu=False))
    blank = Outcome("shapes", FP16, "fp16", "latency", Verdict.ERROR, "")
    rule = budget(to="fp32@onnxruntime", max_ratio=0.5)
    found = record(measured(1.0))
    outcome = latency_outcome(blank, found, [rule], {FP16: found, "fp32@onnxruntime": on_cpu}, "next")
    assert outcome.latency is not None
    [row] = outcome.latency.budgets
    assert (row.clock, row.value) == ("host", pytest.approx(1.1 / 10.1))


def test_a_variant_is_not_held_against_itself() -> None:
    outcome = judged(record(measured(1.0)), budget("*", to="fp16", max_ratio=0.5))
    assert outcome.headline.startswith("measured, no budget")


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (budget(batch=16, max_median_ms=9), "batch 16 was not measured"),
        (budget(to="fp32", max_ratio=9), "fp32@tensorrt-8.6 at batch 8 was not measured"),
    ],
)
def test_a_budget_that_cannot_be_judged_is_no_pass(rule: LatencyBudget, reason: str) -> None:
    outcome = judged(record(measured(1.0)), rule)
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert outcome.headline.startswith(reason)
    assert "measure what is missing in the same run" in outcome.message


@pytest.mark.parametrize(
    ("found", "sign"),
    [
        (measured(1.0, cv=0.026), "unsteady: gpu times vary from block to block by 2.6%"),
        (measured(1.0, conditions=replace(CALM, throttle_reasons=("power cap",))), "throttled: .*power cap"),
        (measured(1.0, conditions=replace(CALM, other_processes=2)), "shared: 2 other processes"),
    ],
)
@pytest.mark.parametrize("limit_ms", [None, 0.1, 9.0])
def test_a_disturbed_measurement_is_inconclusive_with_its_reason(
    found: Measurement, sign: str, limit_ms: float | None
) -> None:
    outcome = judged(record(found), *([budget(max_median_ms=limit_ms)] if limit_ms else []))
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert re.match(sign, outcome.headline)


def test_a_few_readings_that_take_long_are_told_and_disturb_nothing() -> None:
    gpu = (1.0,) * 299 + (40.0,)
    found = measurement_of(EngineTiming(gpu, tuple(ms + 0.1 for ms in gpu), (0.01,) * 300), 8, 8, CALM)
    assert found.judged.cv > 1
    assert found.disturbances == ()
    assert any("single readings vary by" in note for note in found.notes)
    assert judged(record(found), budget(max_median_ms=1.5)).verdict is Verdict.PASS
    assert judged(record(found), budget(max_p99_ms=1.5)).verdict is Verdict.PASS


def test_a_ratio_to_a_disturbed_variant_is_inconclusive_and_says_whose_noise_it_is() -> None:
    rule = budget(to="fp32", max_ratio=0.6)
    outcome = judged(record(measured(0.5)), rule, fp32=record(measured(1.0, cv=0.1)))
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert outcome.headline.startswith("fp32@tensorrt-8.6 unsteady")


def test_a_clear_failure_at_one_batch_outweighs_noise_at_another() -> None:
    found = record(measured(2.0, batch=8), measured(1.0, batch=1, cv=0.1))
    assert judged(found, budget(max_median_ms=1), budget(batch=1, max_median_ms=9)).verdict is Verdict.FAIL


def test_noise_on_a_cpu_is_told_and_judges_nothing_without_a_budget() -> None:
    noisy = record(measured(1.0, cv=0.3, conditions=None, has_gpu=False))
    assert noisy.measurements[0].disturbances
    assert judged(noisy, label="fp32@onnxruntime").verdict is Verdict.PASS
    rule = budget("fp32@onnxruntime", max_median_ms=9)
    assert judged(noisy, rule, label="fp32@onnxruntime").verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("variant", "label", "expected"),
    [
        ("fp16", "fp16@tensorrt-8.6", True),
        ("fp*", "fp16@onnxruntime-cuda", True),
        ("fp16", "fp16@onnxruntime", False),
        ("*", "fp16@onnxruntime", False),
        ("fp16@onnxruntime", "fp16@onnxruntime", True),
        ("fp16@onnxruntime", "fp16@onnxruntime-cuda", False),
        ("fp16@tensorrt", "fp16@tensorrt-8.6-2", True),
        ("fp16@tensorrt-8.6", "fp16@tensorrt-10.16", False),
        ("int8", "fp16@tensorrt-8.6", False),
    ],
)
def test_a_budget_is_for_engines_and_on_the_cpu_where_it_names_it(variant: str, label: str, expected: bool) -> None:
    assert applies(budget(variant), label) is expected


def test_readings_that_a_runtime_does_not_have_are_none_and_the_hosts_are_judged() -> None:
    found = measured(1.0, has_gpu=False)
    assert (found.gpu, found.enqueue, found.clock, found.judged) == (None, None, "host", found.host)


def test_no_reading_at_all_is_told_with_what_the_runtime_said() -> None:
    with pytest.raises(NothingTimed, match=r"batch 4: nothing was timed \(there is no reading.*no events here\)"):
        measurement_of(EngineTiming(notes=("no events here",)), 4, 4)


def test_a_launch_bound_engine_is_told() -> None:
    bound = EngineTiming((1.0,) * 20, (1.5,) * 20, (0.9,) * 20)
    assert "launches are timed" in measurement_of(bound, 1, 1).notes[0]
    assert measured(1.0).notes == ()


def test_rows_a_second_of_several_streams_are_counted_over_what_all_of_them_took() -> None:
    two = EngineTiming((1.0,) * 10, (2.0,) * 10, (0.1,) * 10, elapsed_s=0.01, streams=2)
    assert measurement_of(two, 8, 8).rows_per_s == pytest.approx(8 * 10 / 0.01)


def test_the_host_without_transfers_stands_beside_the_others() -> None:
    found = measurement_of(replace(timing(1.0), host_compute_ms=(1.02,) * 4), 8, 8)
    assert found.host_compute is not None
    assert (found.host_compute.median_ms, found.host_compute.count) == (1.02, 4)
    assert measured(1.0).host_compute is None


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=200), st.integers(1, 64))
def test_rows_a_second_are_rows_over_the_hosts_time(host_ms: list[float], rows: int) -> None:
    found = measurement_of(EngineTiming(host_ms=tuple(host_ms)), rows, rows)
    assert found.rows_per_s == pytest.approx(rows * len(host_ms) / (sum(host_ms) / 1e3))
    assert len(found.blocks_ms) == min(30, len(host_ms))


def test_layers_of_one_name_stay_apart_by_their_place() -> None:
    layers = layer_latencies([LayerTime("a", (1.0, 3.0, 2.0)), LayerTime("a", (5.0,)), LayerTime("b", ())])
    assert [(layer.position, layer.name, layer.median_ms) for layer in layers] == [(0, "a", 2.0), (1, "a", 5.0)]


def layer(name: str, node: str, precision: str = "fp16") -> EngineLayer:
    return EngineLayer(name, "CaskConvolution", (), (), (node,), precision, "", True, False, False, True, 0)


def test_layers_have_the_nodes_and_the_precision_that_the_inspector_tells_in_their_order() -> None:
    times = [LayerTime("a", (1.0,)), LayerTime("b", (2.0,)), LayerTime("a", (3.0,)), LayerTime("c", (4.0,))]
    shown = [layer("a", "Conv_0"), layer("a", "Conv_1", "fp32"), layer("b", "Relu_0"), layer("gone", "Conv_9")]
    found = [(row.name, row.nodes, row.precision) for row in layer_latencies(times, shown)]
    assert found == [
        ("a", ("Conv_0",), "fp16"),
        ("b", ("Relu_0",), "fp16"),
        ("a", ("Conv_1",), "fp32"),
        ("c", (), ""),
    ]


def test_what_was_not_measured_is_inconclusive_beside_what_was() -> None:
    found = replace(record(measured(1.0)), unmeasured=("batch 9: nothing was timed",))
    outcome = judged(found)
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert outcome.headline.startswith("batch 9: nothing was timed; 1 ms median")
    assert "measure for longer with --seconds" in outcome.message
    assert judged(found, budget(max_median_ms=0.5)).verdict is Verdict.FAIL


def test_the_spread_of_rebuilds_is_the_largest_median_over_the_smallest() -> None:
    found = replace(record(measured(1.0)), rebuilds=(measured(1.0), measured(1.1), measured(5.0, batch=1)))
    assert found.rebuild_spread(8) == pytest.approx(1.1)
    assert (found.rebuild_spread(1), found.rebuild_spread(2)) == (None, None)


@pytest.mark.parametrize(
    ("to", "known", "expected"),
    [
        ("fp32", (), ["fp32@tensorrt-8.6"]),
        ("fp16", (), []),
        ("fp32@tensorrt", ("fp32@onnxruntime", "fp32@tensorrt-10.16"), ["fp32@tensorrt-10.16"]),
        ("fp32@onnxruntime", ("fp32@onnxruntime-cuda", "fp32@onnxruntime"), ["fp32@onnxruntime"]),
    ],
)
def test_what_a_ratio_counts_from_is_known_by_its_label(to: str, known: tuple[str, ...], expected: list[str]) -> None:
    rules = [budget("fp16", to=to, max_ratio=1), budget("int8", to="fp8", max_ratio=1), budget("fp16", max_p99_ms=1)]
    assert ratio_labels(rules, FP16, known) == expected


def test_a_record_survives_the_way_to_disk() -> None:
    run = make_run(judged(record(measured(1.2)), budget(max_median_ms=1)))
    assert run_from_json(run_to_json(run), "x") == run
