"""Cases whose own model is half: judged against the same weights in float32, given to TensorRT as they are."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from parity.backends.engine import OnnxSource
from parity.backends.fake import FakeBackend, FlipElement
from parity.backends.tensorrt.backend import TensorRTBackend
from parity.case import load_case
from parity.graph import hash_model, load_model, model_interface
from parity.runner import JudgeSettings, RunSettings, run_cases
from parity.runner.engine_request import engine_request
from parity.runner.planned import plan_variant
from parity.runner.reference import prepare_case
from parity.runner.replay import read_feed
from parity.runner.store import TensorStore
from parity.verdict import Verdict
from tests.simulated_worker import SimulatedWorker
from tests.tiny_graphs import constants_of, model_of, node, op_types, value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onnx import ModelProto

    from parity.backends import Backend, TensorRTSettings
    from parity.results import Outcome
    from parity.runner.planned import PlannedVariant

FP16, BF16, FLOAT = TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT
WIDENED = "the case's model is half: its reference computes the same weights in float32"
TEXT = """\
model = "model.onnx"
batch_size = 2
[inputs]
kind = "random"
seed = 3
count = 4
tensors = { x = { low = -4, high = 4 } }
[calibration]
kind = "random"
seed = 4
count = 2
tensors = { x = { low = -4, high = 4 } }
"""
WEIGHTS = np.random.default_rng(11).normal(size=(4, 5)).astype(np.float32)
SETTINGS = RunSettings(cases=(Path("cases/half"),))


def half_model(half: int = FP16, weights: np.ndarray = WEIGHTS) -> ModelProto:
    """Return x (n, 4) -> y (n, 5), the product with the weights and its positive part, all of it half."""
    dtype = helper.tensor_dtype_to_np_dtype(half)
    nodes = [node("MatMul", ["x", "w"], ["product"], "product"), node("Relu", ["product"], ["y"], "relu")]
    made = model_of(nodes, [value("x", 2, half)], [value("y", 2, half)], {"w": weights.astype(dtype)})
    made.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    return made


def mixed_model(scale: float = 1.0) -> ModelProto:
    """Return float32 x (n, 4) -> float32 y (n, 5) whose product is half, between casts."""
    nodes = [
        node("Mul", ["x", "scale"], ["scaled"], "scale"),
        node("Cast", ["scaled"], ["h"], "to_half", to=FP16),
        node("MatMul", ["h", "w"], ["product"], "product"),
        node("Cast", ["product"], ["y"], "to_float", to=FLOAT),
    ]
    weights = {"w": WEIGHTS.astype(np.float16), "scale": np.array(scale, np.float32)}
    made = model_of(nodes, [value("x", 2)], [value("y", 2)], weights)
    made.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    return made


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every test in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(model: ModelProto, more: str = "", text: str = TEXT) -> Path:
    folder = Path("cases/half")
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save_model(model, folder / "model.onnx")
    (folder / "case.toml").write_text(text + more, encoding="utf-8")
    return folder


def judge(*variants: str, settings: RunSettings = SETTINGS) -> dict[str, Outcome]:
    outcomes = run_cases(replace(settings, variants=variants)).outcomes
    return {outcome.variant.partition("@")[0]: outcome for outcome in outcomes}


@contextmanager
def planned(name: str) -> Iterator[PlannedVariant]:
    case = load_case(Path("cases/half"))
    variant = next(variant for variant in case.variants if variant.name == name)
    with TensorStore() as store:
        yield plan_variant(case, variant, prepare_case(case, JudgeSettings(), store), JudgeSettings())


@pytest.mark.parametrize(("half", "dtype"), [(FP16, np.float16), (BF16, ml_dtypes.bfloat16)])
def test_the_reference_computes_the_half_weights_in_float32_on_the_feeds_as_they_are(half: int, dtype: type) -> None:
    write(half_model(half))
    with planned("fp32") as plan:
        [feed, *_] = plan.prepared.feeds
        inputs = feed.tensors["x"]
        assert inputs.dtype == np.float32
        np.testing.assert_array_equal(inputs, inputs.astype(dtype).astype(np.float32))
        expected = np.maximum(inputs @ WEIGHTS.astype(dtype).astype(np.float32), 0)
        assert feed.expected["y"].dtype == np.float32
        np.testing.assert_allclose(feed.expected["y"], expected, rtol=1e-5, atol=1e-6)


def test_every_precision_comes_to_a_verdict_and_the_report_says_what_the_reference_is() -> None:
    write(half_model())
    outcomes = judge()
    assert {name: outcome.verdict for name, outcome in outcomes.items()} == dict.fromkeys(
        ("fp32", "fp16", "bf16", "int8", "fp8"), Verdict.PASS
    )
    for outcome in outcomes.values():
        assert outcome.model is not None
        assert WIDENED in outcome.model.notes
    [fp16] = outcomes["fp16"].tensors
    assert fp16.difference is not None
    assert 55 < fp16.difference.sqnr_db < 80, "of half arithmetic, not of the model against itself"


def test_what_overflows_in_half_fails_at_fp16_and_nowhere_else() -> None:
    write(half_model(weights=WEIGHTS * 2e4))
    outcomes = judge("fp32", "fp16", "bf16")
    assert outcomes["fp32"].verdict is Verdict.PASS
    assert outcomes["bf16"].verdict is Verdict.PASS
    assert outcomes["fp16"].verdict is Verdict.FAIL
    assert "NaN or infinity in different places" in outcomes["fp16"].message


@pytest.mark.parametrize(("half", "name", "other"), [(FP16, "fp16", "bf16"), (BF16, "bf16", "fp16")])
def test_its_own_precision_takes_the_model_as_it_is_and_others_the_widened_one(
    half: int, name: str, other: str
) -> None:
    folder = write(half_model(half))
    given = load_model(folder / "model.onnx")
    with planned(name) as plan:
        assert plan.is_own
        assert plan.made.typed_sha256 == hash_model(given)
        assert plan.made.rounded_tensor_count
    with planned(other) as plan:
        assert not plan.is_own
        assert {info.dtype for info in model_interface(plan.made.typed).inputs} == {"float32"}


def test_a_keep_list_asks_for_another_model_than_the_case_s_own() -> None:
    write(half_model(), '[variants.fp16]\nprecision = "fp16"\nkeep = ["product"]\n')
    with planned("fp16") as plan:
        assert not plan.is_own
        assert "1 nodes are kept at fp32" in plan.record.notes
        assert constants_of(plan.made.typed.graph)["w"].dtype == np.float32


def test_casts_of_a_mixed_model_do_not_round_in_the_reference() -> None:
    write(mixed_model(scale=1e5))
    outcomes = judge("fp32", "fp16")
    assert outcomes["fp32"].verdict is Verdict.PASS
    assert outcomes["fp16"].verdict is Verdict.FAIL, "the scaled input does not fit into half"
    with planned("fp32") as plan:
        assert np.isfinite(plan.prepared.feeds[0].expected["y"]).all()


def test_a_mixed_model_of_moderate_values_passes_at_every_precision() -> None:
    write(mixed_model())
    assert {outcome.verdict for outcome in judge().values()} == {Verdict.PASS}


def test_weights_alone_in_half_leave_fp16_something_to_change() -> None:
    nodes = [node("Cast", ["h"], ["w"], "widen", to=FLOAT), node("MatMul", ["x", "w"], ["y"], "product")]
    made = model_of(nodes, [value("x", 2)], [value("y", 2)], {"h": WEIGHTS.astype(np.float16)})
    made.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    write(made)
    with planned("fp16") as plan:
        assert not plan.is_own
        assert plan.made.nodes_changed == 1
        assert op_types(plan.prepared.model.graph) == ["Cast", "MatMul"]
        assert not {FP16} & {tensor.data_type for tensor in plan.prepared.model.graph.initializer}


def test_a_float32_case_is_judged_by_the_very_model_that_was_read() -> None:
    made = model_of([node("Neg", ["x"], ["y"], "neg")], [value("x", 2)], [value("y", 2)], {})
    made.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    write(made)
    with planned("fp32") as plan:
        assert plan.prepared.model is plan.prepared.given
        assert WIDENED not in plan.record.notes


def test_a_failing_feed_is_saved_in_half_and_fails_again_alone() -> None:
    write(half_model())

    @contextmanager
    def broken(names: Sequence[str], tensorrt: TensorRTSettings) -> Iterator[tuple[Backend, ...]]:
        yield (FakeBackend([FlipElement()]),)

    settings = replace(SETTINGS, variants=("fp16",), backends=("fake",))
    [outcome] = run_cases(settings, open_backends=broken).outcomes
    assert outcome.verdict is Verdict.FAIL
    words = shlex.split(outcome.replay)
    path = Path(words[words.index("--feed") + 1])
    tensors, _ = read_feed(path)
    assert tensors["x"].dtype == np.float16
    [again] = run_cases(replace(settings, judging=JudgeSettings(feed=path)), open_backends=broken).outcomes
    assert again.verdict is Verdict.FAIL


def test_a_reference_function_meets_half_feeds_and_its_half_outputs_are_widened() -> None:
    more = '[reference]\nkind = "python"\nfunction = "code.py:run"\n'
    folder = write(half_model(), more)
    code = "import numpy as np\ndef run(feed):\n    assert feed['x'].dtype == np.float16\n"
    (folder / "code.py").write_text(f"{code}    return {{'y': np.ones((len(feed['x']), 5), np.float16)}}\n")
    with planned("fp32") as plan:
        assert plan.prepared.feeds[0].expected["y"].dtype == np.float32


def test_tensorrt_is_given_the_half_model_for_its_precision_and_float32_for_others() -> None:
    write(half_model())
    for name, is_half in (("fp16", True), ("int8", False), ("fp32", False)):
        with planned(name) as plan:
            source = engine_request(plan).source
            assert isinstance(source, OnnxSource)
            assert source.is_own is is_half
            assert {info.dtype for info in model_interface(source.model).inputs} == {"float32"}
            assert {info.dtype for info in model_interface(source.typed).inputs} == {
                "float16" if is_half else "float32"
            }


@pytest.mark.parametrize("name", ["fp32", "fp16"])
def test_an_engine_of_a_half_case_takes_and_gives_the_dtypes_of_what_it_was_built_from(name: str) -> None:
    write(half_model())

    @contextmanager
    def simulated(names: Sequence[str], tensorrt: TensorRTSettings) -> Iterator[tuple[Backend, ...]]:
        backend = TensorRTBackend(SimulatedWorker("8.6.0"), None)
        yield (backend,)
        backend.close()

    settings = replace(SETTINGS, variants=(name,), backends=("tensorrt",))
    outcomes = {outcome.check: outcome for outcome in run_cases(settings, open_backends=simulated).outcomes}
    assert outcomes["outputs"].verdict is Verdict.PASS, outcomes["outputs"].message
    engine = outcomes["outputs"].engine
    assert engine is not None
    assert all(("float16" in binding) is (name == "fp16") for binding in engine.bindings), engine.bindings
