"""Operators whose answers jump: which they are, and in a newcomer's words where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto, helper

if TYPE_CHECKING:
    from onnx import NodeProto

_WHOLE = frozenset({
    TensorProto.BOOL, TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8,
    TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
})  # fmt: skip
_ROUNDS = "gives whole numbers, and jumps from one to the next"
_COMPARES = "gives true or false, and jumps at its threshold"
_CHOOSES = "chooses by order, and near ties change places by the smallest error"
_JUMPS = "jumps from one value to another"
_WHERE: dict[str, str] = {
    **dict.fromkeys(("Ceil", "Floor", "Round"), _ROUNDS),
    **dict.fromkeys(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"), _COMPARES),
    **dict.fromkeys(("ArgMax", "ArgMin", "Hardmax", "NonMaxSuppression", "TopK"), _CHOOSES),
    **dict.fromkeys(("IsInf", "IsNaN", "MaxRoiPool", "Mod", "NonZero", "Shrink", "Sign", "ThresholdedRelu"), _JUMPS),
}


def where_it_jumps(node: NodeProto) -> str:
    """Return where what a node gives jumps, as a sentence that begins with its operator goes on; empty if nowhere."""
    attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    if node.op_type == "Cast":
        return _ROUNDS if attributes.get("to") in _WHOLE else ""
    if node.op_type == "GridSample":
        return _JUMPS if attributes.get("mode") == b"nearest" else ""
    return _WHERE.get(node.op_type, "")


def is_step(node: NodeProto) -> bool:
    """Whether what a node gives jumps."""
    return bool(where_it_jumps(node))
