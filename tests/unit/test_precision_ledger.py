"""The books of a graph while it is rewritten."""

from __future__ import annotations

from onnx import TensorProto

from parity.precision.edit import make_cast
from parity.precision.ledger import Ledger
from parity.precision.scope import enter, open_scope, subgraphs
from tests.tiny_graphs import branches, constants_of, graph_of, node, op_types

FLOAT, FP16, BF16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16


class Copies:
    """A copier that names copies after their type, and counts them."""

    def __init__(self):
        self.made = []

    def name_copy(self, name, elem_type):
        return f"{name}_{elem_type}"

    def copy_constant(self, tensor, copy, elem_type):
        self.made.append((tensor.name, elem_type))
        made = TensorProto()
        made.CopyFrom(tensor)
        made.name = copy
        return made

    def copy_tensor(self, name, copy, elem_type):
        self.made.append((name, elem_type))
        return [make_cast(name, copy, elem_type)]


def two_floors():
    """Return the ledgers of an If and of its first branch; k is an outer constant, j an inner one."""
    branch = graph_of([node("Add", ["x", "k"], ["t"]), node("Add", ["t", "j"], ["b"])], [], ["b"], {"j": [1.0]})
    outer = Ledger(open_scope(branches(branch, branch, {"k": [1.0]})))
    scope = outer.scope
    return outer, Ledger(enter(next(subgraphs(scope.graph.node[0])), scope.opsets, scope), outer)


def test_a_tensor_belongs_to_the_graph_that_makes_it():
    outer, inner = two_floors()
    assert inner.owner_of("x") is inner.owner_of("k") is outer
    assert inner.owner_of("t") is inner.owner_of("j") is inner


def test_a_tensor_that_holds_the_type_already_is_read_as_it_is():
    outer, inner = two_floors()
    outer.held["x"] = FP16
    copies = Copies()
    assert inner.read_as("x", FP16, copies) == "x"
    assert inner.read_as("t", FLOAT, copies) == "t"
    assert not copies.made


def test_a_tensor_inside_a_fused_kernel_is_read_as_it_is():
    _, inner = two_floors()
    inner.fused.add("t")
    assert inner.read_as("t", FP16, Copies()) == "t"


def test_a_tensor_is_copied_once_a_type_and_where_it_is_read():
    outer, inner = two_floors()
    copies = Copies()
    assert [inner.read_as("x", elem_type, copies) for elem_type in (FP16, FP16, BF16)] == ["x_10", "x_10", "x_16"]
    assert copies.made == [("x", FP16), ("x", BF16)]
    assert (len(inner.nodes), len(outer.nodes)) == (2, 0)
    assert inner.held_by("x_10") == FP16


def test_a_branch_finds_the_copy_that_the_outer_graph_made_and_not_the_other_way_round():
    outer, inner = two_floors()
    copies = Copies()
    inner.read_as("x", BF16, copies)
    outer.read_as("x", FP16, copies)
    inner.read_as("x", FP16, copies)
    outer.read_as("x", BF16, copies)
    assert copies.made == [("x", BF16), ("x", FP16), ("x", BF16)]


def test_constants_are_copied_beside_themselves_for_every_branch():
    outer, inner = two_floors()
    assert inner.read_as("k", FP16, Copies()) == outer.read_as("k", FP16, Copies()) == "k_10"
    assert inner.read_as("j", FP16, Copies()) == "j_10"
    assert list(constants_of(outer.scope.graph)) == ["k", "k_10"]
    assert list(constants_of(inner.scope.graph)) == ["j", "j_10"]


def test_closing_writes_the_nodes_and_drops_what_nothing_reads():
    _, inner = two_floors()
    graph = inner.scope.graph
    inner.nodes.append(node("Relu", ["x"], ["b"]))
    inner.close()
    assert (op_types(graph), len(graph.initializer)) == (["Relu"], 0)
