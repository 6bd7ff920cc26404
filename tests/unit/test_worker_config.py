"""From a request's options to a builder's configuration, on stand-ins with exactly the symbols of a release."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import polygraphy.backend.trt  # noqa: F401 - its modules must be there before a stand-in is put into them
import pytest

from parity.build_options import BuildOptions
from parity.worker.config import flags_set, make_config, require_precision, set_parser_flags
from parity.worker.errors import FeedRefused, ModelRefused, PrecisionMissing, WorkerError
from parity.worker.symbols import RELEASES as HOLDERS
from tests.fake_tensorrt import RELEASES, fake_tensorrt, install, make_tensor

OLD, FIRST, LAST_WEAK, NEW = RELEASES
IMAGES = {"images": {"min": [1, 3, 8, 8], "opt": [4, 3, 8, 8], "max": [8, 3, 8, 8]}}
API = json.loads((Path(__file__).parents[1] / "data" / "tensorrt-api.json").read_text(encoding="utf-8"))


class Bench:
    """One release with a builder and a network: images (-1, 3, 8, 8) -> logits."""

    def __init__(self, release: str, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...] = (-1, 3, 8, 8)) -> None:
        self.trt = install(monkeypatch, fake_tensorrt(release))
        self.builder = self.trt.Builder(None)
        self.network = self.builder.create_network(0)
        self.network.add_input("images", self.trt.DataType.FLOAT, shape)
        # As TensorRT infers it: as many rows as the images have.
        self.network.mark_output(make_tensor(self.trt, "logits", self.trt.DataType.FLOAT, (shape[0], 4)))
        self.notes: list[str] = []

    def add_layer(self, name: str, kind: str = "CONVOLUTION", dtype: str = "FLOAT") -> Any:
        tensor = make_tensor(self.trt, f"{name}:0", getattr(self.trt.DataType, dtype), (-1, 4))
        layer = self.trt.ILayer()
        layer.__dict__.update(name=name, type=getattr(self.trt.LayerType, kind), num_outputs=1)
        layer.__dict__["get_output"] = lambda _index: tensor
        self.network.kept("layers", list).append(layer)
        return layer

    def config(self, precision: str = "fp32", *, calibrator: Any = None, **request: Any) -> Any:
        default = {
            "precision": precision,
            "typing": "weak" if hasattr(self.trt.BuilderFlag, "FP16") else "strong",
            "obey": False,
            "keep": [],
            "keep_precision": "fp32",
            "options": {},
            "profiles": [IMAGES],
            "timing_cache": None,
            "source": {"kind": "onnx", "model": "model.onnx"},
        }
        return make_config(
            self.trt, self.builder, self.network, {**default, **request}, self.notes.append, calibrator=calibrator
        )

    def flags(self, precision: str = "fp32", **request: Any) -> list[str]:
        return flags_set(self.trt, self.config(precision, **request))


@pytest.fixture(params=RELEASES)
def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(request.param, monkeypatch)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda release, **kwargs: Bench(release, monkeypatch, **kwargs)


def test_fp32_turns_tf32_off_and_tf32_leaves_it_on(bench: Bench) -> None:
    assert bench.flags("fp32") == []
    assert bench.flags("tf32") == ["TF32"]


def test_tf32_of_float32_layers_can_be_asked_for_and_refused(bench: Bench) -> None:
    assert bench.flags("fp32", options={"tf32": True}) == ["TF32"]
    assert bench.flags("tf32", options={"tf32": False}) == []


@pytest.mark.parametrize(
    ("release", "precision", "flags"),
    [
        (OLD, "fp16", ["FP16"]),
        (OLD, "int8", ["INT8"]),
        (FIRST, "bf16", ["BF16"]),
        (FIRST, "fp8", ["FP8"]),
        (LAST_WEAK, "fp16", ["FP16"]),
    ],
)
def test_weak_typing_allows_the_precision_alone(at: Any, release: str, precision: str, flags: list[str]) -> None:
    bench = at(release)
    bench.add_layer("q", "QUANTIZE")
    assert bench.flags(precision) == flags


def test_weak_typing_obeys_layer_precisions_and_allows_companions(at: Any) -> None:
    bench = at(OLD)
    bench.add_layer("q", "QUANTIZE")
    both = bench.flags("int8", obey=True, options={"also": ["fp16"]})
    assert both == ["FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"]
    assert bench.flags("int8", keep=["conv"], keep_precision="fp16") == ["FP16", "INT8"]


@pytest.mark.parametrize("release", [FIRST, LAST_WEAK, NEW])
def test_a_strongly_typed_network_takes_no_precision_flag(at: Any, release: str) -> None:
    assert at(release).flags("fp16", typing="strong", obey=True) == []


def test_where_strong_typing_is_missing_obeyed_constraints_stand_in(at: Any) -> None:
    bench = at(OLD)
    assert bench.flags("fp16", typing="strong") == ["FP16", "OBEY_PRECISION_CONSTRAINTS"]
    assert bench.flags("fp32", typing="strong") == ["OBEY_PRECISION_CONSTRAINTS"]


def test_half_tensors_of_a_quantized_model_are_allowed_where_strong_typing_is_missing(at: Any) -> None:
    bench = at(OLD)
    bench.add_layer("q", "QUANTIZE")
    assert "FP16" not in bench.flags("int8", typing="strong")
    bench.add_layer("cast", "CAST", "HALF")
    assert bench.flags("int8", typing="strong") == ["FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"]


def test_int8_without_scales_is_refused(at: Any) -> None:
    bench = at(OLD)
    bench.add_layer("conv")
    with pytest.raises(ModelRefused, match="no Q/DQ pairs and there is no calibrator"):
        bench.config("int8")
    assert bench.flags("int8", source={"kind": "network"}) == ["INT8"]


def test_a_calibrator_runs_at_a_profile_of_its_own(at: Any) -> None:
    bench, calibrator = at(OLD), object()
    config = bench.config("int8", calibrator=calibrator, options={"calibrate_before_fusion": True})
    assert config.int8_calibrator is calibrator
    profile = config.get_calibration_profile()
    assert profile.get_shape("images")[1] == (4, 3, 8, 8)
    # TensorRT writes into the profile that it calibrates at.
    assert profile is not config.kept("profiles", list)[0]
    assert config.get_quantization_flag(bench.trt.QuantizationFlag.CALIBRATE_BEFORE_FUSION)
    with pytest.raises(WorkerError, match=r"build\.calibration_profile: there are 1 profiles, counted from 0; got 1"):
        bench.config("int8", calibrator=calibrator, options={"calibration_profile": 1})


def test_a_calibrator_is_refused_where_tensorrt_takes_none(at: Any) -> None:
    with pytest.raises(PrecisionMissing, match=r"quantization = \"implicit\": TensorRT 11\.4.* 8\.6 to 10\.16 has it"):
        at(NEW).config("int8", calibrator=object())


def test_every_flag_of_an_option_is_set_where_it_exists(at: Any) -> None:
    options = {
        "direct_io": True,
        "distributive_independence": True,
        "version_compatible": True,
        "exclude_lean_runtime": True,
        "safety_scope": True,
        "sparse_weights": True,
        "strict_nans": True,
        "strip_plan": True,
        "timing_cache_must_hit": True,
        "weight_streaming": True,
        "refit": "individual",
        "timing_cache": "editable",
        "compilation_cache": False,
    }
    assert at(LAST_WEAK).flags("fp32", options=options) == [
        "DIRECT_IO",
        "DISABLE_COMPILATION_CACHE",
        "DISTRIBUTIVE_INDEPENDENCE",
        "EDITABLE_TIMING_CACHE",
        "ERROR_ON_TIMING_CACHE_MISS",
        "EXCLUDE_LEAN_RUNTIME",
        "REFIT_INDIVIDUAL",
        "SAFETY_SCOPE",
        "SPARSE_WEIGHTS",
        "STRICT_NANS",
        "STRIP_PLAN",
        "VERSION_COMPATIBLE",
        "WEIGHT_STREAMING",
    ]


@pytest.mark.parametrize(("refit", "flag"), [("all", "REFIT"), ("identical", "REFIT_IDENTICAL")])
def test_refit_takes_its_flag(at: Any, refit: str, flag: str) -> None:
    assert at(NEW).flags(options={"refit": refit}) == [flag]


def test_a_stripped_plan_can_be_refitted_and_says_so(at: Any) -> None:
    bench = at(NEW)
    assert bench.flags(options={"strip_plan": True}) == ["REFIT_IDENTICAL", "STRIP_PLAN"]
    assert bench.notes == ['a stripped plan has to be refitted: built with refit = "identical"']


def test_the_timing_cache_is_read_from_its_file_and_can_be_off(at: Any, tmp_path: Path) -> None:
    file = tmp_path / "timing.cache"
    bench = at(OLD)
    assert bench.config(timing_cache=str(file)).get_timing_cache().serialize() == b""
    assert bench.notes == ["the timing cache is new: every tactic is measured"]
    file.write_bytes(b"measured")
    assert bench.config(timing_cache=str(file)).get_timing_cache().serialize() == b"measured"
    off = bench.config(timing_cache=str(file), options={"timing_cache": "off"})
    assert off.get_timing_cache().serialize() == b""
    assert flags_set(bench.trt, off) == ["DISABLE_TIMING_CACHE"]


def test_numbers_choices_and_limits_reach_the_configuration(at: Any) -> None:
    bench = at(NEW)
    options = {
        "optimization_level": 0,
        "max_aux_streams": 0,
        "avg_timing_iterations": 8,
        "max_tactics": 3,
        "l2_limit_for_tiling_bytes": 1024,
        "build_route": "-knob=1",
        "tiling": "fast",
        "hardware_compatibility": "same_compute_capability",
        "memory_pool_mib": {"workspace": 1.5, "tactic_shared_memory": 0.5},
        "tactic_sources": ["jit_convolutions"],
        "profiling_verbosity": "layer_names_only",
        "preview_features": {"aliased_plugin_io_10_03": True},
        "plugins": ["libmine.so"],
        "serialize_plugins": True,
    }
    config, trt = bench.config(options=options), bench.trt
    assert (config.builder_optimization_level, config.max_aux_streams, config.avg_timing_iterations) == (0, 0, 8)
    assert (config.max_num_tactics, config.l2_limit_for_tiling, config.build_route) == (3, 1024, "-knob=1")
    assert config.tiling_optimization_level is trt.TilingOptimizationLevel.FAST
    assert config.hardware_compatibility_level is trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 3 * 2**19
    assert config.get_memory_pool_limit(trt.MemoryPoolType.TACTIC_SHARED_MEMORY) == 2**19
    assert config.get_tactic_sources() == 1 << int(trt.TacticSource.JIT_CONVOLUTIONS)
    assert config.profiling_verbosity is trt.ProfilingVerbosity.LAYER_NAMES_ONLY
    assert config.get_preview_feature(trt.PreviewFeature.ALIASED_PLUGIN_IO_10_03) is True
    assert config.plugins_to_serialize == ["libmine.so"]


def test_what_is_not_asked_for_stays_as_tensorrt_has_it(bench: Bench) -> None:
    config = bench.config()
    touched = {name for name in vars(config) if not name.startswith("kept_")} - {"calls"}
    assert touched == {"profiling_verbosity"}
    assert config.profiling_verbosity is bench.trt.ProfilingVerbosity.DETAILED
    assert {name for name, _, _ in config.calls} - {"__init__"} == {
        "clear_flag",
        "create_timing_cache",
        "set_timing_cache",
        "add_optimization_profile",
    }


@pytest.mark.parametrize(
    ("release", "options", "message"),
    [
        (OLD, {"strict_nans": True}, "build.strict_nans: TensorRT 8.6.0 has no BuilderFlag.STRICT_NANS; TensorRT 10.6"),
        (OLD, {"strip_plan": True}, "build.strip_plan: TensorRT 8.6.0 has no BuilderFlag.STRIP_PLAN; TensorRT 10.0"),
        (OLD, {"weight_streaming": True}, "WEIGHT_STREAMING; TensorRT 10.0 and later has it"),
        (OLD, {"timing_cache": "editable"}, "build.timing_cache: TensorRT 8.6.0 has no BuilderFlag.EDITABLE"),
        (OLD, {"compilation_cache": False}, "build.compilation_cache: TensorRT 8.6.0 has no"),
        (OLD, {"refit": "identical"}, "build.refit: TensorRT 8.6.0 has no BuilderFlag.REFIT_IDENTICAL"),
        (OLD, {"max_tactics": 3}, "build.max_tactics: TensorRT 8.6.0 has no IBuilderConfig.max_num_tactics"),
        (OLD, {"tiling": "fast"}, "build.tiling: TensorRT 8.6.0 has no TilingOptimizationLevel; TensorRT 10.8 and"),
        (OLD, {"also": ["bf16"]}, "bf16: TensorRT 8.6.0 has no BuilderFlag.BF16; TensorRT 10.0 to 10.16 has it"),
        (OLD, {"memory_pool_mib": {"tactic_shared_memory": 1}}, "build.memory_pool_mib.tactic_shared_memory: Tens"),
        (
            FIRST,
            {"hardware_compatibility": "same_compute_capability"},
            "build.hardware_compatibility: TensorRT 10.0.1 has no HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY",
        ),
        (NEW, {"tactic_sources": ["cudnn"]}, "build.tactic_sources: TensorRT 11.4.0.106 has no TacticSource.CUDNN"),
        (NEW, {"tactic_heuristic": True}, "ENABLE_TACTIC_HEURISTIC; TensorRT 8.6 has it"),
        (NEW, {"calibrate_before_fusion": True}, "has no QuantizationFlag; TensorRT 8.6 to 10.16 has it"),
        (
            NEW,
            {"preview_features": {"profile_sharing_0806": True}},
            "has no PreviewFeature.PROFILE_SHARING_0806; it has aliased_plugin_io_10_03, runtime_activation_resize",
        ),
        (NEW, {"dla_core": 0}, "build.dla_core: this machine has 0 DLA cores, counted from 0; got 0"),
    ],
)
def test_what_a_release_lacks_is_told_with_what_has_it(
    at: Any, release: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(PrecisionMissing) as caught:
        at(release).config(options=options)
    assert message in str(caught.value)


def test_a_lean_runtime_is_left_out_of_version_compatible_engines_only(at: Any) -> None:
    with pytest.raises(WorkerError, match="version compatibility is not enabled"):
        at(OLD).config(options={"exclude_lean_runtime": True})


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


HAVING = {
    "fp32": {OLD, FIRST, LAST_WEAK, NEW},
    "tf32": {OLD, FIRST, LAST_WEAK, NEW},
    "fp16": {OLD, FIRST, LAST_WEAK, NEW},
    "bf16": {FIRST, LAST_WEAK, NEW},
    "int8": {OLD, FIRST, LAST_WEAK, NEW},
    "fp8": {FIRST, LAST_WEAK, NEW},
}


@pytest.mark.parametrize("precision", HAVING)
def test_a_release_has_its_precisions_and_no_others(bench: Bench, precision: str) -> None:
    release = bench.trt.__version__
    if release in HAVING[precision]:
        require_precision(bench.trt, bench.builder, precision, "strong", "9.0")
    else:
        with pytest.raises(PrecisionMissing, match=r"TensorRT 10\.0 and later ha"):
            require_precision(bench.trt, bench.builder, precision, "strong", "9.0")


@pytest.mark.parametrize(
    ("precision", "lacking", "having"),
    [
        ("tf32", "7.5", "8.0"),
        ("bf16", "7.5", "8.0"),
        ("fp8", "8.6", "8.9"),
        ("fp16", "5.2", "5.3"),
        ("int8", "6.0", "10.0"),
    ],
)
def test_a_gpu_has_its_precisions_and_no_others(at: Any, precision: str, lacking: str, having: str) -> None:
    bench = at(LAST_WEAK)
    with pytest.raises(PrecisionMissing, match=f"{precision}: this GPU, of compute capability {lacking}"):
        require_precision(bench.trt, bench.builder, precision, "weak", lacking)
    require_precision(bench.trt, bench.builder, precision, "weak", having)


def test_a_gpu_that_is_slow_at_half_precision_is_refused_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(OLD, monkeypatch)
    monkeypatch.setattr(bench.trt.Builder, "platform_has_fast_fp16", False)
    with pytest.raises(PrecisionMissing, match=r"fp16: this GPU, of compute capability 6\.1"):
        require_precision(bench.trt, bench.builder, "fp16", "weak", "6.1")


def test_weak_typing_is_refused_where_it_is_gone(at: Any) -> None:
    bench = at(NEW)
    with pytest.raises(PrecisionMissing, match=r"typing = \"weak\": TensorRT 11\.4.* judge on TensorRT 8\.6 to 10\.16"):
        require_precision(bench.trt, bench.builder, "fp32", "weak", "9.0")


def spoken(spans: list[str]) -> str:
    """Return spans of releases as messages tell them."""
    (span,) = spans
    first, last = (".".join(release.split(".")[:2]) for release in span.split(".."))
    if last == ".".join(API["releases"][-1].split(".")[:2]):
        return f"{first} and later"
    return first if first == last else f"{first} to {last}"


@pytest.mark.parametrize("symbol", HOLDERS)
def test_what_messages_say_of_releases_is_what_the_bindings_have(symbol: str) -> None:
    assert HOLDERS[symbol] == spoken(API["symbols"][symbol])


def test_every_option_of_building_is_read_by_the_worker() -> None:
    folder = Path(__file__).parents[2] / "parity" / "worker"
    text = "".join((folder / f"{name}.py").read_text() for name in ("config", "precision", "network_options"))
    # The build itself reads these: how the network is typed and parsed, and what a calibrator is fed.
    elsewhere = {"typing", "quantization", "calibrator", "calibration_cache", "load", "parser_flags"}
    unread = {field.name for field in fields(BuildOptions) if f'"{field.name}"' not in text}
    assert unread <= elsewhere
