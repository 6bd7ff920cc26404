"""What survives fusion, by the inspector's own words, and the layers that make it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.backends.engine import LayerTime
from parity.inspector import parse_inspection
from parity.layers.engine_points import find_engine_points, layer_medians
from tests.tiny_graphs import model_of, node, pointwise

if TYPE_CHECKING:
    from onnx import ModelProto

    from parity.inspector import EngineLayer
    from parity.layers.engine_points import EnginePoint, EnginePoints

DATA = Path(__file__).parents[1] / "data" / "inspector"


def tensor(name: str, kind: str = "Row major linear FP32") -> dict[str, Any]:
    return {"Name": name, "Dimensions": [1], "Format/Datatype": kind}


HALF = "Channel major FP16 format where channel % 8 == 0"


def layer(
    name: str, reads: list[str], writes: list[str], *nodes: str, kind: str = "PointWiseV2", half: bool = False
) -> dict[str, Any]:
    inputs, outputs = ([tensor(t, HALF if half else "Row major linear FP32") for t in side] for side in (reads, writes))
    metadata = "\x1e".join(f"[ONNX Layer: {one}]" for one in nodes)
    return {"Name": name, "LayerType": kind, "Inputs": inputs, "Outputs": outputs, "Metadata": metadata}


def inspected(*layers: dict[str, Any]) -> tuple[EngineLayer, ...]:
    return parse_inspection(json.dumps({"Layers": layers, "Bindings": []}).replace("\\u001e", "\x1e")).layers


def found_in(model: ModelProto, *layers: dict[str, Any]) -> EnginePoints:
    return find_engine_points(model, inspected(*layers), [value.name for value in model.graph.output])


def of(found: EnginePoints, name: str) -> EnginePoint:
    return next(point for point in found.points if point.tensor == name)


CHAIN = pointwise("Abs", "Exp", "Neg", "Tanh")


def test_a_fused_group_is_one_row_of_all_its_nodes_and_what_vanished_names_it() -> None:
    found = found_in(CHAIN, layer("n0 + n1", ["x"], ["t1"], "n0", "n1"), layer("n2 + n3", ["t1"], ["y"], "n2", "n3"))
    assert [(p.tensor, p.layer, p.point.nodes, p.point.inputs) for p in found.points] == [
        ("t1", "n0 + n1", ("n0", "n1"), ()),
        ("y", "n2 + n3", ("n2", "n3"), ("t1",)),
    ]
    assert found.points[0].point.operators == ("Abs", "Exp")
    assert found.coverage == 0.5
    assert found.unobserved == (
        "t0 (Abs): does not survive in the engine: is inside of layer 'n0 + n1'",
        "t2 (Neg): does not survive in the engine: is inside of layer 'n2 + n3'",
    )
    assert found.notes == ()


def test_reformat_layers_belong_to_the_row_behind_them_and_do_not_name_it() -> None:
    found = found_in(
        CHAIN,
        layer("Reformatting CopyNode for Input Tensor 0 to n0", ["x"], ["copy of x"], kind="Reformat"),
        layer("n0 + n1", ["copy of x"], ["copy of t1"], "n0", "n1", half=True),
        layer("Reformatting CopyNode for Output Tensor 0 to n1", ["copy of t1"], ["t1"], kind="Reformat"),
        layer("n2 + n3", ["t1"], ["y"], "n2", "n3"),
    )
    first = of(found, "t1")
    assert (first.layer, first.places, first.precision, first.is_half) == ("n0 + n1", (0, 1, 2), "fp16", False)
    assert of(found, "y").places == (3,)


def test_a_tensor_that_the_engine_holds_as_half_is_known() -> None:
    found = found_in(
        CHAIN, layer("n0", ["x"], ["t0"], "n0", half=True), layer("n1 + n2 + n3", ["t0"], ["y"], "n1", "n2", "n3")
    )
    assert [point.is_half for point in found.points] == [True, False]


def test_one_region_that_holds_everything_leaves_the_outputs() -> None:
    name = "{ForeignNode[n0...n3]}"
    found = found_in(CHAIN, layer(name, ["x"], ["y"], "n0", "n1", "n2", "n3", kind="Myelin"))
    assert [(p.tensor, p.layer, p.point.nodes) for p in found.points] == [("y", name, ("n0", "n1", "n2", "n3"))]
    assert (found.coverage, len(found.unobserved)) == (0.25, 3)
    assert all(name in sentence for sentence in found.unobserved)


def test_layers_without_nodes_take_the_models_own_and_are_told() -> None:
    found = found_in(CHAIN, layer("mystery", ["x"], ["t2"]), layer("n3", ["t2"], ["y"], "n3"))
    assert of(found, "t2").point.nodes == ("n0", "n1", "n2")
    assert found.notes == ("layers that name no ONNX node: mystery; the model's own order stands for it",)


def test_a_list_of_nodes_that_was_cut_short_is_not_believed() -> None:
    cut = layer("many", ["x"], ["y"], "n0") | {"Metadata": "[ONNX Layer: n0] ... [ONNX Layer: n3]"}
    assert of(found_in(CHAIN, cut), "y").point.nodes == ("n0", "n1", "n2", "n3")


def test_layers_of_one_name_are_told_apart_by_their_order() -> None:
    twins = (layer("twin", ["x"], ["t1"], "n0", "n1"), layer("twin", ["t1"], ["y"], "n2", "n3"))
    found = found_in(CHAIN, *twins)
    assert [point.places for point in found.points] == [(0,), (1,)]
    assert found.notes == ("names that several layers share: twin; their order tells them apart",)
    assert layer_medians(inspected(*twins), [LayerTime("twin", (3.0, 1.0, 2.0)), LayerTime("twin", (9.0,))]) == [2, 9]


def test_a_layer_without_a_reading_has_no_time() -> None:
    layers = inspected(layer("a", ["x"], ["t0"]), layer("b", ["t0"], ["y"]))
    assert layer_medians(layers, [LayerTime("b", (1.5,)), LayerTime("a", ())]) == [None, 1.5]


def test_several_layers_that_write_one_concatenation_are_one_row() -> None:
    model = model_of(
        [
            node("Abs", ["x"], ["a"], "left"),
            node("Exp", ["x"], ["b"], "right"),
            node("Concat", ["a", "b"], ["both"], "join", axis=0),
            node("Neg", ["both"], ["y"], "last"),
        ],
        ["x"],
        ["y"],
    )
    found = found_in(
        model,
        layer("left", ["x"], ["both"], "left"),
        layer("right", ["x"], ["both"], "right"),
        layer("last", ["both"], ["y"], "last"),
    )
    assert of(found, "both").point.nodes == ("left", "right")
    assert of(found, "both").places == (0, 1)
    assert of(found, "y").point.inputs == ("both",)


def test_an_engine_that_shows_no_layer_leaves_the_outputs_to_the_model() -> None:
    found = found_in(CHAIN)
    assert [(p.tensor, p.layer, p.precision, p.point.nodes) for p in found.points] == [
        ("y", "", "none", ("n0", "n1", "n2", "n3"))
    ]


def test_a_view_is_a_point_where_what_it_views_did_not_survive() -> None:
    model = model_of(
        [
            node("Abs", ["x"], ["a"], "abs"),
            node("Reshape", ["a", "to"], ["r"], "view"),
            node("Exp", ["r"], ["y"], "exp"),
        ],
        ["x"],
        ["y"],
        {"to": np.array([-1], np.int64)},
    )
    found = found_in(model, layer("abs + view", ["x"], ["r"], "abs", "view"), layer("exp", ["r"], ["y"], "exp"))
    assert [point.tensor for point in found.points] == ["r", "y"]
    assert (found.coverage, found.unobserved) == (1.0, ())


@given(st.lists(st.tuples(st.sampled_from("abct"), st.sampled_from("abcy")), max_size=6))
def test_whatever_the_tensors_are_called_the_walk_ends(edges: list[tuple[str, str]]) -> None:
    layers = [layer(f"{a}{b}", [a], [b]) for a, b in edges]
    assert [point.tensor for point in found_in(pointwise("Abs"), *layers).points] == ["y"]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "tf32"])
def test_a_real_engine_of_8_6_has_a_tensor_for_each_of_its_groups(precision: str) -> None:
    text = (DATA / f"tensorrt-8.6-{precision}.json").read_text(encoding="utf-8")
    layers = parse_inspection(text).layers
    groups = [one for one in layers if one.nodes and one.kind.startswith("Cask") and "+" in one.name]
    last, nodes = "images", []
    for group in groups:
        for position, name in enumerate(group.nodes):
            # The group's last node writes what the inspector says, the others what fusion takes away.
            written = group.outputs[0].name if position == len(group.nodes) - 1 else f"{name}_gone"
            nodes.append(node("Relu" if position else "Abs", [last], [written], name))
            last = written
    found = find_engine_points(model_of(nodes, ["images"], [last]), layers, [last])
    assert [point.layer for point in found.points] == [group.name for group in groups]
    assert [point.point.nodes for point in found.points] == [group.nodes for group in groups]
    assert found.coverage == pytest.approx(len(groups) / len(nodes))
    if precision == "fp16":
        assert all(point.is_half and point.precision == "fp16" for point in found.points)
