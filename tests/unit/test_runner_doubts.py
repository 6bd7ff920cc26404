"""Agreement that shows nothing is no pass: numbers drawn alike by luck, statistics of a batch that no engine takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from parity.backends.fake import ScaleOutput
from parity.precision.names import drawing_nodes, training_nodes
from parity.runner import run_cases
from parity.runner.doubts import what_draws
from parity.verdict import Verdict
from tests.runner_examples import SETTINGS, enter_tiny_case, judge_with
from tests.unit.tiny_case import CASE_FILE, write_case

if TYPE_CHECKING:
    from pathlib import Path

FEED = {"x": np.ones((2, 4, 3, 3), np.float32)}


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_tiny_case(tmp_path, monkeypatch)


def model_of(*nodes: NodeProto, **constants: object) -> ModelProto:
    """Return a model x (n, 4, 3, 3) -> y of nodes that read these constants."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "graph",
        [value("x", TensorProto.FLOAT, ["n", 4, 3, 3])],
        [value("y", TensorProto.FLOAT, ["n", 4, 3, 3])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def noisy(share: float) -> ModelProto:
    """Return x plus a share of noise, which a seed makes the same in every session's first run."""
    return model_of(
        helper.make_node("RandomNormalLike", ["x"], ["noise"], "draw", seed=1.0),
        helper.make_node("Mul", ["noise", "share"], ["some"], "scale"),
        helper.make_node("Add", ["x", "some"], ["y"], "sum"),
        share=np.float32(share),
    )


def dropping(ratio: float = 0.5, *, mode: bool | None = True, is_node: bool = False) -> ModelProto:
    """Return a Dropout; its mode is a constant, the output of a Constant node, or left out if None."""
    inputs = ["x", "ratio"] + ["mode"] * (mode is not None)
    nodes = [helper.make_node("Dropout", inputs, ["y"], "drop")]
    constants = {"ratio": np.float32(ratio)}
    if is_node:
        nodes.insert(0, helper.make_node("Constant", [], ["mode"], value=numpy_helper.from_array(np.array(mode))))
    elif mode is not None:
        constants["mode"] = np.array(mode)
    return model_of(*nodes, **constants)


def normalising(training: int) -> ModelProto:
    outputs = ["y", "mean_out", "var_out"] if training else ["y"]
    return model_of(
        helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], outputs, "bn", training_mode=training),
        s=np.full(4, 2, np.float32),
        b=np.ones(4, np.float32),
        m=np.zeros(4, np.float32),
        v=np.ones(4, np.float32),
    )


@pytest.mark.parametrize("model", [noisy(1.0), dropping(), dropping(is_node=True)], ids=["noise", "dropout", "node"])
def test_what_draws_is_found_by_two_runs_of_one_feed(model: ModelProto) -> None:
    assert drawing_nodes(model)
    assert what_draws(model, FEED) in {("RandomNormalLike",), ("Dropout",)}


@pytest.mark.parametrize(
    "model",
    [dropping(mode=False), dropping(mode=None), dropping(0.0), normalising(0)],
    ids=["mode false", "no mode", "ratio 0", "normalisation"],
)
def test_what_draws_nothing_is_not_run_for_it(model: ModelProto) -> None:
    assert not drawing_nodes(model)
    assert not training_nodes(model)
    assert what_draws(model, {}) == ()


def test_what_draws_inside_of_a_local_function_is_found() -> None:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = model_of(helper.make_node("Noise", ["x"], ["y"], "call", domain="own"))
    model.opset_import.append(imports[1])
    body = [helper.make_node("RandomNormalLike", ["a"], ["b"], "draw")]
    model.functions.append(helper.make_function("own", "Noise", ["a"], ["b"], body, imports[:1]))
    assert what_draws(model, FEED) == ("RandomNormalLike",)


def test_noise_that_changes_nothing_is_no_reason_to_doubt() -> None:
    assert what_draws(noisy(0.0), FEED) == ()


def test_a_model_that_no_runtime_runs_is_left_to_what_judges_it() -> None:
    model = noisy(1.0)
    model.graph.node[1].op_type = "Unheard"
    assert what_draws(model, FEED) == ()


def judged(folder: Path, model: ModelProto) -> list[tuple[Verdict, str]]:
    write_case(folder / "cases" / "tiny", CASE_FILE, model)
    return [(outcome.verdict, outcome.headline) for outcome in run_cases(SETTINGS).outcomes]


def test_numbers_that_are_drawn_alike_by_luck_are_no_pass(in_folder: Path) -> None:
    outcomes = judged(in_folder, noisy(1e-3))
    assert {verdict for verdict, _ in outcomes} == {Verdict.INCONCLUSIVE}
    assert "Two runs of one feed differ, because the model draws random numbers (RandomNormalLike)" in outcomes[0][1]


def test_noise_that_changes_nothing_passes(in_folder: Path) -> None:
    assert {verdict for verdict, _ in judged(in_folder, noisy(0.0))} == {Verdict.PASS}


def test_statistics_of_each_batch_are_no_pass_of_a_forecast(in_folder: Path) -> None:
    write_case(in_folder / "cases" / "tiny", CASE_FILE, normalising(1))
    fp32, fp16 = run_cases(SETTINGS).outcomes
    assert fp16.verdict is Verdict.INCONCLUSIVE
    assert "BatchNormalization bn in training mode normalises" in fp16.headline
    assert "model.eval()" in fp16.headline
    # Under graph optimisations ONNX Runtime takes other statistics, which is the cause that is told.
    assert fp32.verdict is Verdict.FAIL
    assert fp32.diagnoses[0].title == "The model normalises by each batch, as in training, which no engine does"
    assert fp32.diagnoses[0].nodes == ("bn",)
    assert "bn (BatchNormalization) has training_mode = 1" in fp32.diagnoses[0].evidence


def test_recorded_statistics_pass(in_folder: Path) -> None:
    assert {verdict for verdict, _ in judged(in_folder, normalising(0))} == {Verdict.PASS}


def test_a_failure_stays_one_where_agreement_would_show_nothing(in_folder: Path) -> None:
    write_case(in_folder / "cases" / "tiny", CASE_FILE, normalising(1))
    assert judge_with(ScaleOutput(factor=2.0)).verdict is Verdict.FAIL
