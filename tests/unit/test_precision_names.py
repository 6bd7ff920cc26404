"""Names of nodes, and keep-lists over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import pytest

from parity.errors import PrecisionError
from parity.precision import names
from parity.precision.names import all_nodes, kept_nodes, name_nodes, tensor_names, unused_name, with_names
from tests.tiny_graphs import branches, graph_of, model_of, node, pointwise

if TYPE_CHECKING:
    from onnx import ModelProto


def named(*names: str) -> ModelProto:
    model = pointwise(*["Relu"] * len(names))
    for made, name in zip(model.graph.node, names, strict=True):
        made.name = name
    return model


def test_unnamed_and_doubly_named_nodes_get_names_of_their_own_and_the_first_keeps_its():
    model = named("", "same", "same", "Relu_0", "")
    name_nodes(model.graph)
    names = [made.name for made in model.graph.node]
    assert len(set(names)) == 5
    assert names[1] == "same"
    assert names[3] == "Relu_0"


def test_branches_that_call_their_nodes_alike_get_different_names():
    branch = graph_of([node("Relu", ["x"], ["inside"], "same")], [], ["inside"])
    model = branches(branch, branch)
    name_nodes(model.graph)
    assert len({made.name for made in all_nodes(model.graph)}) == 3


def test_nodes_inside_of_a_local_function_can_be_kept_and_the_model_is_not_changed():
    function = onnx.helper.make_function(
        "own", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"], "inside")], [onnx.helper.make_opsetid("", 17)]
    )
    model = model_of([node("Twice", ["x"], ["y"], domain="own")], ["x"], ["y"], domains=["own"], functions=[function])
    [added] = with_names(model).graph.node
    assert added.op_type == "Add"
    assert kept_nodes(with_names(model).graph, [added.name]) == {added.name}
    assert [made.op_type for made in model.graph.node] == ["Twice"]


def test_an_unused_name_is_taken_once_it_is_given():
    taken = {"a", "a_2"}
    assert [unused_name("a", taken), unused_name("a", taken), unused_name("b", taken)] == ["a_3", "a_4", "b"]


def test_tensor_names_include_those_of_subgraphs():
    branch = graph_of([node("Add", ["x", "k"], ["inside"])], [], ["inside"], {"k": [1.0]})
    assert tensor_names(branches(branch, branch).graph) == {"c", "x", "y", "inside", "k"}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/a/x", {"/a/x"}),
        ("/a/*", {"/a/x", "/a/y"}),
        ("op:Relu", {"/a/x", "/a/y", "/b[0]"}),
        ("op:R*", {"/a/x", "/a/y", "/b[0]"}),
        ("/b[0]", {"/b[0]"}),
    ],
)
def test_a_pattern_keeps_the_nodes_that_it_names(pattern, expected):
    assert kept_nodes(named("/a/x", "/a/y", "/b[0]").graph, [pattern]) == expected


def test_patterns_reach_into_subgraphs_and_add_up():
    branch = graph_of([node("Relu", ["x"], ["inside"], "deep")], [], ["inside"])
    assert kept_nodes(branches(branch, branch).graph, ["deep", "op:If"]) == {"deep", "choose"}


@pytest.mark.parametrize("pattern", ["conv", "/A/*", "op:relu", "op:Conv", ""])
def test_a_pattern_that_matches_nothing_is_a_mistake_and_shown_beside_ones_that_would(pattern):
    with pytest.raises(PrecisionError, match=r"matches no node of the model; expected .* op:Relu"):
        kept_nodes(named("/a/x", "/a/y").graph, ["op:Relu", pattern])


def test_a_model_without_nodes_has_nothing_to_keep():
    with pytest.raises(PrecisionError, match="it has constants only"):
        kept_nodes(model_of([], ["x"], ["x"]).graph, ["*"])


def test_plain_names_are_looked_up_and_no_node_is_matched_against_them(monkeypatch):
    monkeypatch.setattr(names, "fnmatchcase", None)
    plain = ["first", "model/2", "c d"]
    assert kept_nodes(named(*plain).graph, plain) == frozenset(plain)
