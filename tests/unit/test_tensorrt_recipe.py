"""What is parsed, and how the precision is asked for, on every kind of TensorRT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from parity.backends.engine import EngineFile, EngineRequest, NetworkSource, OnnxSource
from parity.backends.tensorrt.backend import ask_worker
from parity.backends.tensorrt.recipe import Recipe, choose_recipe
from parity.build_options import BuildOptions, Quantization, Typing
from parity.errors import PrecisionError
from parity.results import WorkerRecord
from parity.tolerance import Precision
from tests.simulated_worker import SimulatedWorker

FP32, TF32, FP16, BF16, INT8, FP8 = Precision
MODEL, TYPED = onnx.ModelProto(producer_name="float32"), onnx.ModelProto(producer_name="typed")
NETWORK = NetworkSource(Path("network.py"), "fill")
RELEASES = {"8.6": "8.6.0", "10.16": "10.16.1.11", "11.4": "11.4.0.106"}


def worker(release: str, **capabilities: bool) -> WorkerRecord:
    record = ask_worker(SimulatedWorker(RELEASES[release]))
    return replace(record, capabilities=record.capabilities | capabilities)


# Strong typing is there, but not yet recommended: 10.0 to 10.11.
TEN_BEFORE_12 = worker("10.16", strong_typing_recommended=False)


def choose(
    where: str | WorkerRecord, precision: Precision, typing: Typing = Typing.AUTO, *, own: bool = False, **options: Any
) -> Recipe:
    keep = options.pop("keep", ())
    source = options.pop("source", OnnxSource(MODEL, TYPED, keep, own))
    request = EngineRequest(source, precision, FP32, BuildOptions(typing=typing, **options))
    return choose_recipe(request, where if isinstance(where, WorkerRecord) else worker(where))


@pytest.mark.parametrize(
    ("where", "precision", "typing", "expected"),
    [
        ("8.6", FP16, Typing.AUTO, (MODEL, Typing.WEAK, False)),
        ("8.6", FP16, Typing.WEAK, (MODEL, Typing.WEAK, False)),
        ("8.6", FP16, Typing.STRONG, (TYPED, Typing.STRONG, True)),
        ("8.6", INT8, Typing.AUTO, (TYPED, Typing.WEAK, False)),
        ("8.6", INT8, Typing.STRONG, (TYPED, Typing.STRONG, True)),
        (TEN_BEFORE_12, FP16, Typing.AUTO, (MODEL, Typing.WEAK, False)),
        (TEN_BEFORE_12, BF16, Typing.AUTO, (MODEL, Typing.WEAK, False)),
        (TEN_BEFORE_12, FP8, Typing.AUTO, (TYPED, Typing.WEAK, False)),
        (TEN_BEFORE_12, FP16, Typing.STRONG, (TYPED, Typing.STRONG, False)),
        ("10.16", FP16, Typing.AUTO, (TYPED, Typing.STRONG, False)),
        ("10.16", FP16, Typing.WEAK, (MODEL, Typing.WEAK, False)),
        ("10.16", INT8, Typing.AUTO, (TYPED, Typing.STRONG, False)),
        ("10.16", FP8, Typing.WEAK, (TYPED, Typing.WEAK, False)),
        ("11.4", FP16, Typing.AUTO, (TYPED, Typing.STRONG, False)),
        ("11.4", BF16, Typing.AUTO, (TYPED, Typing.STRONG, False)),
        ("11.4", FP8, Typing.STRONG, (TYPED, Typing.STRONG, False)),
        ("8.6", FP32, Typing.AUTO, (MODEL, Typing.WEAK, False)),
        ("8.6", TF32, Typing.STRONG, (MODEL, Typing.WEAK, False)),
        ("10.16", TF32, Typing.AUTO, (MODEL, Typing.STRONG, False)),
        ("11.4", FP32, Typing.AUTO, (MODEL, Typing.STRONG, False)),
    ],
)
def test_typing_decides_which_model_is_parsed(
    where: str | WorkerRecord,
    precision: Precision,
    typing: Typing,
    expected: tuple[onnx.ModelProto, Typing, bool],
) -> None:
    recipe = choose(where, precision, typing)
    parsed, *rest = expected
    assert recipe.parsed is parsed
    assert [recipe.typing, recipe.obey] == rest
    assert recipe.precision is precision
    assert recipe.notes


@pytest.mark.parametrize("where", RELEASES)
@pytest.mark.parametrize("precision", [FP32, FP16, INT8])
@pytest.mark.parametrize("typing", [Typing.AUTO, Typing.STRONG])
def test_a_users_own_typed_model_is_parsed_everywhere(where: str, precision: Precision, typing: Typing) -> None:
    recipe = choose(where, precision, typing, own=True)
    assert recipe.parsed is TYPED
    assert "the user's own typed model was parsed as it is" in recipe.notes


def test_a_users_own_typed_model_is_obeyed_where_typing_is_left_open() -> None:
    assert choose(TEN_BEFORE_12, FP16, own=True).typing is Typing.STRONG
    assert choose("8.6", FP16, own=True).obey
    assert choose("8.6", FP16, Typing.WEAK, own=True).typing is Typing.WEAK


@pytest.mark.parametrize(
    ("where", "precision", "typing", "held"),
    [
        ("8.6", FP16, Typing.WEAK, True),
        ("8.6", FP16, Typing.STRONG, False),
        ("10.16", FP16, Typing.WEAK, True),
        ("10.16", FP16, Typing.STRONG, False),
        ("11.4", FP16, Typing.AUTO, False),
        ("8.6", INT8, Typing.WEAK, False),
        ("8.6", INT8, Typing.STRONG, False),
        ("8.6", FP32, Typing.WEAK, False),
    ],
)
def test_kept_nodes_are_held_by_layer_precision_where_no_typed_model_keeps_them(
    where: str, precision: Precision, typing: Typing, held: bool
) -> None:
    recipe = choose(where, precision, typing, keep=("head", "neck"))
    assert recipe.keep == (("head", "neck") if held else ())
    assert not held or recipe.obey
    assert any("2 nodes are held at fp32" in note for note in recipe.notes) == held


@pytest.mark.parametrize("where", ["8.6", "10.16"])
def test_an_implicit_calibrator_takes_the_float32_model_weakly_typed(where: str) -> None:
    recipe = choose(where, INT8, quantization=Quantization.IMPLICIT, keep=("head",))
    assert recipe.parsed is MODEL
    assert (recipe.typing, recipe.is_calibrated, recipe.keep, recipe.obey) == (Typing.WEAK, True, ("head",), True)


def test_quantization_matters_to_int8_alone() -> None:
    assert not choose("8.6", FP16, quantization=Quantization.IMPLICIT).is_calibrated


@pytest.mark.parametrize(
    ("where", "precision", "options", "words"),
    [
        ("8.6", BF16, {}, ["bf16", "TensorRT 8.6.0", "9.1 or later", "--tensorrt-python"]),
        ("8.6", FP8, {}, ["fp8", "TensorRT 10.0 or later", "8.9"]),
        ("11.4", FP16, {"typing": Typing.WEAK}, ["11.4.0", 'typing = "strong"']),
        ("11.4", INT8, {"quantization": Quantization.IMPLICIT}, ["11.4.0", 'quantization = "explicit"']),
        (
            "10.16",
            INT8,
            {"quantization": Quantization.IMPLICIT, "typing": Typing.STRONG},
            ["strongly typed", 'typing = "weak"'],
        ),
        ("8.6", INT8, {"quantization": Quantization.IMPLICIT, "own": True}, ["its own typed model"]),
        ("8.6", FP16, {"typing": Typing.STRONG, "source": NETWORK}, ['typing = "weak"']),
    ],
)
def test_what_is_not_there_is_refused_with_the_way_out(
    where: str, precision: Precision, options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(PrecisionError) as caught:
        choose(where, precision, **options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_gpu_that_lacks_the_precision_is_named() -> None:
    with pytest.raises(PrecisionError, match=r"Simulated H200 \(compute capability 9.0\)"):
        choose(worker("10.16", bf16=False), BF16)


def test_the_precision_of_kept_nodes_has_to_be_there_as_well() -> None:
    request = EngineRequest(OnnxSource(MODEL, TYPED, ("head",)), FP16, keep_precision=BF16)
    with pytest.raises(PrecisionError, match="bf16"):
        choose_recipe(request, worker("8.6"))


@pytest.mark.parametrize(
    ("where", "typing", "resolved"),
    [
        ("8.6", Typing.AUTO, Typing.WEAK),
        ("10.16", Typing.AUTO, Typing.WEAK),
        ("10.16", Typing.STRONG, Typing.STRONG),
        ("11.4", Typing.AUTO, Typing.STRONG),
    ],
)
def test_a_network_function_gets_its_precision_by_a_flag_where_there_is_one(
    where: str, typing: Typing, resolved: Typing
) -> None:
    recipe = choose(where, FP16, typing, source=NETWORK)
    assert (recipe.parsed, recipe.typing) == (None, resolved)


def test_an_engine_file_is_not_built() -> None:
    with pytest.raises(TypeError, match="loaded, not built"):
        choose("8.6", FP16, source=EngineFile(Path("a.plan")))
