"""Explicit quantization: Q/DQ pairs for int8 and fp8, placed where TensorRT wants them.

Both inputs of every convolution and matrix product are quantized, outputs and biases are not: activations per tensor,
constant weights per output channel, all symmetric. ONNX Runtime's quantizer is not used: it quantizes outputs and
biases unless told otherwise, skips tensors whose type it cannot infer, and scales float8 by standard deviations, while
TensorRT expects the largest magnitude to meet 448.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from parity.errors import PrecisionError
from parity.precision.edit import drop_unused_initializers, replace_nodes
from parity.precision.names import all_nodes, remedy_of_nothing_left, tensor_names, unused_name
from parity.precision.scope import Scope, open_scope
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

QUANTIZED_OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True, slots=True)
class QuantFormat:
    """A quantized format: its ONNX type, the magnitude that full scale maps to, and the opset that has it."""

    elem_type: int
    dtype: np.dtype
    largest: float
    opset: int


FORMATS = {
    Precision.INT8: QuantFormat(TensorProto.INT8, np.dtype(np.int8), 127.0, 13),
    Precision.FP8: QuantFormat(TensorProto.FLOAT8E4M3FN, np.dtype(ml_dtypes.float8_e4m3fn), 448.0, 19),
}


@dataclass(frozen=True, slots=True)
class Quantized:
    """What quantizing did: nodes whose products are quantized, activations and weights with a Q/DQ pair, notes."""

    node_count: int
    tensor_count: int
    notes: tuple[str, ...]


def activations_to_quantize(model: ModelProto, kept: AbstractSet[str]) -> tuple[str, ...]:
    """Return the names of the activations that Q/DQ pairs will be put on, in the order of the graph."""
    scope = open_scope(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    found = (
        name
        for node in _quantized_nodes(scope, kept)
        for name in _product_inputs(node)
        if name not in constants and scope.is_float(name)
    )
    return tuple(dict.fromkeys(found))


def has_products(model: ModelProto) -> bool:
    """Whether a model has anything that Q/DQ pairs would be put around."""
    return any(True for _ in _quantized_nodes(open_scope(model), frozenset()))


def _quantized_nodes(scope: Scope, kept: AbstractSet[str]) -> Iterator[NodeProto]:
    for node in scope.graph.node:
        if node.op_type in QUANTIZED_OPERATORS and node.name not in kept and scope.is_float(node.output[0]):
            yield node


def _product_inputs(node: NodeProto) -> list[str]:
    return list(node.input[:2])


def quantize(model: ModelProto, ranges: Mapping[str, float], form: QuantFormat, kept: AbstractSet[str]) -> Quantized:
    """Put Q/DQ pairs into a float32 model, in place.

    Parameters
    ----------
    ranges
        The largest magnitude of every activation that ``activations_to_quantize`` named.

    Raises
    ------
    PrecisionError
        No convolution or matrix product is left to quantize.
    """
    nodes = list(_quantized_nodes(open_scope(model), kept))
    if not nodes:
        raise PrecisionError(
            "no node would be quantized; expected at least one float32 Conv, ConvTranspose, Gemm or MatMul outside of "
            f"subgraphs that is not kept: {remedy_of_nothing_left(kept)}"
        )
    quantizer = _Quantizer(model, ranges, form)
    names = {node.name for node in nodes}
    rewritten: list[NodeProto] = []
    for node in list(model.graph.node):
        if node.name in names:
            rewritten.extend(quantizer.quantize_inputs(node))
        rewritten.append(node)
    replace_nodes(model.graph, rewritten)
    del model.graph.value_info[:]
    drop_unused_initializers(model.graph)
    notes = (*quantizer.notes, *_note_on_subgraphs(model, names, kept))
    return Quantized(len(nodes), len(quantizer.done), notes)


def _note_on_subgraphs(model: ModelProto, quantized: AbstractSet[str], kept: AbstractSet[str]) -> list[str]:
    inner = [
        node.name
        for node in all_nodes(model.graph)
        if node.op_type in QUANTIZED_OPERATORS and node.name not in quantized and node.name not in kept
    ]
    return [f"{len(inner)} products inside of subgraphs, or not in float32, are not quantized"] if inner else []


def _tell_kernel_shape(node: NodeProto, weight: TensorProto) -> None:
    # TensorRT's parser takes it from the weight where the attribute is missing, and a dequantized one does not tell it.
    is_convolution = node.op_type in {"Conv", "ConvTranspose"} and len(weight.dims) > 2
    if is_convolution and not any(attribute.name == "kernel_shape" for attribute in node.attribute):
        node.attribute.append(helper.make_attribute("kernel_shape", weight.dims[2:]))


class _Quantizer:
    """One pass over a model: ranges, format, and the tensors that have their pair already."""

    def __init__(self, model: ModelProto, ranges: Mapping[str, float], form: QuantFormat) -> None:
        self.graph = model.graph
        self.ranges = ranges
        self.form = form
        self.taken = tensor_names(model.graph)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.done: dict[tuple[str, int], str] = {}
        self.notes: list[str] = []

    def quantize_inputs(self, node: NodeProto) -> list[NodeProto]:
        """Make a product read dequantized tensors; return the new nodes to stand before it."""
        made: list[NodeProto] = []
        for position, name in enumerate(_product_inputs(node)):
            constant = self.constants.get(name)
            axis = _channel_axis(node, position, constant) if constant is not None else -1
            if constant is not None:
                _tell_kernel_shape(node, constant)
            if (name, axis) not in self.done and (constant is not None or name in self.ranges):
                nodes = self._weight(constant, axis) if constant is not None else self._activation(name)
                self.done[name, axis] = nodes[-1].output[0]
                made.extend(nodes)
            node.input[position] = self.done.get((name, axis), name)
        return made

    def _activation(self, name: str) -> list[NodeProto]:
        scale, zero = self._add_scale(name, np.asarray(self._step(name, self.ranges[name]), np.float32))
        quantized = unused_name(f"{name}_quantized", self.taken)
        dequantized = unused_name(f"{name}_dequantized", self.taken)
        return [
            helper.make_node("QuantizeLinear", [name, scale, zero], [quantized], name=f"{quantized}/q"),
            helper.make_node("DequantizeLinear", [quantized, scale, zero], [dequantized], name=f"{dequantized}/dq"),
        ]

    def _weight(self, tensor: TensorProto, axis: int) -> list[NodeProto]:
        values = numpy_helper.to_array(tensor).astype(np.float64)
        lost = int(np.count_nonzero(~np.isfinite(values)))
        if lost:
            raise PrecisionError(
                f"weights {tensor.name!r}: {lost} of {values.size} are NaN or infinite: they have no scale; "
                "export the model from sound weights"
            )
        rest = tuple(i for i in range(values.ndim) if i != axis)
        largest = np.max(np.abs(values), axis=rest)
        steps = np.where(largest > 0, largest, 1.0) / self.form.largest
        shape = [1] * values.ndim
        shape[axis] = -1
        scaled = values / steps.reshape(shape)
        stored = (np.rint(scaled) if self.form.elem_type == TensorProto.INT8 else scaled).astype(self.form.dtype)
        name = unused_name(f"{tensor.name}_quantized", self.taken)
        self.graph.initializer.append(
            helper.make_tensor(name, self.form.elem_type, values.shape, stored.tobytes(), raw=True)
        )
        scale, zero = self._add_scale(tensor.name, steps.astype(np.float32))
        output = unused_name(f"{tensor.name}_dequantized", self.taken)
        return [helper.make_node("DequantizeLinear", [name, scale, zero], [output], name=f"{output}/dq", axis=axis)]

    def _step(self, name: str, largest: float) -> float:
        if largest == 0.0:
            self.notes.append(f"{name}: is all zero on the calibration inputs; its scale is arbitrary")
            return 1.0 / self.form.largest
        return largest / self.form.largest

    def _add_scale(self, name: str, steps: np.ndarray) -> tuple[str, str]:
        scale = unused_name(f"{name}_scale", self.taken)
        zero = unused_name(f"{name}_zero_point", self.taken)
        zeros = np.zeros(steps.shape, self.form.dtype)
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(steps), scale))
        self.graph.initializer.append(
            helper.make_tensor(zero, self.form.elem_type, steps.shape, zeros.tobytes(), raw=True)
        )
        return scale, zero


def _channel_axis(node: NodeProto, position: int, constant: TensorProto) -> int:
    """Return the axis of a constant operand that runs over output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    transposed = {a.name: a.i for a in node.attribute}.get("transA" if position == 0 else "transB", 0)
    last = len(constant.dims) - 1
    if node.op_type == "Gemm":
        return last - 1 if bool(transposed) == (position == 1) else last
    return last if position == 1 else max(last - 1, 0)
