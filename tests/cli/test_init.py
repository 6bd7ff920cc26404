"""``parity init`` as a process: from a model to a case that is judged, and every refusal as a sentence."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import TensorProto, helper

from tests.sample_photos import Sample, write_sample
from tests.tiny_cases import two_matmuls
from tests.tiny_models import conv_relu, two_inputs, write_images

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import RunParity


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write_sample("shapes_classifier", tmp_path_factory.mktemp("sample") / "given")


def test_a_model_with_images_and_annotations_becomes_a_case_that_passes(
    sample: Sample, run_parity: RunParity, tmp_path: Path
) -> None:
    assert sample.annotations is not None
    words = ("init", sample.model, "--images", sample.images, "--annotations", sample.annotations)
    begun = run_parity(*words, cwd=tmp_path)
    assert (begun.returncode, begun.stderr) == (0, "")
    assert "decoder: classification (sure," in begun.stdout
    assert "preprocessing: resize, RGB, imagenet (likely," in begun.stdout
    assert "everything agrees: 6 pass" in begun.stdout
    assert begun.stdout.splitlines()[-1] == "next: parity run cases/model"
    assert max(map(len, begun.stdout.splitlines())) <= 100
    table = tomllib.loads((tmp_path / "cases/model/case.toml").read_text(encoding="utf-8"))
    assert [entry["variant"] for entry in table["tolerances"]] == ["fp16", "int8"]
    judged = run_parity("run", "cases/model", "--json", cwd=tmp_path)
    assert judged.returncode == 0
    assert json.loads(judged.stdout)
    again = run_parity(*words, cwd=tmp_path)
    assert again.returncode == 2
    assert "cases/model/case.toml: exists, and is not written over" in again.stderr


def test_a_model_alone_becomes_a_case_of_noise_that_says_so(run_parity: RunParity, tmp_path: Path) -> None:
    onnx.save(two_matmuls(1.0), str(tmp_path / "m.onnx"))
    process = run_parity("init", "m.onnx", cwd=tmp_path)
    assert process.returncode == 0
    words = " ".join(process.stdout.split())
    assert "preprocessing: unknown, because input x: float32 (4, 8) has 2 axes, and images are of 4" in words
    assert "warning: the inputs are random: a pass says that the arithmetic survives noise" in words
    assert "tolerances: none are proposed, because the inputs are not what the model was made for" in words


def test_a_model_that_takes_no_images_is_not_asked_for_them(run_parity: RunParity, tmp_path: Path) -> None:
    value, kind = helper.make_tensor_value_info, TensorProto.FLOAT
    nodes = [helper.make_node("Erf", ["features"], ["encoded"])]
    axes = ["batch", "time", 32]
    graph = helper.make_graph(nodes, "text", [value("features", kind, axes)], [value("encoded", kind, axes)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "text.onnx"))
    process = run_parity("init", "text.onnx", "--no-run", "--shape", "features=1x50x32", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    words = " ".join(process.stdout.split())
    # Fifty rows of 32 numbers have the shape of a detector's output, and nothing else of one.
    assert "decoder: none fits the outputs" in words
    assert "Write a Python function that yields real ones" in words
    assert "--images" not in words + (tmp_path / "cases/text/case.toml").read_text(encoding="utf-8")


def test_a_variant_that_fails_keeps_its_bounds_and_the_next_command_repairs_it(
    run_parity: RunParity, tmp_path: Path
) -> None:
    onnx.save(two_matmuls(1e6), str(tmp_path / "hot.onnx"))
    process = run_parity("init", "hot.onnx", cwd=tmp_path)
    assert process.returncode == 0
    assert "✗ hot / fp16@onnxruntime / outputs" in process.stdout
    assert process.stdout.endswith("next: parity repair cases/hot --variant fp16\n")
    assert "tolerances" not in tomllib.loads((tmp_path / "cases/hot/case.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("operator", "kind", "kept", "reasons"),
    [
        ("MatMul", TensorProto.FLOAT, ["fp32", "fp16", "int8"], []),
        ("MatMul", TensorProto.FLOAT16, ["fp32", "fp16", "int8"], []),
        ("Add", TensorProto.FLOAT, ["fp32", "fp16"], ["no int8: the model has no float32 Conv"]),
        (
            "MatMul",
            TensorProto.DOUBLE,
            ["fp32"],
            ["no fp16: the model has no float32 node whose operator takes half", "no int8: "],
        ),
    ],
)
def test_a_first_case_has_no_variant_that_changes_nothing_and_so_could_never_be_judged(
    operator: str, kind: int, kept: list[str], reasons: list[str], *, run_parity: RunParity, tmp_path: Path
) -> None:
    value = helper.make_tensor_value_info
    inputs, outputs = [value("x", kind, [4, 4]), value("z", kind, [4, 4])], [value("y", kind, [4, 4])]
    graph = helper.make_graph([helper.make_node(operator, ["x", "z"], ["y"])], "small", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "m.onnx"))
    process = run_parity("init", "m.onnx", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    text = (tmp_path / "cases/m/case.toml").read_text(encoding="utf-8")
    assert list(tomllib.loads(text)["variants"]) == kept
    assert [reason for reason in reasons if reason not in process.stdout] == []
    assert [reason for reason in reasons if f"# {reason.capitalize()[:8]}" not in text] == []
    assert f"✓ everything agrees: {len(kept)} pass" in process.stdout


def test_no_run_writes_the_case_and_runs_nothing(run_parity: RunParity, tmp_path: Path) -> None:
    onnx.save(conv_relu(), str(tmp_path / "m.onnx"))
    write_images(tmp_path / "photos", [f"{number}.png" for number in range(6)])
    process = run_parity("init", "m.onnx", "--images", "photos", "--out", "here", "--no-run", cwd=tmp_path)
    assert process.returncode == 0
    assert process.stdout.endswith("next: parity run here\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "m.onnx", "photos"]


def bare(dims: list[int | str] | None, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "same", [value("x", kind, dims)], [value("y", kind, dims)]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def small(*nodes: onnx.NodeProto, **inputs: list[int | str]) -> onnx.ModelProto:
    """Return a model of float32 inputs of these sizes whose output is y."""
    value = helper.make_tensor_value_info
    given = [value(name, TensorProto.FLOAT, dims) for name, dims in inputs.items()]
    graph = helper.make_graph(nodes, "small", given, [value("y", TensorProto.FLOAT, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_model_that_draws_random_numbers_is_told_as_that(run_parity: RunParity, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["noise"], "draw"),
        helper.make_node("Add", ["x", "noise"], ["y"], "sum"),
    ]
    onnx.save(small(*nodes, x=[4, 8]), str(tmp_path / "m.onnx"))
    process = run_parity("init", "m.onnx", "--no-run", cwd=tmp_path)
    told = "warning: the model draws random numbers (RandomNormalLike), so that no two runs of it agree"
    assert told in " ".join(process.stdout.split())


def test_a_model_that_was_left_in_training_is_told_as_that(run_parity: RunParity, tmp_path: Path) -> None:
    names = ["scale", "shift", "mean", "variance"]
    node = helper.make_node("BatchNormalization", ["x", *names], ["y", "new_mean", "new_variance"], training_mode=1)
    model = small(node, x=[4, 8])
    model.graph.initializer.extend(helper.make_tensor(name, TensorProto.FLOAT, [8], [1.0] * 8) for name in names)
    onnx.save(model, str(tmp_path / "m.onnx"))
    process = run_parity("init", "m.onnx", "--no-run", cwd=tmp_path)
    told = "warning: BatchNormalization is in training mode (1 of the model's nodes)"
    assert told in " ".join(process.stdout.split())


def test_random_inputs_that_a_model_refuses_are_told_with_their_sizes_and_run_with_the_batch_that_shape_names(
    run_parity: RunParity, tmp_path: Path
) -> None:
    model = small(helper.make_node("Reshape", ["x", "sizes"], ["y"], "two_rows"), x=["n", 3, 4])
    model.graph.initializer.append(helper.make_tensor("sizes", TensorProto.INT64, [2], [2, 12]))
    onnx.save(model, str(tmp_path / "m.onnx"))
    refused = run_parity("init", "m.onnx", cwd=tmp_path)
    assert refused.returncode == 2
    words = " ".join(refused.stderr.split())
    assert "The inputs were random, of sizes x=1x3x4: give others by --shape where axes are open" in words
    assert "Python function that yields them (docs/case-file.md#inputs)" in words
    process = run_parity("init", "m.onnx", "--shape", "x=2x3x4", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "✓ everything agrees" in process.stdout
    assert tomllib.loads((tmp_path / "cases/m/case.toml").read_text(encoding="utf-8"))["batch_size"] == 2


def in_words() -> onnx.ModelProto:
    """Return a model whose output is a label in words, as a classifier of words exports it."""
    value = helper.make_tensor_value_info
    classes = {"keys_int64s": [0, 1], "values_strings": ["no", "yes"]}
    nodes = [
        helper.make_node("ArgMax", ["x"], ["index"], axis=1, keepdims=0),
        helper.make_node("LabelEncoder", ["index"], ["word"], domain="ai.onnx.ml", **classes),
    ]
    graph = helper.make_graph(
        nodes, "words", [value("x", TensorProto.FLOAT, [1, 2])], [value("word", TensorProto.STRING, [1])]
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize(
    ("model", "words", "told"),
    [
        (b"no model", (), "is not an ONNX model"),
        (conv_relu(), ("--images", "empty"), "empty: holds no image"),
        (conv_relu(), ("--images", "photos", "--annotations", "broken.json"), "broken.json: is no COCO file"),
        (conv_relu(), ("--annotations", "broken.json"), "give --images too"),
        (conv_relu(), ("--shape", "whatever"), "expected an input with its sizes"),
        (bare([1, 16]), ("--images", "photos"), "has 2 axes, and images are of 4"),
        (two_inputs(), ("--images", "photos", "--shape", "ids=1x4", "--shape", "mask=1x4"), "the model has 2 inputs"),
        (bare(["n", "c", "h", "w"]), (), "--shape x=1xSIZExSIZExSIZE"),
        (bare([1], TensorProto.STRING), (), "takes text"),
        (in_words(), (), "output 'word': holds text; expected numbers"),
    ],
)
def test_what_cannot_become_a_case_gives_2_and_a_sentence(
    model: onnx.ModelProto | bytes | None, words: tuple[str, ...], told: str, run_parity: RunParity, tmp_path: Path
) -> None:
    if model is not None:
        content = model if isinstance(model, bytes) else model.SerializeToString()
        (tmp_path / "m.onnx").write_bytes(content)
    (tmp_path / "empty").mkdir()
    write_images(tmp_path / "photos", ["a.png", "b.png"])
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    process = run_parity("init", "m.onnx", *words, cwd=tmp_path)
    assert process.returncode == 2
    assert told in " ".join(process.stderr.split())
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "cases").exists()


def test_missing_external_data_is_named(run_parity: RunParity, tmp_path: Path) -> None:
    onnx.save_model(
        two_matmuls(1.0), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    (tmp_path / "w.bin").unlink()
    process = run_parity("init", "m.onnx", cwd=tmp_path)
    assert process.returncode == 2
    assert "the external data file 'w.bin' is missing" in process.stderr
