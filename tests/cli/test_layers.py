"""``parity layers`` as a process: its answer, its files, and bad input in one sentence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from parity.run_file import load_run
from tests.tiny_cases import RANDOM_INPUTS, two_matmuls, write_matmul_case

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import RunParity


@pytest.fixture(scope="module")
def hot(run_parity: RunParity, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hot")
    write_matmul_case(root / "hot", scale=1e6)
    return root


def test_the_source_is_named_with_its_table_files_and_the_next_command(run_parity: RunParity, hot: Path) -> None:
    done = run_parity("layers", "hot", "--variant", "fp16", "--memory", "64MiB", "--sort", "lost", cwd=hot)
    assert (done.returncode, done.stderr) == (1, "")
    assert "first (MatMul, fp16) makes" in done.stdout
    assert "100 % of the model's float tensors were observed" in done.stdout
    [folder] = (hot / "reports").iterdir()
    assert {"run.json", "layers.csv", "summary.md", "report.html"} <= {file.name for file in folder.iterdir()}
    [outcome] = load_run(folder).outcomes
    assert "next: parity repair hot --variant fp16@onnxruntime\ncause: " in outcome.message
    assert done.stdout.count("cause: ") == len(outcome.diagnoses[:2])
    assert "fp16-overflow" in done.stdout
    resumed = run_parity("run", "--resume", folder, cwd=hot)
    assert resumed.returncode == 2
    assert "run parity layers again" in resumed.stderr


def test_a_saved_feed_is_looked_at_alone_and_causes_can_be_left_out(run_parity: RunParity, hot: Path) -> None:
    failed = run_parity("run", "hot", "--variant", "fp16", "--no-diagnosis", "--out", "failed", cwd=hot)
    assert failed.returncode == 1
    [feed] = (hot / "failed").glob("*/feeds/*.npz")
    done = run_parity("layers", "hot", "--variant", "fp16", "--feed", feed, "--no-diagnosis", "--out", "one", cwd=hot)
    assert (done.returncode, done.stderr) == (1, "")
    assert "observed on feed 0; the forecast fails most on feed 0" in done.stdout
    assert "cause: " not in done.stdout


def test_a_feed_of_another_case_is_told(run_parity: RunParity, hot: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", z=np.zeros(3, np.float32))
    done = run_parity("layers", "hot", "--variant", "fp16", "--feed", tmp_path / "other.npz", cwd=hot)
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr


def test_layers_that_agree_leave_with_0_and_json_has_them(run_parity: RunParity, hot: Path) -> None:
    done = run_parity("layers", "hot", "--variant", "fp32", "--json", "--out", "other", "--name", "mine", cwd=hot)
    assert done.returncode == 0
    [folder] = (hot / "other").iterdir()
    assert folder.name.endswith("-mine")
    [outcome] = json.loads(done.stdout)["outcomes"]
    assert (outcome["verdict"], outcome["layers"]["row_count"]) == ("pass", 2)


@pytest.mark.parametrize("size", ["much", "0", "-3GiB"])
def test_a_size_that_is_none_is_told(run_parity: RunParity, hot: Path, size: str) -> None:
    done = run_parity("layers", "hot", "--variant", "fp16", f"--memory={size}", cwd=hot)
    assert done.returncode == 2
    assert "expected a size such as 512MiB" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def with_loop() -> onnx.ModelProto:
    """Return the two products with all else inside a loop, whose tensors the main graph does not have."""
    model = two_matmuls(1.0)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition_in"], ["condition_out"]),
            helper.make_node("Relu", ["carried"], ["raised"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("condition_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("raised", TensorProto.FLOAT, None),
        ],
    )
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array(2), "trips"))
    graph.node[1].output[0] = "before"
    graph.node.append(helper.make_node("Loop", ["trips", "", "before"], ["y"], "repeat", body=body))
    return model


def not_a_number() -> onnx.ModelProto:
    """Return the two products behind the logarithm of negative numbers."""
    model = two_matmuls(1.0)
    graph = model.graph
    first = [
        helper.make_node("Abs", ["x"], ["magnitude"], "magnitude"),
        helper.make_node("Neg", ["magnitude"], ["negative"], "negative"),
        helper.make_node("Sqrt", ["negative"], ["root"], "root"),
    ]
    graph.node[0].input[0] = "root"
    nodes = [*first, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def nameless() -> onnx.ModelProto:
    model = two_matmuls(1e6)
    for node in model.graph.node:
        node.name = ""
    return model


def with_if() -> onnx.ModelProto:
    """Return the two products with a choice behind them whose branches call their nodes alike."""
    model = two_matmuls(1.0)
    graph = model.graph

    def branch(operator: str) -> onnx.GraphProto:
        made = helper.make_node(operator, ["before"], [operator.lower()], "same")
        return helper.make_graph(
            [made], operator, [], [helper.make_tensor_value_info(operator.lower(), TensorProto.FLOAT, None)]
        )

    graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "zero"))
    graph.node[1].output[0] = "before"
    graph.node.extend(
        [
            helper.make_node("ReduceMax", ["x"], ["largest"], "largest", keepdims=0),
            helper.make_node("Greater", ["largest", "zero"], ["is_positive"], "greater"),
            helper.make_node(
                "If", ["is_positive"], ["y"], "choose", then_branch=branch("Relu"), else_branch=branch("Neg")
            ),
        ]
    )
    return model


def cut_empty(*, whole: bool) -> onnx.ModelProto:
    """Return the two products with rows of nothing: joined to the others, or the only ones there are."""
    model = two_matmuls(1.0)
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "none"))
    cut = helper.make_node("Slice", ["x" if whole else "before", "none", "none", "none"], ["empty"], "cut")
    if whole:
        graph.node[0].input[0] = "empty"
        graph.node.insert(0, cut)
        graph.output[0].type.tensor_type.shape.dim[0].dim_value = 0
        return model
    graph.node[1].output[0] = "before"
    graph.node.extend([cut, helper.make_node("Concat", ["before", "empty"], ["y"], "join", axis=0)])
    return model


def called_alike() -> onnx.ModelProto:
    model = two_matmuls(1e6)
    for node in model.graph.node:
        node.name = "same"
    return model


def sharing_weights() -> onnx.ModelProto:
    """Return the two products and two more that read one tensor of weights, the first past the range of a half."""
    model = two_matmuls(1.0)
    weights = np.random.default_rng(0).standard_normal((5, 5)) * 2e4
    model.graph.initializer.append(numpy_helper.from_array(weights.astype(np.float32), "shared"))
    model.graph.node[1].output[0] = "before"
    model.graph.node.extend(
        [
            helper.make_node("MatMul", ["before", "shared"], ["middle"], "one"),
            helper.make_node("MatMul", ["middle", "shared"], ["y"], "other"),
        ]
    )
    return model


@pytest.mark.parametrize(
    ("model", "code", "sentence"),
    [
        (with_loop(), 0, "1 not observed: repeat: 2 tensors of the graphs inside it"),
        (
            not_a_number(),
            2,
            "the reference has no finite element from root on (root), so nothing behind it was",
        ),
        (nameless(), 1, "MatMul_0 (MatMul, fp16) makes"),
        (with_if(), 0, "1 not observed: choose: 2 tensors of the graphs inside it"),
        (called_alike(), 2, "several nodes are called 'same'; give each a name of its own, or none"),
        (sharing_weights(), 1, "one (MatMul, fp16) makes"),
        (cut_empty(whole=False), 0, "1 not observed: empty: holds no element in any feed"),
        (cut_empty(whole=True), 2, "nothing was observed: empty: holds no element in any feed"),
        (two_matmuls(1.0), 0, "all 2 layers agree, 100 % of the float tensors observed"),
    ],
    ids=["loop", "nan", "nameless", "if", "called alike", "shared", "empty", "all empty", "agreeing"],
)
def test_models_that_are_hard_to_observe_end_in_a_sentence(
    run_parity: RunParity, tmp_path: Path, model: onnx.ModelProto, code: int, sentence: str
) -> None:
    folder = write_matmul_case(tmp_path / "hard", inputs=RANDOM_INPUTS)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    done = run_parity("layers", "hard", "--variant", "fp16", cwd=tmp_path)
    assert "Traceback" not in done.stdout + done.stderr
    assert sentence in " ".join(done.stdout.split())
    assert done.returncode == code
