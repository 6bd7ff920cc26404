"""What a case file says of engines: options, files, networks and profiles, and every mistake with its path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parity.build_options import (
    Allocation,
    BuildOptions,
    Calibrator,
    Device,
    HardwareCompatibility,
    LoadOptions,
    Quantization,
    Refit,
    ShapeProfile,
    TensorIo,
    Tiling,
    TimingCache,
    Typing,
    Verbosity,
)
from parity.case.loader import load_case
from parity.errors import CaseError
from parity.tolerance import Precision
from tests.tiny_models import write_case

if TYPE_CHECKING:
    from pathlib import Path

    from parity.case.model import Variant

RANDOM = 'model = "model.onnx"\nbatch_size = 2\n[inputs]\nkind = "random"\nseed = 1\ncount = 2\n'
SHAPES = "[shapes.images]\nmin = [1, 3, 8, 8]\nopt = [2, 3, 8, 8]\nmax = [4, 3, 8, 8]\n"
CALIBRATION = '[calibration]\nkind = "random"\nseed = 2\ncount = 2\n'
ONE = "{ min = [1, 3, 8, 8], opt = [1, 3, 8, 8], max = [1, 3, 8, 8] }"
FP16 = '[variants.fp16]\nprecision = "fp16"\n'


def write(folder: Path, text: str) -> Path:
    write_case(folder, RANDOM + CALIBRATION + SHAPES + text)
    for name in ("made.plan", "model.wts", "libmine.so", "liblean.so", "calib.cache"):
        (folder / name).write_bytes(b"x")
    (folder / "net.py").write_text("raise RuntimeError('loading a case must not run its code')\n")
    return folder


def variant_of(folder: Path, text: str) -> Variant:
    (variant,) = load_case(write(folder, text)).variants
    return variant


def mistakes_of(folder: Path, text: str, *, allow_python: bool = True) -> list[str]:
    with pytest.raises(CaseError) as caught:
        load_case(write(folder, text), allow_python=allow_python)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_a_variant_without_tables_is_built_as_tensorrt_has_it(tmp_path: Path) -> None:
    variant = variant_of(tmp_path, FP16)
    assert variant.build == BuildOptions()
    assert (variant.engine, variant.network, variant.weights, variant.census_share) == (None, "", None, 0.5)


def test_every_key_of_the_build_table_fills_its_option(tmp_path: Path) -> None:
    text = f"""
[variants.int8]
precision = "int8"
plugins = ["libmine.so"]
census_share = 0.25
[variants.int8.build]
typing = "weak"
also = ["fp16", "bf16"]
tf32 = true
quantization = "implicit"
calibrator = "minmax"
calibration_cache = "calib.cache"
calibration_profile = 1
calibrate_before_fusion = true
profiles = [{{ images = {ONE} }}]
direct_io = true
optimization_level = 3
memory_pool_mib = {{ workspace = 1024, tactic_dram = 0.5 }}
tactic_sources = ["cublas", "jit_convolutions"]
max_tactics = 5
tactic_heuristic = true
avg_timing_iterations = 4
timing_cache = "editable"
timing_cache_must_hit = true
compilation_cache = false
tiling = "fast"
l2_limit_for_tiling_bytes = 4096
build_route = "-knob=1"
sparse_weights = true
strict_nans = true
distributive_independence = true
safety_scope = true
hardware_compatibility = "same_compute_capability"
version_compatible = true
exclude_lean_runtime = true
refit = "all"
strip_plan = true
weight_streaming = true
serialize_plugins = true
dla_core = 0
gpu_fallback = true
layer_devices = {{ "conv*" = "dla" }}
max_aux_streams = 0
profiling_verbosity = "layer_names_only"
parser_flags = {{ native_instancenorm = false }}
preview_features = {{ aliased_plugin_io_10_03 = true }}
[variants.int8.build.io.images]
dtype = "float16"
formats = ["hwc8", "linear"]
[variants.int8.load]
host_code = true
lean_runtime = "liblean.so"
weight_streaming_budget = "50%"
allocation = "on_profile_change"
persistent_cache_mib = 1.5
dla_core = 1
refit = true
temporary_folder = "scratch"
temporary_files = false
in_memory_files = false
"""
    variant = variant_of(tmp_path, text)
    one = ShapeProfile((1, 3, 8, 8), (1, 3, 8, 8), (1, 3, 8, 8))
    assert variant.census_share == 0.25
    assert variant.build == BuildOptions(
        typing=Typing.WEAK,
        also=(Precision.FP16, Precision.BF16),
        tf32=True,
        quantization=Quantization.IMPLICIT,
        calibrator=Calibrator.MIN_MAX,
        calibration_cache=tmp_path / "calib.cache",
        calibration_profile=1,
        calibrate_before_fusion=True,
        profiles=({"images": one},),
        io={"images": TensorIo("float16", ("hwc8", "linear"))},
        direct_io=True,
        optimization_level=3,
        memory_pool_mib={"workspace": 1024, "tactic_dram": 0.5},
        tactic_sources=("cublas", "jit_convolutions"),
        max_tactics=5,
        tactic_heuristic=True,
        avg_timing_iterations=4,
        timing_cache=TimingCache.EDITABLE,
        timing_cache_must_hit=True,
        compilation_cache=False,
        tiling=Tiling.FAST,
        l2_limit_for_tiling_bytes=4096,
        build_route="-knob=1",
        sparse_weights=True,
        strict_nans=True,
        distributive_independence=True,
        safety_scope=True,
        hardware_compatibility=HardwareCompatibility.SAME_COMPUTE_CAPABILITY,
        version_compatible=True,
        exclude_lean_runtime=True,
        refit=Refit.ALL,
        strip_plan=True,
        weight_streaming=True,
        serialize_plugins=True,
        dla_core=0,
        gpu_fallback=True,
        layer_devices={"conv*": Device.DLA},
        max_aux_streams=0,
        profiling_verbosity=Verbosity.LAYER_NAMES_ONLY,
        parser_flags={"native_instancenorm": False},
        preview_features={"aliased_plugin_io_10_03": True},
        plugins=(tmp_path / "libmine.so",),
        load=LoadOptions(
            host_code=True,
            lean_runtime=tmp_path / "liblean.so",
            weight_streaming_budget="50%",
            allocation=Allocation.ON_PROFILE_CHANGE,
            persistent_cache_mib=1.5,
            dla_core=1,
            refit=True,
            temporary_folder=tmp_path / "scratch",
            temporary_files=False,
            in_memory_files=False,
        ),
    )


def test_an_engine_file_says_what_precision_it_claims_and_may_lie_elsewhere(tmp_path: Path) -> None:
    text = '[variants.shipped]\nprecision = "int8"\nengine = "../case/made.plan"\nload = { host_code = true }\n'
    variant = variant_of(tmp_path / "case", text)
    assert variant.engine is not None
    assert variant.engine.samefile(tmp_path / "case" / "made.plan")
    assert variant.options.precision is Precision.INT8
    assert variant.build == BuildOptions(load=LoadOptions(host_code=True))
    assert mistakes_of(tmp_path / "case", '[variants.shipped]\nengine = "made.plan"\n') == [
        "variants.shipped.precision: is missing"
    ]


def test_a_network_is_named_with_its_weights_and_not_loaded(tmp_path: Path) -> None:
    variant = variant_of(tmp_path, FP16 + 'network = "net.py:build"\nweights = "model.wts"\n')
    assert (variant.network, variant.weights) == ("net.py:build", tmp_path / "model.wts")


def test_code_of_a_case_needs_leave_whether_python_or_machine_code(tmp_path: Path) -> None:
    text = (
        FP16 + 'network = "net.py:build"\nplugins = ["libmine.so"]\nload = { lean_runtime = "liblean.so" }\n'
        '[variants.shipped]\nprecision = "fp16"\nengine = "made.plan"\n'
    )
    machine_code = "is machine code of the case, which --no-python forbids; leave it out, or allow it"
    assert sorted(mistakes_of(tmp_path, text, allow_python=False)) == [
        f"variants.fp16.load.lean_runtime: {machine_code}",
        "variants.fp16.network: is Python code of the case, which --no-python forbids; use files, or allow it",
        f"variants.fp16.plugins[0]: {machine_code}",
        f"variants.shipped.engine: {machine_code}",
    ]


INT8 = '[variants.int8]\nprecision = "int8"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FP16 + "build = { optimization_level = 7 }", "build.optimization_level: expected 0 to 5; got 7"),
        (FP16 + "build = { optimisation_level = 3 }", "build.optimisation_level: unknown key; did you mean 'optimi"),
        (FP16 + 'build = { typing = "strange" }', "build.typing: expected one of auto, strong, weak; got 'strange'"),
        (FP16 + "build = { memory_pool_mib = { wrkspace = 1 } }", "build.memory_pool_mib.wrkspace: unknown key; did"),
        (FP16 + "build = { memory_pool_mib = { workspace = 0 } }", "workspace: expected greater than 0; got 0"),
        (FP16 + 'build = { tactic_sources = ["cudn"] }', "build.tactic_sources[0]: expected one of cublas, cublas_lt,"),
        (
            FP16 + 'build = { layer_devices = { conv = "cpu" } }',
            "build.layer_devices.conv: expected one of gpu, dla; g",
        ),
        (FP16 + 'build = { io = { pixels = { dtype = "float16" } } }', "build.io.pixels: expected one of images, log"),
        (FP16 + 'build = { io = { images = { dtype = "half" } } }', "build.io.images.dtype: expected one of float32,"),
        (
            FP16 + 'build = { typing = "strong", io = { images = { dtype = "float16" } } }',
            "build.io.images.dtype: is the model's where typing is strong; take io_precision",
        ),
        (FP16 + 'build = { typing = "strong", also = ["int8"] }', 'build.also: has a meaning for typing = "weak" on'),
        (FP16 + 'build = { also = ["fp16"] }', "build.also[0]: fp16 is allowed in any case; leave it out"),
        (FP16 + 'build = { quantization = "implicit" }', "build.quantization: has a meaning for int8 only; leave it"),
        (
            INT8 + 'build = { quantization = "implicit", typing = "strong" }',
            "build.quantization: is a matter of weak typing",
        ),
        (INT8 + 'build = { calibrator = "minmax" }', "build.calibrator: has no effect without quantization; give it"),
        (INT8 + 'build = { calibration_cache = "calib.cache" }', "build.calibration_cache: has no effect without quan"),
        (
            INT8 + 'build = { quantization = "implicit", calibration_cache = "no.cache" }',
            "build.calibration_cache: 'no.cache' does not exist; paths are relative to the case folder",
        ),
        (
            INT8 + 'build = { quantization = "implicit", calibration_profile = 1 }',
            "build.calibration_profile: expected 0 to 0, the number of the last profile; got 1",
        ),
        (FP16 + "build = { exclude_lean_runtime = true }", "build.exclude_lean_runtime: has no effect without versi"),
        (FP16 + "build = { gpu_fallback = true }", "build.gpu_fallback: has no effect without dla_core; give it, or"),
        (FP16 + "build = { serialize_plugins = true }", "build.serialize_plugins: needs libraries to put into the pl"),
        (
            FP16 + 'build = { timing_cache = "off", timing_cache_must_hit = true }',
            'build.timing_cache_must_hit: refuses every tactic with timing_cache = "off"; leave one out',
        ),
        (FP16 + 'load = { weight_streaming_budget = "half" }', "load.weight_streaming_budget: expected auto, a share"),
        (FP16 + 'load = { allocation = "dynamic" }', "load.allocation: expected one of static, on_profile_change; got"),
        (FP16 + 'engine = "no.plan"', "engine: 'no.plan' does not exist; paths are relative to the case folder"),
        (
            FP16 + 'engine = "made.plan"\nbuild = { optimization_level = 3 }',
            "build: has no effect on an engine that is built already; leave it out",
        ),
        (FP16 + 'engine = "made.plan"\nnetwork = "net.py:build"', "has engine and network; give one, for each is a m"),
        (FP16 + 'network = "../net.py:build"', "network: '../net.py' lies outside the case folder; code must be ins"),
        (FP16 + 'weights = "model.wts"', "weights: is read by network only; name its function, or leave the weights"),
        (FP16 + 'plugins = ["libno.so"]', "plugins[0]: 'libno.so' does not exist"),
        (FP16 + "census_share = 1.5", "census_share: expected less than or equal to 1; got 1.5"),
        (
            FP16 + "build = { profiles = [{ images = { min = [1, 3, 8, 8], opt = [1, 3, 8, 8] } }] }",
            "build.profiles[0].images.max: is missing",
        ),
        (FP16 + f"build = {{ profiles = [{{ pixels = {ONE} }}] }}", "build.profiles[0].pixels: expected one of images"),
        (
            FP16
            + "build = { profiles = [{ images = { min = [2, 3, 8, 8], opt = [1, 3, 8, 8], max = [4, 3, 8, 8] } }] }",
            "build.profiles[0].images: expected min <= opt <= max in axis 0; got 2, 1, 4",
        ),
        (FP16 + "build = { profiles = [{}] }", "build.profiles[0].images: is missing; a profile has shapes for every"),
    ],
)
def test_a_mistake_is_told_with_its_path(tmp_path: Path, text: str, expected: str) -> None:
    name = "int8" if text.startswith(INT8) else "fp16"
    found = mistakes_of(tmp_path, text + "\n")
    assert any(mistake.startswith(f"variants.{name}") and expected in mistake for mistake in found), found


def test_a_calibration_cache_does_not_stand_in_for_calibration_inputs(tmp_path: Path) -> None:
    build = 'network = "net.py:build"\nbuild = { quantization = "implicit", calibration_cache = "calib.cache" }\n'
    assert variant_of(tmp_path, INT8 + build).build.calibration_cache == tmp_path / "calib.cache"
    case_file = tmp_path / "case.toml"
    case_file.write_text(case_file.read_text().replace(CALIBRATION, ""))
    with pytest.raises(CaseError, match=r"needs \[calibration\] inputs, with a calibration_cache as well"):
        load_case(case_file)


def test_many_mistakes_of_one_variant_are_told_at_once(tmp_path: Path) -> None:
    text = FP16 + 'census_share = 2\nbuild = { optimization_level = 6, gpu_fallback = true, tiling = "slow" }\n'
    assert {mistake.partition(":")[0] for mistake in mistakes_of(tmp_path, text)} == {
        "variants.fp16.census_share",
        "variants.fp16.build.optimization_level",
        "variants.fp16.build.gpu_fallback",
        "variants.fp16.build.tiling",
    }


def test_profiles_are_the_shapes_then_the_cases_then_the_variants_own(tmp_path: Path) -> None:
    two = ONE.replace("[1, 3", "[2, 3")
    text = f"[[profiles]]\nimages = {ONE}\n{FP16}build = {{ profiles = [{{ images = {two} }}] }}\n"
    case = load_case(write(tmp_path, text))
    profiles = (case.shapes, *case.variants[0].build.profiles)
    assert [profile["images"].max[0] for profile in profiles] == [4, 1, 2]


def test_the_cases_profiles_serve_default_variants_too(tmp_path: Path) -> None:
    case = load_case(write(tmp_path, f"[[profiles]]\nimages = {ONE}\n"))
    assert {len(variant.build.profiles) for variant in case.variants} == {1}


def test_further_profiles_need_the_first(tmp_path: Path) -> None:
    folder = write_case(tmp_path, RANDOM + f"[[profiles]]\nimages = {ONE}\n")
    with pytest.raises(CaseError, match=r"profiles: needs \[shapes\], which are the first optimization profile"):
        load_case(folder)
