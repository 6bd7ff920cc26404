"""Causes that no model can carry: a scripted engine that computes something else than it was given."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from parity.diagnose.registry import RULES
from parity.diagnose.rules import (
    fusion_or_tactic,
    int64_clamp,
    precision_not_applied,
    resize_modes,
    tf32,
    underflow,
)
from parity.layer_table import LayerReport, Validity
from parity.layers.observe import Observed, observe
from parity.options import PrecisionOptions
from parity.precision import forecast
from parity.results import BuildMessage, Census, CensusRow, EngineRecord, Invariant, Outcome
from parity.tolerance import Precision
from parity.verdict import Verdict
from tests.diagnosing import engine_evidence
from tests.plant import copy_of, rename_everything
from tests.planted.architectures import cnn, dense, depthwise, mixer, residual, transformer, unet
from tests.planted.faults import FAULTS
from tests.planted.models import plant
from tests.planted.net import Net

if TYPE_CHECKING:
    from onnx import ModelProto

    from parity.diagnose.evidence import Evidence
    from parity.diagnosis import Diagnosis

FP16, FP32 = PrecisionOptions(Precision.FP16), PrecisionOptions(Precision.FP32)
RECORD = EngineRecord(sha256="0" * 64, size_bytes=1, source="built", flags=("FP16",))


def _sound(architecture: object, seed: int = 1) -> tuple[ModelProto, dict[str, np.ndarray]]:
    made = plant(FAULTS["overflow"], architecture, seed, sick=False)
    assert made is not None
    return made.model, made.feed


def _rank(evidence: Evidence) -> list[Diagnosis]:
    return sorted((one for rule in RULES for one in rule(evidence)), key=lambda one: -one.certainty)


def _rounded(model: ModelProto, options: PrecisionOptions = FP16) -> ModelProto:
    return forecast(model, options).rounded


def _observed(model: ModelProto, engine: ModelProto, feed: dict[str, np.ndarray]) -> LayerReport:
    report = observe(Observed(model, engine, Precision.FP16), lambda: [feed], 2**30)
    return replace(report, rows=tuple(replace(row, observed_by="debug tensor") for row in report.rows))


def _miscompiled(model: ModelProto, seed: int) -> ModelProto:
    """Return a model in which one product's weights are another's: what a wrong kernel amounts to."""
    changed = copy_of(model)
    products = [node for node in changed.graph.node if node.op_type in {"Conv", "MatMul", "Gemm"}]
    names = {name for node in products for name in node.input[1:2]}
    tensors = [one for one in changed.graph.initializer if one.name in names]
    flipped = [(one, np.flip(numpy_helper.to_array(one)).copy()) for one in tensors]
    wrong = [(one, values) for one, values in flipped if not np.array_equal(values, numpy_helper.to_array(one))]
    chosen, values = wrong[np.random.default_rng(seed).integers(len(wrong))]
    chosen.CopyFrom(numpy_helper.from_array(values, chosen.name))
    return changed


@pytest.mark.parametrize(
    ("architecture", "seed"), [(cnn, 0), (residual, 1), (transformer, 2), (depthwise, 3), (mixer, 4)]
)
def test_an_engine_far_worse_than_its_forecast_has_a_fusion_or_a_tactic_to_blame(
    architecture: object, seed: int
) -> None:
    model, feed = _sound(architecture, seed)
    evidence = engine_evidence(model, _miscompiled(_rounded(model), seed), feed, FP16, record=RECORD)
    first = _rank(evidence)[0]
    assert (first.cause, first.is_confirmed) == ("fusion-or-tactic", None)
    gone = LayerReport(rows=_observed(model, _rounded(model), feed).rows, sources=(), coverage=1.0,
                       validity=Validity.INVALID, validity_reason="y: 61 dB, 3 dB in the plain engine",
                       is_nearer_observed=True)  # fmt: skip
    [again] = fusion_or_tactic.find(replace(evidence, layers=gone))
    assert again.is_confirmed
    assert again.certainty > first.certainty
    # One that is as wrong in another way, or worse, shows nothing of the plain one's error.
    [worse] = fusion_or_tactic.find(replace(evidence, layers=replace(gone, is_nearer_observed=False)))
    assert (worse.is_confirmed, worse.certainty) == (None, first.certainty)


def test_a_layer_of_the_engine_where_the_error_is_born_is_named() -> None:
    model, feed = _sound(residual)
    engine = _miscompiled(_rounded(model), 1)
    evidence = engine_evidence(model, engine, feed, FP16, layers=_observed(model, engine, feed))
    [found] = fusion_or_tactic.find(evidence)
    assert evidence.layers is not None
    assert set(evidence.layers.rows[evidence.layers.sources[0]].nodes) <= set(found.nodes)


def test_an_engine_that_breaks_a_law_has_a_nearer_cause_than_a_fusion() -> None:
    model, feed = _sound(cnn)
    law = Invariant("same feed twice", Verdict.FAIL, "two runs differ by 3")
    broken = Outcome("planted", "fp16", "fp16", "invariants", Verdict.FAIL, "", invariants=(law,))
    evidence = engine_evidence(model, _miscompiled(_rounded(model), 2), feed, FP16, others={"invariants": broken})
    [found] = fusion_or_tactic.find(evidence)
    assert found.certainty <= 0.3
    assert any("same feed twice" in sentence for sentence in found.evidence)


@pytest.mark.parametrize("architecture", [cnn, transformer, unet])
def test_no_rule_says_anything_of_an_engine_that_is_its_forecast(architecture: object) -> None:
    model, feed = _sound(architecture)
    assert _rank(engine_evidence(model, _rounded(model), feed, FP16, record=RECORD)) == []


def _resampled(mode: str, coordinates: str, nearest: str, seed: int) -> tuple[ModelProto, dict[str, np.ndarray]]:
    model, feed = _sound(unet, seed)
    resize = next(node for node in model.graph.node if node.op_type == "Resize")
    del resize.attribute[:]
    modes = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": nearest}
    resize.attribute.extend(helper.make_attribute(name, value) for name, value in modes.items())
    return model, feed


_WRONG = [
    (("linear", "half_pixel", "floor"), ("linear", "asymmetric", "floor")),
    (("linear", "half_pixel", "floor"), ("linear", "align_corners", "floor")),
    (("linear", "align_corners", "floor"), ("linear", "half_pixel", "floor")),
    (("nearest", "asymmetric", "floor"), ("nearest", "asymmetric", "ceil")),
    (("cubic", "half_pixel", "floor"), ("cubic", "asymmetric", "floor")),
]


@pytest.mark.parametrize("is_observed", [True, False], ids=["observed", "unobserved"])
@pytest.mark.parametrize(("asked", "done"), _WRONG)
def test_a_resize_in_another_mode_is_found_and_its_mode_is_named(
    asked: tuple[str, str, str], done: tuple[str, str, str], is_observed: bool
) -> None:
    seed = _WRONG.index((asked, done))
    model, feed = _resampled(*asked, seed)
    engine = _rounded(_resampled(*done, seed)[0])
    layers = _observed(model, engine, feed) if is_observed else None
    evidence = engine_evidence(model, engine, feed, FP16, record=RECORD, layers=layers)
    first = _rank(evidence)[0]
    assert (first.cause, first.is_confirmed) == ("resize-modes", True)
    wrong = done[2] if asked[0] == "nearest" else done[1]
    assert wrong in first.title


def _sampling(modes: dict[str, object], seed: int) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """Return a convolution, a grid sample that reaches past the edges, and a convolution."""
    net = Net(seed)
    x = net.conv(net.input(1, 3, 9, 9), 3, 4)
    grid = net.constant(net.draw.uniform(-1.3, 1.3, (1, 8, 8, 2)))
    return net.model(net.conv(net.op("GridSample", x, grid, **modes), 4, 4)), net.feed


def _padding(modes: dict[str, object], seed: int) -> tuple[ModelProto, dict[str, np.ndarray]]:
    net = Net(seed)
    x = net.conv(net.input(1, 3, 6, 6), 3, 4)
    pads = net.constant([0, 0, 2, 2, 0, 0, 2, 2], np.int64)
    return net.model(net.conv(net.op("Pad", x, pads, **modes), 4, 4)), net.feed


_MODES = {
    "align_corners": (_sampling, {"align_corners": 0}, {"align_corners": 1}),
    "padding_mode": (_sampling, {"padding_mode": "border"}, {"padding_mode": "zeros"}),
    "reflection": (_sampling, {"padding_mode": "reflection"}, {"padding_mode": "border"}),
    "constant": (_padding, {"mode": "reflect"}, {"mode": "constant"}),
    "edge": (_padding, {"mode": "reflect"}, {"mode": "edge"}),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", _MODES)
def test_a_grid_sample_or_pad_in_another_mode_is_found_and_one_in_its_own_left_alone(name: str, seed: int) -> None:
    made, asked, done = _MODES[name]
    model, feed = made(asked, seed)
    evidence = engine_evidence(model, _rounded(made(done, seed)[0]), feed, FP16, record=RECORD)
    first = _rank(evidence)[0]
    assert (first.cause, first.is_confirmed) == ("resize-modes", True)
    [wrong] = done.values()
    assert f"{wrong}" in first.title
    [node] = [node.name for node in model.graph.node if node.op_type in {"GridSample", "Pad"}]
    assert first.nodes == (node,)
    assert _rank(engine_evidence(model, _rounded(model), feed, FP16, record=RECORD)) == []


def _engine_plants() -> dict[str, tuple[ModelProto, ModelProto, dict[str, np.ndarray], EngineRecord]]:
    """Return a model, its wrong engine, a feed and a record for each cause that only an fp16 engine has."""
    sound, feed = _sound(residual)
    upscaled, map_feed = _resampled("linear", "half_pixel", "floor", 1)
    shifted = _rounded(_resampled("linear", "asymmetric", "floor", 1)[0])
    rows = {"x": np.random.default_rng(1).standard_normal((12, 4)).astype(np.float32)}
    clamped = replace(RECORD, messages=(BuildMessage("warning", "int64-clamped", "was clamped"),))
    return {
        "fusion-or-tactic": (sound, _miscompiled(_rounded(sound), 1), feed, RECORD),
        "precision-not-applied": (sound, sound, feed, RECORD),
        "resize-modes": (upscaled, shifted, map_feed, RECORD),
        "int64-clamp": (_gathering([2**33 + 5] * 3), _gathering([2**31 - 1] * 3), rows, clamped),
    }


@pytest.mark.parametrize("cause", ["fusion-or-tactic", "precision-not-applied", "resize-modes", "int64-clamp"])
def test_other_names_change_nothing_that_is_said_of_an_engine(cause: str) -> None:
    model, engine, feed, record = _engine_plants()[cause]
    plain, other = (
        _rank(engine_evidence(one, engine, feed, FP16, record=record)) for one in (model, rename_everything(model))
    )
    assert cause in {one.cause for one in plain}
    assert [_nameless(one) for one in other] == [_nameless(one) for one in plain]


@pytest.mark.parametrize("flags", [("TF32",), ()], ids=["flagged", "by its level"])
@pytest.mark.parametrize("seed", range(5))
def test_other_names_change_nothing_that_is_said_of_an_engine_in_tf32(flags: tuple[str, ...], seed: int) -> None:
    model, engine, feed = _in_tf32(seed)
    record = replace(RECORD, flags=flags)
    plain, other = (
        _rank(engine_evidence(one, engine, feed, FP32, record=record)) for one in (model, rename_everything(model))
    )
    assert plain[0].cause == "tf32"
    assert [_nameless(one) for one in other] == [_nameless(one) for one in plain]


def _in_tf32(seed: int) -> tuple[ModelProto, ModelProto, dict[str, np.ndarray]]:
    """Return a model that needs float32, an engine of it that ran in TF32, and a feed."""
    made = plant(FAULTS["cancelling_product"], (cnn, residual, transformer, dense, mixer)[seed], seed)
    assert made is not None
    return made.model, _rounded(made.model, PrecisionOptions(Precision.TF32)), made.feed


def _nameless(diagnosis: Diagnosis) -> tuple[object, ...]:
    return diagnosis.cause, diagnosis.certainty, diagnosis.is_confirmed, len(diagnosis.nodes), len(diagnosis.keep)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["Resize", "GridSample", "Pad"])
def test_resampling_in_its_own_mode_is_not_blamed_for_another_layer(name: str, seed: int) -> None:
    model, feed = {
        "Resize": lambda: _sound(unet, seed),
        "GridSample": lambda: _sampling({"align_corners": 0}, seed),
        "Pad": lambda: _padding({"mode": "reflect"}, seed),
    }[name]()
    # Another mode may well leave as much error as the wrong layer does: it is not the same error.
    evidence = engine_evidence(model, _miscompiled(_rounded(model), seed), feed, FP16, record=RECORD)
    assert resize_modes.find(evidence) == ()


def _gathering(values: list[int], modulus: int = 12) -> ModelProto:
    """Return a model that takes its rows by large whole numbers, modulo its size, and slices to the end."""
    int64 = {"big": values, "size": [modulus], "to": [np.iinfo(np.int64).max], "from": [0]}
    constants = [numpy_helper.from_array(np.array(held, np.int64), name) for name, held in int64.items()]
    nodes = [
        helper.make_node("Slice", ["x", "from", "to"], ["all"], "slice"),
        helper.make_node("Mod", ["big", "size"], ["index"], "mod"),
        helper.make_node("Gather", ["all", "index"], ["taken"], "gather", axis=0),
        helper.make_node("Exp", ["taken"], ["y"], "exp"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [12 if name == "x" else 3, 4]) for name in "xy")
    graph = helper.make_graph(nodes, "rows", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("seed", range(5))
def test_whole_numbers_beyond_32_bits_are_named_where_they_matter(seed: int) -> None:
    draw = np.random.default_rng(seed)
    large = [int(value) for value in draw.integers(2**33, 2**40, 3)]
    clamped = [2**31 - 1] * 3
    feed = {"x": draw.standard_normal((12, 4)).astype(np.float32)}
    message = BuildMessage("warning", "int64-clamped", "weights outside the range of INT32 was clamped")
    evidence = engine_evidence(_gathering(large), _gathering(clamped), feed, FP16,
                               record=replace(RECORD, messages=(message,)))  # fmt: skip
    [found] = int64_clamp.find(evidence)
    assert found.nodes == ("mod",)
    assert found == _rank(evidence)[0]


def test_the_end_of_a_slice_beyond_32_bits_is_harmless() -> None:
    feed = {"x": np.random.default_rng(1).standard_normal((12, 4)).astype(np.float32)}
    evidence = engine_evidence(_gathering([0, 1, 2]), _gathering([5, 6, 7]), feed, FP16, record=RECORD)
    assert int64_clamp.find(evidence) == ()


def _census(share: float) -> Outcome:
    rows = (CensusRow("fp32", 9, None, 9, None),) if share < 0.5 else (CensusRow("fp16", 9, None, 9, None),)
    census = Census("fp16", rows, share, None, 0.5)
    verdict = Verdict.FAIL if share < 0.5 else Verdict.PASS
    return Outcome("planted", "fp16", "fp16", "census", verdict, "", census=census)


@pytest.mark.parametrize("architecture", [cnn, residual, transformer, dense, mixer])
def test_an_engine_in_float32_that_was_asked_for_half_is_told_by_its_outputs_and_by_its_census(
    architecture: object,
) -> None:
    model, feed = _sound(architecture)
    evidence = engine_evidence(model, model, feed, FP16, record=RECORD)
    [by_outputs] = precision_not_applied.find(evidence)
    [by_census] = precision_not_applied.find(replace(evidence, outcomes={**evidence.outcomes, "census": _census(0.0)}))
    assert by_outputs.certainty < by_census.certainty
    assert by_census.is_confirmed


def test_an_engine_that_runs_in_half_is_not_said_not_to() -> None:
    model, feed = _sound(cnn)
    evidence = engine_evidence(model, _rounded(model), feed, FP16, record=RECORD, others={"census": _census(1.0)})
    assert precision_not_applied.find(evidence) == ()


@pytest.mark.parametrize("seed", range(5))
def test_an_fp32_engine_that_ran_in_tf32_is_told_by_its_level_and_surely_by_its_flag(seed: int) -> None:
    model, engine, feed = _in_tf32(seed)
    plain = replace(RECORD, flags=())
    evidence = engine_evidence(model, engine, feed, FP32, record=plain)
    [by_level] = tf32.find(evidence)
    flagged = engine_evidence(model, engine, feed, FP32, record=replace(RECORD, flags=("TF32",)))
    [by_flag] = tf32.find(flagged)
    assert by_level.certainty < by_flag.certainty
    assert _rank(flagged)[0] == by_flag
    sound = engine_evidence(model, model, feed, FP32, record=replace(RECORD, flags=("TF32",)))
    assert tf32.find(sound) == ()


@pytest.mark.parametrize("seed", range(5))
def test_a_wrong_layer_is_not_blamed_on_the_tf32_that_an_engine_runs_in_as_well(seed: int) -> None:
    model, feed = _sound((cnn, residual, transformer, dense, mixer)[seed], seed)
    engine = _miscompiled(_rounded(model, PrecisionOptions(Precision.TF32)), seed)
    evidence = engine_evidence(model, engine, feed, FP32, record=replace(RECORD, flags=("TF32",)))
    [found] = tf32.find(evidence)
    assert found.is_confirmed is False
    assert _rank(evidence)[0].cause == "fusion-or-tactic"


def test_an_fp32_engine_that_is_wrong_is_not_said_to_run_in_tf32() -> None:
    model, feed = _sound(cnn)
    evidence = engine_evidence(model, _miscompiled(model, 1), feed, FP32, record=replace(RECORD, flags=()))
    assert tf32.find(evidence) == ()


def test_what_the_builder_said_of_weights_is_repeated_where_nothing_else_explains_the_engine() -> None:
    model, feed = _sound(cnn)
    message = BuildMessage("warning", "subnormal-weights", "Weights are subnormal", 7)
    record = replace(RECORD, messages=(message,))
    [found] = underflow.find(engine_evidence(model, _miscompiled(_rounded(model), 1), feed, FP16, record=record))
    assert found.certainty <= 0.3
    assert "7 times" in found.evidence[0]
    assert underflow.find(engine_evidence(model, _rounded(model), feed, FP16, record=record)) == ()
