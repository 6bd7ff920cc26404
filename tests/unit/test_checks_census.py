"""The census: what real engines run, and the silently float32 engine that it exists for."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.backends.engine import LayerTime
from parity.checks.census import census_outcome, judge_census, take_census
from parity.errors import BackendError
from parity.inspector import EngineLayer, parse_inspection
from parity.results import Census, Outcome
from parity.tolerance import Precision
from parity.verdict import Verdict
from tests.engine_fakes import FakeEngine
from tests.pages import ROOT

DATA = ROOT / "tests" / "data" / "inspector"
FEED = {"x": np.zeros((1, 5), np.float32)}
BLANK = Outcome("shapes", "fp16@tensorrt-8.6", "fp16", "census", Verdict.ERROR, "")


def real(precision: str) -> tuple[tuple[EngineLayer, ...], tuple[LayerTime, ...]]:
    layers = parse_inspection((DATA / f"tensorrt-8.6-{precision}.json").read_text(encoding="utf-8")).layers
    readings = json.loads((DATA / f"tensorrt-8.6-{precision}-times.json").read_text(encoding="utf-8"))
    return layers, tuple(LayerTime(name, tuple(times)) for name, times in readings.items())


def layer(precision: str, name: str = "conv", tactic: str = "a_kernel", **fields: object) -> EngineLayer:
    plain = EngineLayer(name, "CaskConvolution", (), (), (), precision, tactic, is_arithmetic=True, is_reformat=False)
    return replace(plain, **fields)


def census(*precisions: str, asked: Precision = Precision.FP16, share: float = 0.5) -> Census:
    return take_census([layer(precision) for precision in precisions], (), asked, share)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.TF32, Precision.FP16, Precision.INT8])
def test_a_real_engine_runs_what_it_was_asked_for(precision: Precision) -> None:
    taken = take_census(*real(precision), precision, 0.5)
    assert judge_census(taken).verdict is Verdict.PASS
    assert taken.time_share is not None
    assert taken.time_share > 0.8


@pytest.mark.parametrize(
    ("engine", "asked"),
    [("fp32", "fp16"), ("fp32", "tf32"), ("fp32", "int8"), ("tf32", "fp16"), ("fp16", "int8"), ("tf32", "fp32"),
     ("fp16", "fp32"), ("int8", "fp32")],
)  # fmt: skip
def test_a_real_engine_of_another_precision_fails(engine: str, asked: str) -> None:
    judgement = judge_census(take_census(*real(engine), Precision(asked), 0.5))
    assert judgement.verdict is Verdict.FAIL
    assert asked in judgement.reasons[0]


def test_the_rows_of_a_real_engine_hold_every_layer_and_all_of_the_time() -> None:
    layers, times = real("tf32")
    taken = take_census(layers, times, Precision.TF32, 0.5)
    assert [(row.precision, row.layer_count, row.arithmetic_count) for row in taken.rows] == [
        ("fp32", 11, 2), ("tf32", 20, 20),
    ]  # fmt: skip
    assert sum(row.time_ms or 0.0 for row in taken.rows) == pytest.approx(sum(np.median(t.times_ms) for t in times))
    assert taken.share == pytest.approx(20 / 22)


def test_one_tf32_layer_fails_an_engine_that_was_asked_for_fp32() -> None:
    judgement = judge_census(census(*["fp32"] * 99, "tf32", asked=Precision.FP32))
    assert judgement.verdict is Verdict.FAIL
    assert judgement.reasons == ("fp32 was asked, and coarser arithmetic is in the engine: 1 at tf32.",)


def test_half_of_the_layers_is_enough_and_less_is_not() -> None:
    assert judge_census(census("fp16", "fp32")).verdict is Verdict.PASS
    assert judge_census(census("fp16", "fp32", "fp32")).verdict is Verdict.FAIL


def test_a_case_may_ask_for_less() -> None:
    assert judge_census(census("fp16", "fp32", "fp32", share=0.3)).verdict is Verdict.PASS


def test_many_small_layers_do_not_excuse_a_large_one_that_takes_the_time() -> None:
    layers = [layer("fp16", "a"), layer("fp16", "b"), layer("fp32", "large")]
    times = [LayerTime(name, (ms,) * 3) for name, ms in (("a", 0.1), ("b", 0.1), ("large", 5.0))]
    judgement = judge_census(take_census(layers, times, Precision.FP16, 0.5))
    assert judgement.verdict is Verdict.FAIL
    assert "runs 0.2 of 5.2 ms" in judgement.reasons[0]


def test_layers_that_compute_nothing_are_not_counted_for_a_precision() -> None:
    copies = [layer("fp16", is_arithmetic=False, is_reformat=True)] * 50
    assert judge_census(take_census([*copies, layer("fp32")], (), Precision.FP16, 0.5)).verdict is Verdict.FAIL


def test_an_engine_without_arithmetic_is_inconclusive() -> None:
    judgement = judge_census(take_census([layer("fp16", is_arithmetic=False)], (), Precision.FP16, 0.5))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "No convolution" in judgement.reasons[0]


def foreign(nodes: tuple[str, ...] = ("a", "b")) -> EngineLayer:
    return layer("none", "{ForeignNode[a...b]}", "", is_arithmetic=False, is_opaque=True, nodes=nodes)


def test_what_cannot_be_seen_into_never_passes_for_what_was_asked() -> None:
    judgement = judge_census(take_census([foreign(), layer("fp16")] + [foreign()] * 2, (), Precision.FP16, 0.5))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "What cannot be seen into decides." in judgement.reasons[0]
    assert judgement.notes == (
        "3 arithmetic layers cannot be seen into.",
        "No time was measured of any arithmetic layer.",
    )


def test_what_cannot_be_seen_into_does_not_save_an_engine_that_falls_short_anyway() -> None:
    judgement = judge_census(take_census([foreign(), *[layer("fp32")] * 3], (), Precision.FP16, 0.5))
    assert judgement.verdict is Verdict.FAIL


def test_operators_tell_that_a_foreign_node_holds_no_product() -> None:
    layers = [foreign(), layer("fp16")]
    plain = take_census(layers, (), Precision.FP16, 0.9, {"a": "Add", "b": "Softmax"})
    products = take_census(layers, (), Precision.FP16, 0.9, {"a": "Add", "b": "MatMul"})
    unknown = take_census(layers, (), Precision.FP16, 0.9, {"a": "Add"})
    assert judge_census(plain).verdict is Verdict.PASS
    assert judge_census(products).verdict is Verdict.INCONCLUSIVE
    assert judge_census(unknown).verdict is Verdict.INCONCLUSIVE


def test_float32_without_a_kernels_name_is_not_seen_where_tf32_may_run() -> None:
    layers = [layer("fp32", tactic="")]
    proved = take_census(layers, (), Precision.FP32, 0.5)
    unknown = take_census(layers, (), Precision.FP32, 0.5, may_use_tf32=True)
    assert judge_census(proved).verdict is Verdict.PASS
    assert judge_census(unknown).verdict is Verdict.INCONCLUSIVE


def test_times_of_layers_with_one_name_are_joined_by_position() -> None:
    layers = [layer("fp16", "same"), layer("fp32", "same")]
    times = [LayerTime("same", (3.0,)), LayerTime("same", (1.0,))]
    rows = {row.precision: row.time_ms for row in take_census(layers, times, Precision.FP16, 0.5).rows}
    assert rows == {"fp16": 3.0, "fp32": 1.0}


def test_times_in_another_order_or_with_gaps_are_joined_by_name() -> None:
    layers = [layer("fp16", "a"), layer("fp32", "b"), layer("int8", "c")]
    times = [LayerTime("b", (1.0, 9.0, 2.0)), LayerTime("unknown", (7.0,)), LayerTime("a", (3.0,))]
    taken = take_census(layers, times, Precision.FP16, 0.3)
    assert {row.precision: row.time_ms for row in taken.rows} == {"fp16": 3.0, "fp32": 2.0, "int8": None}
    assert judge_census(taken).notes == ("No time was measured of arithmetic layers: int8.",)


@given(st.lists(st.sampled_from(["fp32", "tf32", "fp16", "int8", "none", "other"]), min_size=1, max_size=12),
       st.sampled_from(list(Precision)))  # fmt: skip
def test_shares_are_those_of_plain_counting_and_a_pass_has_them(precisions: list[str], asked: Precision) -> None:
    taken = census(*precisions, asked=asked)
    assert taken.share == pytest.approx(precisions.count(asked) / len(precisions))
    if judge_census(taken).verdict is Verdict.PASS:
        assert taken.share >= 0.5
        assert asked != "fp32" or not {"tf32", "fp16", "int8"} & set(precisions)


def engine_of(precision: str, **fields: object) -> FakeEngine:
    text = (DATA / f"tensorrt-8.6-{precision}.json").read_text(encoding="utf-8")
    return FakeEngine(inspector_json=text, times=real(precision)[1], **fields)


def test_the_outcome_of_a_silently_float32_engine_names_layers_place_and_next_command() -> None:
    outcome = census_outcome(
        BLANK, engine_of("fp32"), FEED, asked=Precision.FP16, minimum_share=0.5, next_command="parity run x"
    )
    assert outcome.verdict is Verdict.FAIL
    assert outcome.headline == "fp16 runs 0 of 22 arithmetic layers (0 %), 0 % of their time"
    lines = outcome.message.splitlines()
    assert lines[0].startswith("fp16 was asked and runs 0 of 22 arithmetic layers (0 %); at least 50 % is expected.")
    assert lines[1].startswith("fp32: 22 arithmetic layers, ")
    assert lines[2].startswith("not at fp16: stem + stem_relu, ")
    assert lines[3:] == ["in: shapes / fp16@tensorrt-8.6 / census", "next: parity run x"]
    assert outcome.census is not None


def test_the_outcome_of_a_sound_engine_has_no_message() -> None:
    outcome = census_outcome(BLANK, engine_of("fp16"), FEED, asked=Precision.FP16, minimum_share=0.5, next_command="")
    assert (outcome.verdict, outcome.message) == (Verdict.PASS, "")
    assert outcome.headline.startswith("fp16 runs 22 of 22 arithmetic layers (100 %), ")


def test_an_engine_without_detailed_layers_is_an_error_with_the_way_out() -> None:
    engine = FakeEngine(inspector_json='{"Layers": ["a"]}')
    with pytest.raises(BackendError, match="DETAILED"):
        census_outcome(BLANK, engine, FEED, asked=Precision.FP16, minimum_share=0.5, next_command="")
