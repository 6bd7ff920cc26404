"""Rules on INT8: scales, calibration inputs, whole steps of a kernel. Plants are forecast and observed for real."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto

from parity.case.feeds import open_feeds
from parity.case.loader import load_case
from parity.case.model import PythonSource
from parity.diagnose.evidence import Answers
from parity.diagnose.rules import calibration_preprocessing, int8_scale, qdq_kernel_lsb
from parity.graph import load_model, model_interface
from parity.options import CalibrationMethod, CalibrationOptions, PrecisionOptions
from parity.preprocess import preset
from parity.tolerance import Precision
from tests.plant import find_places, outlier_channel, rename_everything, seeded_places
from tests.planted.architectures import autoencoder, dense, mixer
from tests.planted.faults import FAULTS
from tests.planted.models import plant
from tests.rule_evidence import ScriptedProbes, judged, observed, scripted, told
from tests.rule_nets import SEEDS, Net, chain, images
from tests.tiny_models import conv_relu

INT8 = PrecisionOptions(Precision.INT8)
RULES = (calibration_preprocessing, int8_scale, qdq_kernel_lsb)


def observe(seed: int, model, calibration=None):
    return observed(model, INT8, images(seed), calibration or images(seed + 1, count=6))


@cache
def clean(seed: int):
    return observe(seed, chain(seed))


@cache
def sick(seed: int):
    return observe(seed, planted(seed))


def planted(seed: int, *, renamed: bool = False):
    model = chain(seed)
    [feed] = images(seed, count=1)
    broken = outlier_channel(model, find_places(model, feed)[0])
    return rename_everything(broken) if renamed else broken


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rule", RULES)
def test_rules_of_int8_say_nothing_of_a_sound_one(rule, seed):
    assert rule.find(clean(seed)) == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_an_outlier_channel_is_found_and_keeping_its_reader_mends_it(seed):
    [found] = int8_scale.find(sick(seed))
    assert (found.cause, found.is_confirmed) == ("int8-scale", True)
    assert found.nodes[0] == "planted_0"
    assert "planted_1" in found.keep
    assert "channels" in found.title


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("architecture", [autoencoder, dense, mixer], ids=lambda architecture: architecture.__name__)
def test_an_outlier_channel_is_found_in_architectures_that_the_rule_was_not_written_on(architecture, seed):
    made = plant(FAULTS["overflow"], architecture, seed, sick=False)
    feeds, known = (
        [{name: rng.standard_normal(made.feed[name].shape).astype(np.float32) for name in made.feed} for _ in range(6)]
        for rng in (np.random.default_rng(seed), np.random.default_rng(seed + 1))
    )
    [place] = seeded_places(find_places(made.model, made.feed), seed, 1)
    [found] = int8_scale.find(observed(outlier_channel(made.model, place), INT8, feeds[:2], known))
    assert (found.nodes[0], found.is_confirmed) == ("planted_0", True)
    assert "planted_1" in found.keep
    assert len(found.keep) <= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_few_values_far_beyond_the_grid_are_told_from_many_that_just_miss_it(seed):
    evidence = clean(seed)
    assert evidence.layers is not None

    def find(share, steps):
        rows = tuple(
            replace(row, quantized=replace(row.quantized, saturation_share=share, rmse_steps=steps))
            if row.quantized
            else row
            for row in evidence.layers.rows
        )
        return int8_scale.find(replace(evidence, layers=replace(evidence.layers, rows=rows)))

    assert find(0.001, 0.3) == ()
    [found] = find(0.001, 2.0)
    assert "0.10% of its values lie beyond the grid" in found.title
    # The probe that keeps their readers cannot refute a calibration that saw too little.
    assert found.is_confirmed is None


@pytest.mark.parametrize("seed", SEEDS)
def test_a_calibration_on_weaker_inputs_saturates_and_says_by_how_much(seed):
    weak = [{"x": feed["x"] * np.float32(0.5)} for feed in images(seed + 1, count=2)]
    [found] = int8_scale.find(observe(seed, chain(seed), weak))
    assert found.cause == "int8-scale"
    assert any("reaches" in sentence and "in calibration" in sentence for sentence in found.evidence)
    assert "more images" in found.remedy


@pytest.mark.parametrize("seed", SEEDS)
def test_a_percentile_that_cuts_off_too_much_is_told_from_a_small_calibration_set(seed):
    options = replace(INT8, calibration=CalibrationOptions(CalibrationMethod.PERCENTILE, percentile=90.0))
    feeds = images(seed)
    [found] = int8_scale.find(observed(chain(seed), options, feeds, feeds))
    assert "cuts off" in found.remedy


@pytest.mark.parametrize("seed", SEEDS)
def test_few_levels_in_use_are_told(seed):
    evidence = clean(seed)
    assert evidence.layers is not None
    rows = tuple(
        replace(row, quantized=replace(row.quantized, used_bin_share=0.03)) if row.quantized else row
        for row in evidence.layers.rows
    )
    [found] = int8_scale.find(replace(evidence, layers=replace(evidence.layers, rows=rows)))
    assert "3.0% of the levels" in found.title


@pytest.mark.parametrize("seed", SEEDS)
def test_other_names_change_nothing_that_rules_of_int8_say(seed):
    plain, other = sick(seed), observe(seed, planted(seed, renamed=True))
    assert [told(rule.find(plain)) for rule in RULES] == [told(rule.find(other)) for rule in RULES]


MISTAKES = {
    "divided by 255 once more": lambda x: x / 255,
    "not divided by 255": lambda x: x * 255,
    "no mean taken off": lambda x: x - 3 * x.std(),
    "the same, reversed": lambda x: x[:, ::-1],
    "a factor of": lambda x: x * 5,
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("seed", SEEDS)
def test_calibration_inputs_that_are_preprocessed_otherwise_are_named(mistake, seed):
    known = [{"x": MISTAKES[mistake](feed["x"])} for feed in images(seed + 1, count=6)]
    evidence = scripted(
        chain(seed), precision=Precision.INT8, feeds=images(seed, count=4), calibration=lambda: iter(known)
    )
    [found] = calibration_preprocessing.find(evidence)
    assert (found.cause, found.is_confirmed) == ("calibration-preprocessing", True)
    assert mistake in found.evidence[0]


def photos(rng: np.random.Generator, count: int):
    """Return images whose brightness, contrast and tint differ as photos' do, one a feed."""
    made = []
    for _ in range(count):
        level, tint = rng.uniform(0.1, 0.9) + rng.normal(0, 0.08, (1, 3, 1, 1)), rng.uniform(0.03, 0.3)
        made.append({"x": np.clip(level + tint * rng.standard_normal((1, 3, 12, 12)), 0, 1).astype(np.float32)})
    return made


@pytest.mark.parametrize(("met", "known"), [(1, 1), (1, 4), (2, 16)])
def test_a_few_images_that_happen_to_be_dark_or_flat_were_preprocessed_no_other_way(met, known):
    # A run looks for causes on its first feed and its worst one, which may be one image each.
    for seed in range(20):
        rng = np.random.default_rng(seed)
        seen = photos(rng, known)
        evidence = scripted(
            chain(1), precision=Precision.INT8, feeds=photos(rng, met), calibration=lambda seen=seen: iter(seen)
        )
        assert calibration_preprocessing.find(evidence) == ()


def test_a_factor_of_255_is_no_luck_of_two_images():
    rng = np.random.default_rng(1)
    met, known = photos(rng, 1), [{"x": feed["x"] / 255} for feed in photos(rng, 1)]
    evidence = scripted(chain(1), precision=Precision.INT8, feeds=met, calibration=lambda: iter(known))
    [found] = calibration_preprocessing.find(evidence)
    assert "divided by 255 once more" in found.evidence[0]


def test_other_steps_in_the_case_are_told_where_statistics_are_alike():
    sources = [PythonSource(None, "data.py:draw", 1, "x", preset(name, (8, 8))) for name in ("yolo", "rtdetr")]
    feeds = images(1)
    evidence = scripted(
        conv_relu(),
        precision=Precision.INT8,
        feeds=feeds,
        calibration=lambda: iter(feeds),
        case=SimpleNamespace(evaluation=sources[0], calibration=sources[1]),
    )
    [found] = calibration_preprocessing.find(evidence)
    assert (found.is_confirmed, found.certainty) == (False, 0.5)


def quantized_head(seed: int):
    """Return x (batch, 6) -> y, which an INT8 pair rounds at the end; and the scale of it."""
    net = Net(seed, ["batch", 6])
    net.add("MatMul", "x", net.weights(6, 4))
    scale, zero = 0.01 * (1 + seed % 5), net.constant(np.array(0, np.int8))
    step = net.constant(np.array(scale, np.float32))
    net.add("QuantizeLinear", net.end, step, zero)
    net.add("DequantizeLinear", net.end, step, zero)
    shape = net.constant(np.array([-1, 2, 2], np.int64))
    end = net.add("Reshape", net.end, shape)
    return net.done((end, TensorProto.FLOAT, ["batch", 2, 2])), scale


def kernel(seed: int, most: int, *, off: float = 0.0):
    """Return evidence of an engine that is up to so many steps away from its forecast."""
    model, scale = quantized_head(seed)
    [name] = [value.name for value in model.graph.output]
    rng = np.random.default_rng(seed)
    rounded = (rng.integers(-100, 100, (5, 2, 2)) * scale).astype(np.float32)
    steps = rng.integers(-most, most + 1, rounded.shape)
    steps[0, 0, 0] = most
    candidate = (rounded + (steps + off) * scale).astype(np.float32)
    answers = [Answers({}, {name: rounded + np.float32(0.3 * scale)}, {name: candidate}, {name: rounded})]
    return scripted(
        model,
        precision=Precision.INT8,
        outcomes=[judged(answers, Precision.INT8)],
        probes=ScriptedProbes(answers),
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("most", [1, 2])
def test_an_engine_that_is_whole_steps_away_from_its_forecast_is_harmless(seed, most):
    [found] = qdq_kernel_lsb.find(kernel(seed, most))
    assert (found.cause, found.is_confirmed, found.keep) == ("qdq-kernel-lsb", True, ())


@pytest.mark.parametrize("seed", SEEDS)
def test_parts_of_steps_and_many_steps_are_another_thing(seed):
    assert qdq_kernel_lsb.find(kernel(seed, 5)) == ()
    assert qdq_kernel_lsb.find(kernel(seed, 1, off=0.3)) == ()


def test_an_output_that_no_pair_rounds_has_no_steps():
    answers = [Answers({}, {"logits": np.ones(3, np.float32)}, {"logits": np.zeros(3, np.float32)})]
    evidence = scripted(precision=Precision.INT8, outcomes=[judged(answers)], probes=ScriptedProbes(answers))
    assert qdq_kernel_lsb.find(evidence) == ()


@pytest.mark.parametrize("number", [0, 1])
def test_an_outlier_channel_of_a_trained_network_is_found_and_the_sound_network_left_alone(number):
    case = load_case(Path(__file__).parents[2] / "cases" / "shapes_classifier")
    model = load_model(case.model)
    sources = (case.evaluation, case.calibration)
    feeds, known = (
        [one.tensors for one in islice(open_feeds(source, model_interface(model), 4), 2)] for source in sources
    )
    place = seeded_places(find_places(model, feeds[0]), 3, 2)[number]
    [found] = int8_scale.find(observed(outlier_channel(model, place), INT8, feeds, known))
    assert (found.nodes, found.is_confirmed) == (("planted_0", "planted_1"), True)
    if number == 0:
        sound = observed(model, INT8, feeds, known)
        assert [rule.find(sound) for rule in RULES] == [(), (), ()]
