"""Profiles, layouts and dtypes of inputs and outputs and a parser's switches, from a request's options."""

from __future__ import annotations

from typing import Any

import pytest

from parity.worker.config import flags_set, set_parser_flags
from parity.worker.errors import FeedRefused, ModelRefused, PrecisionMissing
from tests import config_bench
from tests.config_bench import IMAGES, NEW, OLD, Bench
from tests.fake_tensorrt_objects import make_tensor

# Fixtures, asked for by name.
bench, at = config_bench.bench, config_bench.at


def test_dla_takes_its_core_its_fallback_and_single_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(NEW, monkeypatch)
    monkeypatch.setattr(bench.trt.Builder, "num_DLA_cores", 2)
    conv, relu = bench.add_layer("conv"), bench.add_layer("relu", "ACTIVATION")
    devices = {"*": "dla", "relu": "gpu"}
    config = bench.config(options={"dla_core": 1, "gpu_fallback": True, "layer_devices": devices})
    assert (config.default_device_type, config.DLA_core) == (bench.trt.DeviceType.DLA, 1)
    assert flags_set(bench.trt, config) == ["GPU_FALLBACK"]
    assert config.called("set_device_type") == [
        (conv, bench.trt.DeviceType.DLA),
        (relu, bench.trt.DeviceType.DLA),
        (relu, bench.trt.DeviceType.GPU),
    ]
    with pytest.raises(ModelRefused, match="'pool' matches none of the network's 2 layers"):
        bench.config(options={"layer_devices": {"pool": "dla"}})


def test_profiles_keep_their_order(bench: Bench) -> None:
    other = {"images": {"min": [1, 3, 8, 8], "opt": [1, 3, 8, 8], "max": [1, 3, 8, 8]}}
    config = bench.config(profiles=[IMAGES, other])
    profiles = config.kept("profiles", list)
    assert [profile.get_shape("images")[2][0] for profile in profiles] == [8, 1]


def test_values_of_a_shape_input_take_the_place_of_shapes(at: Any) -> None:
    bench = at(OLD)
    size = bench.network.add_input("size", bench.trt.DataType.INT32, (2,))
    size.__dict__["is_shape_tensor"] = True
    with pytest.raises(FeedRefused, match="optimization profile 0 has no shapes for input size"):
        bench.config()
    config = bench.config(profiles=[{**IMAGES, "size": {"min": [4, 4], "opt": [8, 8], "max": [16, 16]}}])
    assert config.kept("profiles", list)[0].called("set_shape_input") == [("size", (4, 4), (8, 8), (16, 16))]


def test_open_inputs_without_shapes_are_refused_and_closed_ones_need_none(at: Any) -> None:
    with pytest.raises(FeedRefused, match=r"inputs images have open axes; give their shapes in \[shapes\.images\]"):
        at(OLD).config(profiles=[])
    with pytest.raises(FeedRefused, match="optimization profile 0 names pixels; the network has images"):
        at(OLD).config(profiles=[{"pixels": IMAGES["images"]}])
    assert at(OLD, shape=(1, 3, 8, 8)).config(profiles=[]).num_optimization_profiles == 0


def test_fixed_inputs_get_a_profile_where_data_decides_the_shape_of_an_output(at: Any) -> None:
    bench = at(OLD, shape=(1, 3, 8, 8))
    bench.network.mark_output(make_tensor(bench.trt, "found", bench.trt.DataType.INT32, (-1, 3)))
    (profile,) = bench.config(profiles=[]).kept("profiles", list)
    assert profile.get_shape("images") == [(1, 3, 8, 8)] * 3


def test_an_input_with_a_bracket_in_its_name_gets_its_shapes(at: Any) -> None:
    bench = at(OLD, shape=(1, 3, 8, 8))
    bench.network.add_input("x[0]", bench.trt.DataType.FLOAT, (-1,))
    shapes = {"min": [1], "opt": [2], "max": [3]}
    config = bench.config(profiles=[{"x[0]": shapes}])
    assert config.kept("profiles", list)[0].get_shape("x[0]") == [(1,), (2,), (3,)]


def test_layouts_and_weak_dtypes_of_inputs_and_outputs_are_set(at: Any) -> None:
    bench = at(OLD)
    trt = bench.trt
    io = {"images": {"dtype": "float16", "formats": ["hwc8", "linear"]}, "logits": {"dtype": "float16"}}
    bench.config("fp16", options={"io": io})
    images, logits = bench.network.get_input(0), bench.network.get_output(0)
    assert (images.dtype, logits.dtype) == (trt.DataType.HALF, trt.DataType.HALF)
    assert images.allowed_formats == 1 << int(trt.TensorFormat.HWC8) | 1 << int(trt.TensorFormat.LINEAR)


def test_dtypes_of_a_strongly_typed_network_are_its_models(at: Any) -> None:
    with pytest.raises(PrecisionMissing, match=r"build\.io\.images\.dtype: the dtypes of a strongly typed network"):
        at(NEW).config("fp16", options={"io": {"images": {"dtype": "float16"}}})
    with pytest.raises(FeedRefused, match=r"build\.io\.pixels: no such input or output; the network has images, log"):
        at(NEW).config(options={"io": {"pixels": {"formats": ["hwc8"]}}})


def test_parser_flags_are_switched_where_there_are_any(at: Any) -> None:
    bench = at(NEW)
    parser, flags = bench.trt.OnnxParser(None, None), bench.trt.OnnxParserFlag
    set_parser_flags(bench.trt, parser, {"native_instancenorm": False, "enable_plugin_override": True})
    assert parser.called("clear_flag") == [(flags.NATIVE_INSTANCENORM,)]
    assert parser.called("set_flag") == [(flags.ENABLE_PLUGIN_OVERRIDE,)]
    with pytest.raises(PrecisionMissing, match=r"parser_flags\.native_instancenorm: TensorRT 8\.6\.0 has no OnnxPars"):
        set_parser_flags(at(OLD).trt, parser, {"native_instancenorm": True})
