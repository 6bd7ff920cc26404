"""Graphs in a few lines each, for tests that rewrite them, and what they compute in ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from parity.backends import get_backend
from parity.options import PrecisionOptions, SessionOptions
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Feed = dict[str, np.ndarray]

node = helper.make_node


def value(name: str, rank: int, elem_type: int = TensorProto.FLOAT) -> ValueInfoProto:
    """Return a tensor of a rank, whose dimensions are free."""
    return helper.make_tensor_value_info(name, elem_type, [f"{name}_{axis}" for axis in range(rank)])


def graph_of(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto | str],
    outputs: Sequence[ValueInfoProto | str],
    constants: Mapping[str, object] | None = None,
) -> GraphProto:
    """Return a graph; a name alone is a float32 vector, a constant that is a list is float32."""
    tensors = [
        numpy_helper.from_array(given if isinstance(given, np.ndarray) else np.asarray(given, np.float32), name)
        for name, given in (constants or {}).items()
    ]
    sides = [[value(one, 1) if isinstance(one, str) else one for one in side] for side in (inputs, outputs)]
    return helper.make_graph(nodes, "tiny", *sides, tensors)


def model_of(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto | str],
    outputs: Sequence[ValueInfoProto | str],
    constants: Mapping[str, object] | None = None,
    *,
    opset: int = 17,
    ir_version: int = 9,
    domains: Sequence[str] = (),
    functions: Sequence[onnx.FunctionProto] = (),
) -> ModelProto:
    """Return a checked model of the graph that ``graph_of`` makes."""
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(
        graph_of(nodes, inputs, outputs, constants), opset_imports=imports, ir_version=ir_version, functions=functions
    )
    onnx.checker.check_model(model)
    return model


def pointwise(*op_types: str) -> ModelProto:
    """Return a chain of unary operators from x to y; nodes are named n0, n1, tensors between them t0, t1."""
    names = ["x", *(f"t{number}" for number in range(len(op_types) - 1)), "y"]
    nodes = [node(op, [names[i]], [names[i + 1]], f"n{i}") for i, op in enumerate(op_types)]
    return model_of(nodes, ["x"], ["y"])


def affine(weight: object = ((2.0, 0.0), (0.0, 2.0)), bias: object = (0.0, 0.0), **attributes: object) -> ModelProto:
    """Return a Gemm from x (rows, 2) to y, named gemm."""
    return model_of(
        [node("Gemm", ["x", "w", "b"], ["y"], "gemm", **attributes)],
        [value("x", 2)],
        [value("y", 2)],
        {"w": weight, "b": bias},
    )


def branches(
    then: GraphProto,
    other: GraphProto,
    constants: Mapping[str, object] | None = None,
    before: Sequence[NodeProto] = (),
) -> ModelProto:
    """Return an If over two branches that may capture x, the constants, and what the nodes before it give.

    Its condition is c, its output y.
    """
    nodes = [*before, node("If", ["c"], ["y"], "choose", then_branch=then, else_branch=other)]
    return model_of(nodes, [value("c", 0, TensorProto.BOOL), "x"], ["y"], constants)


def looped(body_nodes: Sequence[NodeProto], trips: int, constants: Mapping[str, object] | None = None) -> ModelProto:
    """Return a Loop whose body makes ``after`` of ``before``, from x to y; the body may capture x and the constants."""
    inputs = [value("trip", 0, TensorProto.INT64), value("going", 0, TensorProto.BOOL), "before"]
    body = graph_of(
        [*body_nodes, node("Identity", ["going"], ["still"], "still")],
        inputs,
        [value("still", 0, TensorProto.BOOL), "after"],
    )
    nodes = [node("Loop", ["trips", "", "x"], ["y"], "loop", body=body)]
    return model_of(nodes, ["x"], ["y"], {"trips": np.array(trips, np.int64), **(constants or {})})


def copy_of(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def run(model: ModelProto, feed: Feed) -> Feed:
    """Return a model's outputs, executed without graph optimisations."""
    with get_backend("onnxruntime").open(model, SessionOptions(thread_count=1)) as session:
        return session.run(feed)


def run_exposed(model: ModelProto, feed: Feed, names: Sequence[str]) -> Feed:
    """Return float32 tensors of a model's main graph."""
    exposed = copy_of(model)
    del exposed.graph.output[:]
    exposed.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    return run(exposed, feed)


def op_types(graph: GraphProto) -> list[str]:
    return [one.op_type for one in graph.node]


def constants_of(graph: GraphProto) -> Feed:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def half_options(precision: Precision = Precision.FP16, **options: object) -> PrecisionOptions:
    return PrecisionOptions(precision, **options)


def array(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def as_half(values: np.ndarray) -> np.ndarray:
    """Round to float16 and back, overflow to infinity: NumPy's own rounding, the oracle of fp16."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)
