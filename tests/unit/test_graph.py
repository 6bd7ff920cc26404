"""Models as people's exporters and converters leave them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from parity.errors import ModelError
from parity.graph import hash_model, is_quantized, load_model, model_interface, node_types

if TYPE_CHECKING:
    from pathlib import Path

RELU = helper.make_node("Relu", ["x"], ["hidden"], "relu")
EXP = helper.make_node("Exp", ["hidden"], ["y"], "exp")


def write_model(folder: Path, nodes: list[onnx.NodeProto], outputs: tuple[str, ...] = ("y",), rows: int = 2) -> Path:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 3])]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, 3]) for name in outputs]
    graph = helper.make_graph(nodes, "graph", inputs, results)
    file = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    return file


def test_nodes_that_stand_before_what_they_read_are_put_behind_it(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path, [EXP, RELU]))
    assert [node.name for node in model.graph.node] == ["relu", "exp"]
    onnx.checker.check_model(model)


def test_nodes_in_order_stay_as_they_are(tmp_path: Path) -> None:
    other = helper.make_node("Neg", ["x"], ["other"], "neg")
    file = write_model(tmp_path, [other, RELU, EXP])
    assert hash_model(load_model(file)) == hash_model(onnx.load(file))


def test_what_a_branch_reads_from_outside_stands_before_its_node(tmp_path: Path) -> None:
    result = helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 3])
    branch = helper.make_graph([helper.make_node("Neg", ["hidden"], ["z"])], "branch", [], [result])
    choice = helper.make_node("If", ["yes"], ["y"], "if", then_branch=branch, else_branch=branch)
    yes = helper.make_node("Constant", [], ["yes"], "yes", value=helper.make_tensor("c", TensorProto.BOOL, [], [True]))
    model = load_model(write_model(tmp_path, [choice, yes, RELU]))
    assert [node.name for node in model.graph.node][-1] == "if"
    onnx.checker.check_model(model)


def test_a_circle_is_left_to_the_runtime_to_refuse(tmp_path: Path) -> None:
    circle = [helper.make_node("Neg", ["y"], ["hidden"], "neg"), EXP]
    model = load_model(write_model(tmp_path, circle))
    assert [node.name for node in model.graph.node] == ["neg", "exp"]


def test_a_model_without_an_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.onnx: has no output"):
        load_model(write_model(tmp_path, [RELU], outputs=()))


def test_a_negative_dimension_is_a_dynamic_one(tmp_path: Path) -> None:
    interface = model_interface(load_model(write_model(tmp_path, [RELU, EXP], rows=-1)))
    assert str(interface.inputs[0]) == "x: float32 (?, 3)"


def test_the_type_of_a_node_is_that_of_its_first_floating_output() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], "cast", to=TensorProto.FLOAT16),
        helper.make_node("Exp", ["half"], ["e"], "exp"),
        helper.make_node("Shape", ["e"], ["s"], "shape"),
        helper.make_node("Cast", ["e"], ["y"], "back", to=TensorProto.FLOAT),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "graph", [value("x", TensorProto.FLOAT, [2])], [value("y", TensorProto.FLOAT, [2])]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert node_types(model) == {"cast": "float16", "exp": "float16", "back": "float32"}
    assert not is_quantized(model)


def test_weights_in_a_file_that_no_file_can_be_called_are_told(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.ones(2, np.float32), "w")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="a\0b")
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [output], [weights])
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"'w' keeps its data in 'a\\x00b', which is no name of a file"):
        load_model(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="is no name of a file here"):
        load_model(tmp_path / "a\0b.onnx")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 12\n",
            "a pointer of Git LFS; run: git lfs pull",
        ),
        (b"\n<!DOCTYPE html><html></html>", "a web page"),
        (b"PK\x03\x04\x00\x00", "a zip archive, as torch.save writes it"),
    ],
    ids=["git lfs", "html", "zip"],
)
def test_what_often_stands_in_a_models_place_is_told(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=rf"model\.onnx: is not an ONNX model but {told}"):
        load_model(tmp_path / "model.onnx")


def test_a_model_that_was_cut_off_is_told_to_be_truncated(tmp_path: Path) -> None:
    file = write_model(tmp_path, [RELU, EXP])
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ModelError, match="is not an ONNX model, or is truncated"):
        load_model(file)
