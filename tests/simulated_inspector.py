"""What a simulated engine's inspector says: one layer for each node, in the schema of TensorRT 8.6 or of 11."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

    from tests.simulated_engine import Binding, Plan

_LAYER_TYPES = {
    "Conv": "CaskConvolution",
    "ConvTranspose": "CaskDeconvolutionV2",
    "MatMul": "MatrixMultiply",
    "Gemm": "MatrixMultiply",
}
_FORMATS = {
    "fp32": ("Row major linear FP32", "float"),
    "tf32": ("Row major linear FP32", "float"),
    "fp16": ("Channel major FP16 format where channel % 8 == 0", "half"),
    "bf16": ("Row major linear BF16", "bfloat16"),
    "int8": ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
    "fp8": ("Row major linear FP8", "fp8"),
}
_MATH = {"fp32": "f32f32_f32f32_f32", "tf32": "tf32f32_tf32f32_f32", "fp16": "f16f16_f16f16_f16", "int8": "i8i8_i8i32"}


def inspector_text(plan: Plan, bindings: list[Binding], major: int) -> str:
    """Return the inspector's JSON; 8.6 separates the nodes of a fusion by raw control characters."""
    layers = [_layer(node, _precision_of(node, plan), major) for node in plan.model.graph.node]
    if major < 11:
        head: dict[str, Any] = {"Layers": layers, "Bindings": [binding.name for binding in bindings]}
        return json.dumps(head)
    return json.dumps({"Layers": layers, "I/O Tensors": [_io_tensor(binding) for binding in bindings]})


def _precision_of(node: onnx.NodeProto, plan: Plan) -> str:
    if plan.is_silent_fp32:
        return "fp32"
    return plan.keep_precision if node.name in plan.keep else plan.precision


def _layer(node: onnx.NodeProto, precision: str, major: int) -> dict[str, Any]:
    kind = _LAYER_TYPES.get(node.op_type, "NoOp" if node.op_type in {"Identity", "Cast"} else "PointWiseV2")
    is_product = node.op_type in _LAYER_TYPES
    return {
        "Name": node.name,
        "LayerType": kind,
        "Inputs": [_tensor(name, precision, major) for name in list(node.input)[:1]],
        "Outputs": [_tensor(name, precision, major) for name in node.output],
        "ParameterType": "Convolution" if node.op_type == "Conv" else kind,
        "TacticName": f"sm90_xmma_fprop_{_MATH.get(precision, precision)}_nhwckrsc_nhwc" if is_product else "",
        "TacticValue": "0x0000000000000001",
        "StreamId": 0,
        "Metadata": f"[ONNX Layer: {node.name}]",
    }


def _tensor(name: str, precision: str, major: int) -> dict[str, Any]:
    text, datatype = _FORMATS[precision]
    tensor: dict[str, Any] = {"Name": name, "Location": "Device", "Dimensions": []}
    return tensor | ({"Format/Datatype": text} if major < 11 else {"Format": "Row major linear", "Datatype": datatype})


def _io_tensor(binding: Binding) -> dict[str, Any]:
    return {
        "Name": binding.name,
        "IOMode": "Input" if binding.mode == "input" else "Output",
        "DataType": binding.dtype,
        "Dimensions": binding.shape,
        "Location": "Device",
        "IsShapeInferenceIO": False,
        "ProfileInfo": [
            {"MinShape": p["min"], "OptShape": p["opt"], "MaxShape": p["max"], "Format": "Row major linear"}
            for p in binding.profiles
        ],
    }
