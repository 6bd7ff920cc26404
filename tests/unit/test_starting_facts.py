"""What a model says of itself before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import TensorProto, helper

from parity.errors import ModelError
from parity.starting.facts import ImageInput, read_facts, with_batch
from parity.starting.ultralytics import read_metadata
from tests.tiny_models import conv_relu, two_inputs

if TYPE_CHECKING:
    from pathlib import Path


def model_of(dims: list[int | str] | None, kind: int = TensorProto.FLOAT, **metadata: str) -> onnx.ModelProto:
    """Return x -> y = x of a shape, open where an axis has a name."""
    inputs = [helper.make_tensor_value_info("x", kind, dims)]
    outputs = [helper.make_tensor_value_info("y", kind, dims)]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    return model


def saved(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, str(path))
    return path


def test_axes_size_dtype_and_opset_are_read(tmp_path: Path) -> None:
    facts = read_facts(saved(tmp_path, conv_relu()))
    assert facts.image == ImageInput("images", "float32", "nchw", (8, 8), None)
    assert (facts.opset, facts.has_open_batch, facts.is_half) == (17, True, False)
    assert with_batch(facts, 5) == {"images": (5, 3, 8, 8)}


def test_channels_last_and_bytes_and_a_fixed_batch_are_seen(tmp_path: Path) -> None:
    facts = read_facts(saved(tmp_path, model_of([2, 20, 30, 3], TensorProto.UINT8)))
    assert facts.image == ImageInput("x", "uint8", "nhwc", (20, 30), 2)
    assert facts.image.shape(2) == (2, 20, 30, 3)


def test_a_half_model_is_seen(tmp_path: Path) -> None:
    assert read_facts(saved(tmp_path, model_of(["n", 3, 8, 8], TensorProto.FLOAT16))).is_half


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (two_inputs(), "has 2 inputs"),
        (model_of([1, 16]), "has 2 axes"),
        (model_of([1, 1, 8, 8]), "no axis of 3 channels"),
        (model_of([1, 3, 8, 8], TensorProto.INT64), "is int64"),
    ],
    ids=["several inputs", "rank", "grey", "dtype"],
)
def test_an_input_that_takes_no_images_says_why(model: onnx.ModelProto, told: str, tmp_path: Path) -> None:
    tokens = {info.name: (1, 4) for info in model.graph.input if info.name in {"ids", "mask"}}
    facts = read_facts(saved(tmp_path, model), tokens)
    assert facts.image is None
    assert told in facts.why_no_image


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (model_of([1], TensorProto.STRING), "takes text"),
        (model_of(None), "has no shape at all"),
        (model_of(["n", "c", "h", "w"]), r"--shape x=1xSIZExSIZExSIZE"),
        (model_of(["n", 3, "h", "w"]), r"--shape x=1x3xSIZExSIZE"),
    ],
    ids=["text", "no shape", "everything open", "size open"],
)
def test_an_input_that_nothing_here_can_make_is_an_error(model: onnx.ModelProto, told: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=told):
        read_facts(saved(tmp_path, model))


def test_a_sequence_is_an_error(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)
    output = helper.make_tensor_value_info("y", TensorProto.INT64, [])
    graph = helper.make_graph([helper.make_node("SequenceLength", ["x"], ["y"])], "length", [sequence], [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ModelError, match="sequence, map or optional"):
        read_facts(saved(tmp_path, model))


def test_open_sizes_may_be_named(tmp_path: Path) -> None:
    facts = read_facts(saved(tmp_path, model_of(["n", "c", "h", "w"])), {"x": (1, 3, 32, 64)})
    assert facts.image == ImageInput("x", "float32", "nchw", (32, 64), None)


def token_model(*dims: list[int | str | None]) -> onnx.ModelProto:
    """Return a model of several inputs of tokens, named a, b, … with these axes."""
    value = helper.make_tensor_value_info
    names = "abcd"[: len(dims)]
    inputs = [value(name, TensorProto.INT64, own) for name, own in zip(names, dims, strict=True)]
    nodes = [helper.make_node("Identity", [name], [f"y{name}"]) for name in names]
    outputs = [value(f"y{name}", TensorProto.INT64, own) for name, own in zip(names, dims, strict=True)]
    graph = helper.make_graph(nodes, "tokens", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_an_axis_that_is_named_in_one_input_has_its_size_in_the_others(tmp_path: Path) -> None:
    model = saved(tmp_path, token_model(["batch", "length"], ["batch", "length"], ["batch", 7]))
    assert read_facts(model, {"a": (2, 32)}).sizes == {"a": (2, 32), "b": (2, 32), "c": (2, 7)}


@pytest.mark.parametrize(
    ("dims", "options"),
    [
        ([["n", "length"], ["n", "length"]], "input a: .* leaves .* name them: --shape a=1xSIZE$"),
        ([["n", "length"], ["n", "other", 3]], "inputs a: .* leave .*: --shape a=1xSIZE --shape b=1xSIZEx3$"),
        ([["n", None], ["n", None]], "--shape a=1xSIZE --shape b=1xSIZE$"),
        ([[4, 8], ["n", "m"]], "input b: .*: --shape b=1xSIZE$"),
    ],
    ids=["one name", "two names", "no names", "the second alone"],
)
def test_every_size_that_is_asked_for_is_asked_at_once(
    dims: list[list[int | str | None]], options: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=options):
        read_facts(saved(tmp_path, token_model(*dims)))


@pytest.mark.parametrize(
    ("shapes", "told"),
    [({"z": (1, 2)}, "'z', which is no input; expected x"), ({"x": (1, 3, 9, 8)}, "the model has x")],
    ids=["name", "size"],
)
def test_named_sizes_that_do_not_fit_are_errors(shapes: dict[str, tuple[int, ...]], told: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=told):
        read_facts(saved(tmp_path, model_of(["n", 3, 8, 8])), shapes)


def test_metadata_of_an_ultralytics_export_gives_names_task_stride_and_size(tmp_path: Path) -> None:
    model = model_of(
        ["n", 3, "h", "w"],
        names="{0: 'cat', 1: 'dog'}",
        task="detect",
        stride="32",
        imgsz="[320, 640]",
        args="{'half': True}",
        description="A detector",
    )
    facts = read_facts(saved(tmp_path, model))
    assert facts.metadata is not None
    assert facts.metadata.names == ("cat", "dog")
    assert (facts.metadata.stride, facts.metadata.is_half) == (32, True)
    assert "yolov8" in facts.metadata.families
    assert facts.image is not None
    assert facts.image.size == (320, 640)


@pytest.mark.parametrize(
    "names",
    ["__import__('os').system('true')", "{1: 'a'}", "(" * 5000, "{'a': 1}", "7", "{0: 'a'" + ", " * 1_000_000 + "}"],
    ids=["code", "gap", "deep", "words", "number", "long"],
)
def test_metadata_that_is_no_literal_of_names_gives_none(names: str) -> None:
    found = read_metadata(model_of([1, 3, 8, 8], names=names, task="detect"))
    assert found is not None
    assert found.names == ()


@pytest.mark.parametrize(
    ("entries", "is_letterboxed"),
    [
        ({"author": "Ultralytics", "task": "detect"}, True),
        ({"author": "Ultralytics", "task": "classify"}, False),
        ({"author": "Ultralytics", "task": "a new one"}, False),
        ({"author": "somebody else", "task": "detect"}, False),
        ({"task": "detect", "names": "['a']"}, False),
    ],
)
def test_ultralytics_own_exports_are_letterboxed_but_for_classifiers(
    entries: dict[str, str], is_letterboxed: bool
) -> None:
    metadata = read_metadata(model_of([1, 3, 8, 8], **entries))
    assert metadata is not None
    assert metadata.is_letterboxed is is_letterboxed


def test_a_model_of_another_exporter_has_no_metadata() -> None:
    assert read_metadata(model_of([1, 3, 8, 8], author="somebody")) is None


def test_an_output_that_is_no_tensor_is_told_before_anything_runs(tmp_path: Path) -> None:
    model = model_of([1, 4])
    model.graph.node.append(helper.make_node("SequenceConstruct", ["x"], ["z"]))
    model.graph.output.append(helper.make_tensor_sequence_value_info("z", TensorProto.FLOAT, None))
    with pytest.raises(ModelError, match=r"output 'z' is a sequence.*'zipmap': False"):
        read_facts(saved(tmp_path, model))


@pytest.mark.parametrize("size", [2, 6])
def test_first_axes_that_are_open_have_one_size_where_one_is_the_batch(size: int, tmp_path: Path) -> None:
    facts = read_facts(saved(tmp_path, token_model(["n", "length"], ["n"], [3, 3])), {"a": (size, 6)})
    assert facts.open_rows == {size}


def test_a_length_before_the_batch_is_seen_by_first_axes_of_several_sizes(tmp_path: Path) -> None:
    facts = read_facts(saved(tmp_path, token_model(["length", "n"], ["n"])), {"a": (6, 2)})
    assert facts.open_rows == {6, 2}


def test_an_option_that_is_asked_for_can_be_copied_whatever_the_input_is_called(tmp_path: Path) -> None:
    model = model_of(["n", "length"])
    model.graph.input[0].name = model.graph.node[0].input[0] = "serving default:0"
    with pytest.raises(ModelError, match=r"--shape 'serving default:0=1xSIZE'$"):
        read_facts(saved(tmp_path, model))
