"""Engine options: what travels to the worker, and what an engine of one's own build implies for loading it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from parity.backends.tensorrt.conversation import SentFile
from parity.backends.tensorrt.wire_options import build_options_to_wire, load_options_to_wire
from parity.build_options import (
    BuildOptions,
    Device,
    HardwareCompatibility,
    LoadOptions,
    Refit,
    TensorIo,
    TimingCache,
    Typing,
    Verbosity,
    parse_budget,
)
from parity.tolerance import Precision

FULL = BuildOptions(
    typing=Typing.WEAK,
    also=(Precision.FP16,),
    tf32=True,
    io={"x": TensorIo("float16", ("hwc8", "linear"))},
    optimization_level=0,
    memory_pool_mib={"workspace": 0.5},
    tactic_sources=(),
    timing_cache=TimingCache.EDITABLE,
    compilation_cache=False,
    hardware_compatibility=HardwareCompatibility.AMPERE_PLUS,
    layer_devices={"conv*": Device.DLA},
    profiling_verbosity=Verbosity.NONE,
    parser_flags={"native_instancenorm": False},
    plugins=(Path("/case/libmine.so"),),
)


def test_what_a_case_leaves_alone_does_not_travel() -> None:
    assert build_options_to_wire(BuildOptions()) == {}
    assert load_options_to_wire(BuildOptions()) == {}


def test_what_a_case_sets_travels_as_plain_data() -> None:
    wire = build_options_to_wire(FULL)
    assert wire == {
        "also": ["fp16"],
        "tf32": True,
        "io": {"x": {"dtype": "float16", "formats": ["hwc8", "linear"]}},
        "optimization_level": 0,
        "memory_pool_mib": {"workspace": 0.5},
        "tactic_sources": [],
        "timing_cache": "editable",
        "compilation_cache": False,
        "hardware_compatibility": "ampere_plus",
        "layer_devices": {"conv*": "dla"},
        "profiling_verbosity": "none",
        "parser_flags": {"native_instancenorm": False},
        "plugins": [SentFile(Path("/case/libmine.so"))],
    }
    del wire["plugins"]
    assert json.loads(json.dumps(wire)) == wire
    # A StrEnum equals its text, and would still not be plain data to execnet.
    assert {type(value) for value in wire.values()} == {bool, int, str, list, dict}
    assert type(wire["also"][0]) is str


def test_loading_never_changes_what_is_built() -> None:
    loaded = replace(FULL, load=LoadOptions(host_code=True, persistent_cache_mib=4.0))
    assert build_options_to_wire(loaded) == build_options_to_wire(FULL)
    assert load_options_to_wire(loaded)["host_code"] is True


@pytest.mark.parametrize(
    ("options", "implied"),
    [
        (BuildOptions(strip_plan=True), {"refit": True}),
        (BuildOptions(strip_plan=True, refit=Refit.ALL), {"refit": True}),
        (BuildOptions(refit=Refit.ALL), {}),
        (BuildOptions(version_compatible=True), {"host_code": True}),
        (BuildOptions(version_compatible=True, exclude_lean_runtime=True), {}),
        (BuildOptions(dla_core=1), {"dla_core": 1}),
    ],
)
def test_an_engine_built_here_is_allowed_what_its_build_makes_necessary(
    options: BuildOptions, implied: dict[str, object]
) -> None:
    assert load_options_to_wire(options) == implied
    assert load_options_to_wire(options, built_here=False) == {}


def test_what_a_case_says_of_loading_goes_before_what_its_build_implies() -> None:
    options = BuildOptions(dla_core=0, load=LoadOptions(dla_core=1))
    assert load_options_to_wire(options) == {"dla_core": 1}


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("auto", "auto"),
        ("50%", {"share": 0.5}),
        ("0 %", {"share": 0.0}),
        ("512 MiB", {"bytes": 512 * 2**20}),
        ("0.5MiB", {"bytes": 2**19}),
    ],
)
def test_a_budget_of_streamed_weights_is_read(text: str, budget: object) -> None:
    assert parse_budget(text) == budget
    assert load_options_to_wire(BuildOptions(load=LoadOptions(weight_streaming_budget=text))) == {
        "weight_streaming_budget": budget
    }


@pytest.mark.parametrize("text", ["", "half", "101%", "-1%", "512", "512 MB", "auto "])
def test_a_budget_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected auto, a share such as 50%"):
        parse_budget(text)


def test_every_option_travels_or_has_a_field_of_its_own_in_a_request() -> None:
    elsewhere = {"calibration_cache", "calibrator", "load", "profiles", "quantization", "typing"}
    changed = {field.name: object() for field in fields(BuildOptions)}
    travelled = set(build_options_to_wire(BuildOptions(**changed)))  # type: ignore[arg-type]
    assert travelled | elsewhere == set(changed)
    assert not travelled & elsewhere
