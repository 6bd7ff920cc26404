"""Each option of building and loading, on a tiny network: it does what it says, or is refused in one sentence."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from parity.backends.tensorrt.conversation import SentFile
from parity.build_options import (
    Allocation,
    Calibrator,
    Device,
    HardwareCompatibility,
    LoadOptions,
    Quantization,
    Refit,
    TensorIo,
    Tiling,
    TimingCache,
    Typing,
    Verbosity,
)
from parity.errors import BackendCrash, BackendError, ModelError, ParityError, PrecisionError
from parity.tolerance import Precision
from tests.gpu.models import calibration_feeds, conv_net, images, linear, vectors
from tests.gpu.rig import require_close, rows_of, sqnr_db
from tests.tiny_graphs import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from parity.backends.tensorrt.session import TensorRTSession
    from tests.gpu.rig import Rig

    Build = Callable[..., TensorRTSession]
    Figure = Callable[[str, float | str], None]
    Options = dict[str, Any]

pytestmark = pytest.mark.gpu


def require_linear(build: Build, **options: Any) -> TensorRTSession:
    session = build(linear(), **options)
    require_close(session, linear(), vectors())
    return session


# Options that leave a builder flag behind, by which it is seen that they came to TensorRT.
FLAGS: dict[str, tuple[Options, str]] = {
    "direct_io": ({"direct_io": True}, "DIRECT_IO"),
    "refit all": ({"refit": Refit.ALL}, "REFIT"),
    "sparse_weights": ({"sparse_weights": True}, "SPARSE_WEIGHTS"),
    "tf32": ({"tf32": True}, "TF32"),
    "timing_cache off": ({"timing_cache": TimingCache.OFF}, "DISABLE_TIMING_CACHE"),
}


@pytest.mark.parametrize(("options", "flag"), FLAGS.values(), ids=list(FLAGS))
def test_an_option_sets_its_flag_and_the_answers_stay(build: Build, options: Options, flag: str) -> None:
    session = build(linear(), **options)
    require_close(session, linear(), vectors(), 2e-3 if options.get("tf32") else 1e-4)
    assert flag in session.record.flags
    assert flag not in build(linear()).record.flags


# Options that nothing of an engine shows: built and close is what can be said.
SILENT: dict[str, Options] = {
    "avg_timing_iterations": {"avg_timing_iterations": 2},
    "layer_devices": {"layer_devices": {"*": Device.GPU}},
    "preview_features": {"preview_features": {"profile_sharing_0806": True}},
    "workspace": {"memory_pool_mib": {"workspace": 64}},
    "tactic_dram": {"memory_pool_mib": {"workspace": 64, "tactic_dram": 512}},
    "host_code": {"load": LoadOptions(host_code=True)},
    "persistent_cache_mib": {"load": LoadOptions(persistent_cache_mib=1.0)},
    "no in_memory_files": {"load": LoadOptions(in_memory_files=False)},
    "no temporary_files": {"load": LoadOptions(temporary_files=False)},
}


@pytest.mark.parametrize("options", SILENT.values(), ids=list(SILENT))
def test_an_option_is_taken_and_the_answers_stay(rig: Rig, build: Build, options: Options) -> None:
    if "preview_features" in options and not rig.backend.version.startswith("8.6"):
        pytest.skip("each release has preview features of its own")
    require_linear(build, **options)


def test_a_temporary_folder_is_taken(build: Build, tmp_path: Path) -> None:
    require_linear(build, load=LoadOptions(temporary_folder=tmp_path))


def test_a_library_is_loaded_before_the_engine_is_built(build: Build) -> None:
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    [library, *_] = re.findall(r"(/\S*/libm\.so\.6|/\S*/libm-\S+\.so)", maps)
    require_linear(build, plugins=(Path(library),))


@pytest.mark.parametrize("verbosity", Verbosity)
def test_an_engine_remembers_of_its_layers_what_was_asked(build: Build, figure: Figure, verbosity: Verbosity) -> None:
    session = require_linear(build, profiling_verbosity=verbosity)
    try:
        text = session.inspector_json
    except BackendError as nothing:
        text = f"refused: {nothing}"
    figure(f"the inspector at {verbosity}", text[:300])
    assert ("LayerType" in text) == (verbosity is Verbosity.DETAILED), text[:500]


@pytest.mark.parametrize("streams", [0, 2])
def test_no_more_auxiliary_streams_are_used_than_were_asked_for(rig: Rig, build: Build, streams: int) -> None:
    plan = rig.plan_of(require_linear(build, max_aux_streams=streams))
    loaded = rig.conversation.ask("load", {"plan": SentFile(plan), "offset": 0, "options": {}}, 60.0)
    assert loaded["aux_streams"] <= streams
    rig.conversation.ask("unload", {"engine": loaded["engine"]}, 60.0)


def test_layouts_are_taken_without_a_reformat_around_them(build: Build) -> None:
    model = conv_net(2, 16)
    io = {"x": TensorIo(formats=("linear",)), "y": TensorIo(formats=("linear",))}
    require_close(build(model, io=io, direct_io=True), model, images(2, 16))


def test_calibration_obeys_its_profile_and_a_cache_of_the_users(rig: Rig, build: Build, tmp_path: Path) -> None:
    if not rig.has("implicit_int8"):
        pytest.skip("this TensorRT has no calibrators")
    image = (3, 56, 56)
    options: Options = {
        "typing": Typing.WEAK,
        "also": (Precision.FP16,),
        "quantization": Quantization.IMPLICIT,
        "calibrator": Calibrator.MIN_MAX,
        "calibrate_before_fusion": True,
        "calibration_profile": 1,
        "calibration": calibration_feeds,
        "profiles": (rows_of("x", image, best=2, most=4), rows_of("x", image, least=5, best=8, most=8)),
    }
    first = build(conv_net("rows"), Precision.INT8, **options)
    assert {"INT8", "FP16"} <= set(first.record.flags)
    expected = run(conv_net("rows"), images())["y"]
    answer = first.run(images())["y"]
    assert sqnr_db(answer, expected) > 15
    kept = max(rig.cache.glob("calibration/*.cache"), key=lambda path: path.stat().st_mtime)
    coarse = tmp_path / "coarse.cache"
    # Every scale becomes 1.0, in the hexadecimal notation of the file.
    coarse.write_text(re.sub(r": [0-9a-f]{8}$", ": 3f800000", kept.read_text(encoding="utf-8"), flags=re.MULTILINE))
    by_cache = build(conv_net("rows"), Precision.INT8, **options, calibration_cache=coarse).run(images())["y"]
    assert sqnr_db(by_cache, expected) < sqnr_db(answer, expected) - 6


# What 8.6 lacks, by the symbol that a later release brought.
LATER: dict[str, Options] = {
    "BuilderFlag.DISABLE_COMPILATION_CACHE": {"compilation_cache": False},
    "BuilderFlag.DISTRIBUTIVE_INDEPENDENCE": {"distributive_independence": True},
    "BuilderFlag.EDITABLE_TIMING_CACHE": {"timing_cache": TimingCache.EDITABLE},
    "BuilderFlag.ERROR_ON_TIMING_CACHE_MISS": {"timing_cache_must_hit": True},
    "BuilderFlag.REFIT_IDENTICAL": {"refit": Refit.IDENTICAL},
    "BuilderFlag.REFIT_INDIVIDUAL": {"refit": Refit.INDIVIDUAL},
    "BuilderFlag.STRICT_NANS": {"strict_nans": True},
    "BuilderFlag.STRIP_PLAN": {"strip_plan": True},
    "BuilderFlag.WEIGHT_STREAMING": {"weight_streaming": True},
    "ExecutionContextAllocationStrategy": {"load": LoadOptions(allocation=Allocation.ON_PROFILE_CHANGE)},
    "HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY": {
        "hardware_compatibility": HardwareCompatibility.SAME_COMPUTE_CAPABILITY
    },
    "IBuilderConfig.build_route": {"build_route": "default"},
    "IBuilderConfig.l2_limit_for_tiling": {"l2_limit_for_tiling_bytes": 2**20},
    "IBuilderConfig.max_num_tactics": {"max_tactics": 3},
    "ICudaEngine.weight_streaming_budget_v2": {"load": LoadOptions(weight_streaming_budget="50%")},
    "MemoryPoolType.TACTIC_SHARED_MEMORY": {"memory_pool_mib": {"tactic_shared_memory": 1}},
    "OnnxParserFlag": {"parser_flags": {"native_instancenorm": True}},
    "OnnxParserRefitter": {"load": LoadOptions(refit=True)},
    "TilingOptimizationLevel": {"tiling": Tiling.FAST},
}


@pytest.mark.parametrize(("symbol", "options"), LATER.items(), ids=list(LATER))
def test_what_a_later_release_brought_is_refused_before_by_its_name(
    rig: Rig, build: Build, symbol: str, options: Options
) -> None:
    if not rig.backend.version.startswith("8.6"):
        pytest.skip("only 8.6 lacks them all")
    with pytest.raises(PrecisionError) as refused:
        build(linear(), **options).run(vectors())
    sentence = rf"(build|load)\.\S+: TensorRT 8\.6\S* has no {re.escape(symbol)}; TensorRT 1\S+ and later has it"
    assert re.fullmatch(sentence, str(refused.value)), refused.value


@pytest.mark.parametrize(
    ("option", "options"),
    [("build.dla_core", {"dla_core": 0, "gpu_fallback": True}), ("load.dla_core", {"load": LoadOptions(dla_core=0)})],
    ids=["build", "load"],
)
def test_a_dla_core_that_is_not_there_is_refused(rig: Rig, build: Build, option: str, options: Options) -> None:
    if "Orin" in rig.backend.worker.gpu or "Xavier" in rig.backend.worker.gpu:
        pytest.skip("this machine has DLA cores")
    with pytest.raises(
        PrecisionError, match=rf"^{option}: this machine has 0 DLA cores.*Jetson boards have them(\n|$)"
    ):
        build(linear(), **options).run(vectors())


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"layer_devices": {"nothing*": Device.DLA}}, ModelError, r"build\.layer_devices: 'nothing\*' matches none of"),
        ({"plugins": (Path("/nowhere/libmine.so"),)}, ParityError, "/nowhere/libmine.so"),
        (
            {"preview_features": {"telepathy": True}},
            PrecisionError,
            "build.preview_features.telepathy: .* it has .*0805",
        ),
    ],
    ids=["layer_devices", "plugins", "preview_features"],
)
def test_a_value_that_nothing_answers_to_is_told(
    rig: Rig, build: Build, options: Options, error: type[ParityError], told: str
) -> None:
    with pytest.raises(error, match=told):
        build(linear(), **options)
    require_linear(build)


def test_a_lean_runtime_that_is_none_is_refused(build: Build, tmp_path: Path) -> None:
    library = tmp_path / "libnvinfer_lean.so"
    library.write_bytes(b"no library")
    with pytest.raises(BackendError, match=r"load\.lean_runtime: .* cannot be loaded; take libnvinfer_lean\.so"):
        build(linear(), load=LoadOptions(lean_runtime=library)).run(vectors())
    require_linear(build)


# What TensorRT decides by the machine: kept as a figure, so that the page on options can say it.
OPEN: dict[str, Options] = {
    "ampere_plus": {"hardware_compatibility": HardwareCompatibility.AMPERE_PLUS},
    "exclude_lean_runtime": {"version_compatible": True, "exclude_lean_runtime": True},
    "pools of a DLA": {"memory_pool_mib": {"dla_managed_sram": 1, "dla_local_dram": 1024, "dla_global_dram": 512}},
    "layers on a DLA": {"layer_devices": {"*": Device.DLA}},
    "safety_scope": {"safety_scope": True},
    "tactic_heuristic": {"tactic_heuristic": True},
}


@pytest.mark.parametrize(("name", "options"), OPEN.items(), ids=list(OPEN))
def test_what_the_machine_decides_is_right_or_refused_in_words(
    build: Build, figure: Figure, name: str, options: Options
) -> None:
    told = "built, and answers right"
    try:
        require_linear(build, **options)
    except BackendCrash:
        raise
    except ParityError as refused:
        told = f"{type(refused).__name__}: {refused}"
    figure(name, told)
    require_linear(build)


def test_an_engine_that_carries_a_plugin_library_is_right_or_refused_in_words(
    rig: Rig, build: Build, figure: Figure, tmp_path: Path
) -> None:
    library = tmp_path / "libempty.so"
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    shutil.copyfile(re.findall(r"(/\S*/libm\.so\.6|/\S*/libm-\S+\.so)", maps)[0], library)
    try:
        session = require_linear(build, plugins=(library,), serialize_plugins=True)
        told = f"built with {session.record.size_bytes} bytes, the library has {library.stat().st_size}; answers right"
    except BackendCrash:
        raise
    except ParityError as refused:
        told = f"{type(refused).__name__}: {refused}"
    figure("serialize_plugins with a library that has no plugin", told)
    require_linear(build)


def test_weights_with_two_zeros_in_four_give_the_same_answers(build: Build, figure: Figure) -> None:
    from onnx import ModelProto, numpy_helper

    model = ModelProto()
    model.CopyFrom(conv_net())
    for weight in model.graph.initializer:
        array = numpy_helper.to_array(weight).copy()
        # Of four input channels in a row, the first two.
        array[:, [channel for channel in range(array.shape[1]) if channel % 4 < 2]] = 0
        weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    session = build(model, Precision.FP16, typing=Typing.WEAK, sparse_weights=True)
    signal = sqnr_db(session.run(images())["y"], run(model, images())["y"])
    figure("sparse fp16 SQNR, dB", signal)
    figure("sparse tactics in the inspector's text", str("sparse" in session.inspector_json.lower()))
    assert np.isfinite(signal)
    assert signal > 45
