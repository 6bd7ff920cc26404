"""From a request's options to a builder's configuration, on stand-ins with exactly the symbols of a release."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from parity.build_options import BuildOptions
from parity.worker.config import flags_set
from parity.worker.errors import PrecisionMissing, WorkerError
from parity.worker.symbols import RELEASES as HOLDERS
from tests import config_bench
from tests.config_bench import FIRST, LAST_WEAK, NEW, OLD, Bench

# Fixtures, asked for by name.
bench, at = config_bench.bench, config_bench.at
API = json.loads((Path(__file__).parents[1] / "data" / "tensorrt-api.json").read_text(encoding="utf-8"))


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
