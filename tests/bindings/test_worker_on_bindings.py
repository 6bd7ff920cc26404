"""The worker's code on the true classes and enums of TensorRT 10.16 and 11.4: no GPU, and no TensorRT behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.binding_wheels import MissingError, get_bindings

if TYPE_CHECKING:
    from pathlib import Path

Found = dict[str, Any]
WEAKLY_TYPED = "10.16.1.11"


def result(found: Found, check: str) -> Any:
    """Return what a check found, or fail with its traceback."""
    if "error" in found[check]:
        pytest.fail(f"{check} on TensorRT {found['release']}:\n{found[check]['error']}", pytrace=False)
    return found[check]["found"]


def is_weak(found: Found) -> bool:
    return bool(found["release"] == WEAKLY_TYPED)


# What 11.0 dropped, by its migration guide; 10.16 has all of it.
DROPPED = {
    "bf16_flag",
    "fp16_flag",
    "implicit_int8",
    "int8_flag",
    "layer_precision",
    "obey_precision",
    "weakly_typed",
}


def test_the_bindings_are_the_releases_own_and_nothing_stands_behind_them(found: Found) -> None:
    told = result(found, "builders")
    assert told["version"] == found["release"]
    assert told["refused"].keys() == {"Builder", "Runtime"}


def test_cxx_reaches_the_logger_with_every_severity(found: Found) -> None:
    told = result(found, "logger")
    assert told["is_logger"]
    assert told["heard"] == [
        ["error", "said as INTERNAL_ERROR"],
        ["error", "said as ERROR"],
        ["warning", "said as WARNING"],
        ["info", "said as INFO"],
    ]


def test_cxx_reaches_the_profiler_and_layers_of_one_name_stay_apart(found: Found) -> None:
    assert result(found, "profiler") == [
        {"name": "conv", "times_ms": [1.5, 2.5]},
        {"name": "conv", "times_ms": [0.25, 0.25]},
    ]


def test_cxx_reports_the_steps_of_a_build_and_is_told_to_go_on(found: Found) -> None:
    assert result(found, "monitor") == {
        "interface": "IProgressMonitor",
        "answers": [True, True],
        "shares": [0.125, 0.5],
        "is set": True,
    }


def test_cxx_gets_memory_from_the_output_allocator_and_tells_it_shapes(found: Found) -> None:
    assert result(found, "allocator") == {
        "interface": "IOutputAllocator",
        "plain": 4096,
        "with a stream": 4096,
        "asked": [["boxes", 600], ["boxes", 600]],
        "shapes": {"boxes": [3, 0, 4]},
        "failure": None,
    }


def test_cxx_gets_null_and_the_reason_is_kept_where_there_is_no_memory(found: Found) -> None:
    told = result(found, "failing_allocator")
    assert (told["plain"], told["with a stream"]) == (None, None)
    assert told["failure"] == "MemoryError('boxes: 600')"


def test_an_allocator_whose_functions_are_misnamed_gives_cxx_nothing(found: Found) -> None:
    told = result(found, "misnamed_allocator")
    assert (told["interface"], told["plain"], told["with a stream"]) == ("IOutputAllocator", None, None)


def test_cxx_shows_debug_tensors_to_the_listener_and_those_asked_for_are_copied(found: Found) -> None:
    assert result(found, "debug_listener") == {
        "interface": "IDebugListener",
        "answers": [True, True, True],
        "tensors": {"half": ["float16", [1, 3], [[1.5, -2.0, 65504.0]]], "count": ["int32", [2], [7, 8]]},
    }


def test_a_copy_of_a_debug_tensor_that_fails_is_kept_and_raised(found: Found) -> None:
    told = result(found, "failing_debug_listener")
    assert told["raised"] == "MemoryError('6 bytes')"


def test_tensors_are_exposed_by_the_functions_that_the_true_classes_have(found: Found) -> None:
    told = result(found, "exposed_tensors")
    absent = ["tensors exposed: 1", "the network has no tensor gone"]
    assert told == {
        "output": {"calls": ["mark_output"], "notes": absent},
        "debug": {"calls": ["mark_debug"], "notes": absent},
        "unfused": {
            "calls": ["mark_unfused_tensors_as_debug_tensors"],
            "notes": ["the tensors that survive fusion are debug tensors"],
        },
    }


@pytest.mark.parametrize("kind", ["entropy", "minmax"])
def test_cxx_gets_batches_and_the_cache_from_a_calibrator_or_there_is_none(found: Found, kind: str) -> None:
    told = result(found, "calibrators")[kind]
    if not is_weak(found):
        assert "TensorRT 11.4.0.106 has no calibrators" in told["refused"]
        return
    assert told.pop("interface") == {"entropy": "IInt8EntropyCalibrator2", "minmax": "IInt8MinMaxCalibrator"}[kind]
    assert told == {
        "size": 4,
        "batches": [True, False],
        "addresses": [4096, 8192],
        "cache": "scales of before",
        "heard": [["next", ["image", "mask"]], ["next", ["image", "mask"]], ["write", "new scales"]],
    }


def test_a_network_is_made_with_the_flag_that_the_release_gives_its_typing(found: Found) -> None:
    assert result(found, "networks") == {"strong": ["STRONGLY_TYPED"], "weak": []}


def test_a_kept_layer_gets_its_precision_or_the_release_is_named(found: Found) -> None:
    told = result(found, "kept_layers")
    if is_weak(found):
        assert told == {"kept": [1, []], "precision": "DataType.FLOAT", "output types": [[0, "DataType.FLOAT"]]}
    else:
        assert "TensorRT 11.4.0.106 sets no precision of a layer" in told["refused"]


def test_a_strict_object_refuses_what_the_true_class_lacks(found: Found) -> None:
    assert result(found, "strict_objects") == [
        "a method of 8.6",
        "a property that is read-only",
        "a property of no release",
    ]


def test_every_data_type_has_a_name_and_is_carried_in_its_own_size(found: Found) -> None:
    told = result(found, "dtypes")
    assert len(told) >= 12
    for name, dtype in told.items():
        # TensorRT tells no size of E8M0; its elements are exponents of one byte.
        bits = {"E8M0": 8}.get(name, dtype["bits"])
        assert dtype["carried"] == ("refused" if bits < 8 else bits), name


def test_bindings_are_read_from_true_enum_members_and_shapes(found: Found) -> None:
    x, y = result(found, "bindings")
    assert (x["dtype"], x["mode"], x["shape"], x["location"], x["format"]) == (
        "float16",
        "input",
        [-1, 3],
        "device",
        "LINEAR",
    )
    assert x["profiles"] == [{"min": [1, 3], "opt": [2, 3], "max": [4, 3]}]
    assert (y["dtype"], y["mode"], y["profiles"]) == ("bfloat16", "output", [])


def test_capabilities_are_probed_on_the_true_classes(found: Found) -> None:
    told = result(found, "capabilities")["9.0"]
    assert {name for name, has in told.items() if not has} == (set() if is_weak(found) else DROPPED)
    assert {"strongly_typed", "strong_typing_recommended", "int64", "refit_from_onnx"} <= told.keys()


def test_a_gpu_that_lacks_a_precision_takes_it_from_the_capabilities(found: Found) -> None:
    told = result(found, "capabilities")
    assert {name for name, has in told["9.0"].items() if has != told["7.5"][name]} == {"tf32", "bf16", "fp8"}


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16", "int8", "fp8"])
def test_a_strongly_typed_build_sets_no_precision_flag_and_tells_tf32(found: Found, precision: str) -> None:
    told = result(found, "precisions")[f"{precision} strong"]
    assert told["flags"] == []
    assert told["keywords"]["tf32"] is (precision == "tf32")
    assert told["keywords"].keys() == {"tf32", "profiling_verbosity"}


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8", "fp8"])
def test_a_weakly_typed_build_asks_for_its_precision_or_is_refused(found: Found, precision: str) -> None:
    told = result(found, "precisions")[f"{precision} weak"]
    if is_weak(found):
        assert told["keywords"][precision] is True
        assert told["keywords"]["tf32"] is False
    else:
        assert told["kind"] == "precision"
        assert f"TensorRT {found['release']}" in told["refused"]


def test_obeyed_precisions_of_layers_are_asked_for_or_refused(found: Found) -> None:
    told = result(found, "precisions")["int8 obeyed"]
    if is_weak(found):
        assert told["keywords"]["precision_constraints"] == "obey"
        assert (told["keywords"]["int8"], told["keywords"]["fp16"]) == (True, True)
    else:
        assert told["kind"] == "precision"


def test_options_become_members_and_properties_that_the_release_has(found: Found) -> None:
    told = result(found, "options")["everything"]
    assert told["flags"] == ["DISTRIBUTIVE_INDEPENDENCE", "EDITABLE_TIMING_CACHE", "REFIT_INDIVIDUAL", "STRICT_NANS"]
    assert told["properties"] == {"avg_timing_iterations": 4, "max_num_tactics": 8}
    keywords = told["keywords"]
    assert keywords["memory_pool_limits"] == {
        "MemoryPoolType.WORKSPACE": 64 * 2**20,
        "MemoryPoolType.TACTIC_SHARED_MEMORY": 2**20,
    }
    assert keywords["tactic_sources"] == ["TacticSource.EDGE_MASK_CONVOLUTIONS", "TacticSource.JIT_CONVOLUTIONS"]
    assert keywords["hardware_compatibility_level"] == "HardwareCompatibilityLevel.AMPERE_PLUS"
    assert keywords["tiling_optimization_level"] == "TilingOptimizationLevel.FAST"
    assert keywords["profiling_verbosity"] == "ProfilingVerbosity.LAYER_NAMES_ONLY"


def test_an_option_that_a_release_lacks_is_refused_by_its_name(found: Found) -> None:
    told = result(found, "options")
    absent = {"tactic_heuristic", "build_route"} if is_weak(found) else {"tactic_heuristic", "cublas"}
    refused = {name for name, made in told.items() if made.get("kind") == "precision"}
    assert refused == absent
    for name in refused:
        assert f"TensorRT {found['release']} has no" in told[name]["refused"]


def test_the_parsers_switches_become_its_own_flags(found: Found) -> None:
    assert result(found, "parser_flags") == [["clear_flag", "OnnxParserFlag.NATIVE_INSTANCENORM"]]


def test_bindings_of_a_release_that_does_not_exist_are_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"tensorrt-cu13-bindings==0\.0\.0 cannot be downloaded: "):
        get_bindings("0.0.0", tmp_path)
    assert not list(tmp_path.glob("*/complete"))
