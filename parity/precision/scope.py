"""Scopes of a graph: element types, producers and consumers of its tensors, those of outer scopes included.

Types are propagated through the operators' schemas rather than read from shape inference, because shape inference says
nothing about the inside of Loop and If.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import ModelProto

UNKNOWN = TensorProto.UNDEFINED
_PREFIX = {"": "", "ai.onnx": ""}
# Operators that draw or make a tensor whose type an attribute names.
_TYPE_ATTRIBUTE = {"Cast": "to", "RandomNormal": "dtype", "RandomUniform": "dtype", "RandomNormalLike": "dtype",
                   "RandomUniformLike": "dtype", "EyeLike": "dtype", "Bernoulli": "dtype"}  # fmt: skip
# Those of them that take their input's type where the attribute is missing.
_LIKE_INPUT = frozenset({"RandomNormalLike", "RandomUniformLike", "EyeLike", "Bernoulli"})


@dataclass(slots=True)
class Scope:
    """One graph with what its nodes may read: its own tensors and those of the graphs around it.

    ``types`` maps tensor names to ONNX element types; names that are missing have a type that cannot be told.
    """

    graph: GraphProto
    opsets: dict[str, int]
    outer: Scope | None = None
    types: dict[str, int] = field(default_factory=dict)

    def type_of(self, name: str) -> int:
        """Return a tensor's element type, looking outwards; UNKNOWN where it cannot be told."""
        if name in self.types:
            return self.types[name]
        return self.outer.type_of(name) if self.outer else UNKNOWN

    def is_float(self, name: str) -> bool:
        """Whether a tensor is float32."""
        return bool(name) and self.type_of(name) == TensorProto.FLOAT


def opset_imports(model: ModelProto) -> dict[str, int]:
    """Return the opset version of every domain; the default domain is the empty string."""
    return {_PREFIX.get(entry.domain, entry.domain): entry.version for entry in model.opset_import}


def open_scope(model: ModelProto) -> Scope:
    """Return the main graph's scope, with the types of all of its tensors."""
    return enter(model.graph, opset_imports(model), None)


def enter(graph: GraphProto, opsets: dict[str, int], outer: Scope | None) -> Scope:
    """Return a graph's scope inside an outer one."""
    # What a model says itself counts only where it cannot be derived: the outputs of other domains' operators.
    scope = Scope(graph, opsets, outer, {value.name: value.type.tensor_type.elem_type for value in graph.value_info})
    for value in graph.input:
        scope.types[value.name] = value.type.tensor_type.elem_type
    for tensor in graph.initializer:
        scope.types[tensor.name] = tensor.data_type
    for sparse in graph.sparse_initializer:
        scope.types[sparse.values.name] = sparse.values.data_type
    for node in graph.node:
        _add_output_types(node, scope)
    for value in graph.output:
        scope.types.setdefault(value.name, value.type.tensor_type.elem_type)
    return scope


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs in a node's attributes."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


@dataclass(frozen=True, slots=True)
class Formal:
    """What an operator's schema says of types: a type parameter (``T``) or a type (``tensor(int64)``) a place.

    ``halves`` holds the type parameters that may be float16, ``only`` the type of those that stand for one alone.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    halves: frozenset[str]
    only: dict[str, str]

    def of(self, node: NodeProto) -> tuple[list[str], list[str]]:
        """Return the formal type of every actual input and output."""
        return _spread(self.inputs, len(node.input)), _spread(self.outputs, len(node.output))


def formal_of(node: NodeProto, opsets: dict[str, int]) -> Formal | None:
    """Return an operator's formal types at the model's opset; None for operators of other domains and unknown ones."""
    domain = _PREFIX.get(node.domain, node.domain)
    try:
        return _read_schema(node.op_type, opsets.get(domain, 1), domain)
    except onnx.defs.SchemaError:
        return None


@cache
def _read_schema(op_type: str, version: int, domain: str) -> Formal:
    """Read a schema once: a plan asks several times a node, and each answer is a copy made by C++."""
    schema = onnx.defs.get_schema(op_type, version, domain)
    allowed = {constraint.type_param_str: constraint.allowed_type_strs for constraint in schema.type_constraints}
    return Formal(
        tuple(parameter.type_str for parameter in schema.inputs),
        tuple(parameter.type_str for parameter in schema.outputs),
        frozenset(kind for kind, types in allowed.items() if "tensor(float16)" in types),
        {kind: types[0] for kind, types in allowed.items() if len(types) == 1},
    )


def _spread(types: tuple[str, ...], count: int) -> list[str]:
    """Repeat the last type as often as a variadic operator has it."""
    return list((types + (types[-1:] or ("",)) * count)[:count])


def _add_output_types(node: NodeProto, scope: Scope) -> None:
    known = _special_type(node, scope) or _subgraph_types(node, scope)
    if known is None:
        known = _schema_types(node, scope)
    for name, elem_type in zip(node.output, known, strict=False):
        if name and elem_type != UNKNOWN:
            scope.types[name] = elem_type


def _special_type(node: NodeProto, scope: Scope) -> list[int] | None:
    attributes = {attribute.name: attribute for attribute in node.attribute}
    by_attribute = attributes.get(_TYPE_ATTRIBUTE.get(node.op_type, ""))
    if by_attribute is not None:
        return [by_attribute.i]
    if node.op_type in {"RandomNormal", "RandomUniform"}:
        return [TensorProto.FLOAT]
    if node.op_type in _LIKE_INPUT:
        return [scope.type_of(node.input[0])]
    if node.op_type == "ConstantOfShape":
        return [attributes["value"].t.data_type if "value" in attributes else TensorProto.FLOAT]
    if node.op_type == "Constant":
        return [_constant_type(node)]
    return None


def _constant_type(node: NodeProto) -> int:
    attribute = node.attribute[0] if node.attribute else AttributeProto()
    if attribute.name == "value":
        return attribute.t.data_type
    if attribute.name == "sparse_value":
        return attribute.sparse_tensor.values.data_type
    if attribute.name.startswith("value_string"):
        return TensorProto.STRING
    return TensorProto.FLOAT if attribute.name.startswith("value_float") else TensorProto.INT64


def _subgraph_types(node: NodeProto, scope: Scope) -> list[int] | None:
    if node.op_type not in {"If", "Loop", "Scan"}:
        return None
    graph = next(subgraphs(node))
    inner = enter(graph, scope.opsets, scope)
    types = [inner.type_of(value.name) for value in graph.output]
    return types[1:] if node.op_type == "Loop" else types


def _schema_types(node: NodeProto, scope: Scope) -> list[int]:
    formal = formal_of(node, scope.opsets)
    if formal is None:
        return []
    inputs, outputs = formal.of(node)
    bound = {kind: scope.type_of(name) for kind, name in zip(inputs, node.input, strict=True) if name}
    # Shape and Equal name their output T1, and allow a single type for it.
    return [bound[kind] if kind in bound else _concrete(formal.only.get(kind, kind)) for kind in outputs]


@cache
def _concrete(formal: str) -> int:
    """Return the type that a schema spells out (``tensor(int64)``); UNKNOWN for a type parameter."""
    name = formal.removeprefix("tensor(").removesuffix(")").upper()
    is_type = formal.startswith("tensor(") and name in set(TensorProto.DataType.keys())
    return TensorProto.DataType.Value(name) if is_type else UNKNOWN
