"""Write shapes_yolo's detector with half weights, half arithmetic, and half inputs and outputs.

That is what an exporter gives whose model and example were made half before it traced them: every float tensor is half,
except where the operator takes float32 alone (the scales of Resize), and there is no cast.

``python cases/shapes_yolo_half/convert.py`` writes ``model.onnx`` into the case's folder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

CASE = Path(__file__).resolve().parent
SOURCE = CASE.parent / "shapes_yolo" / "model.onnx"


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn the float32 tensors of a model without casts and subgraphs into half ones, in place, and return it.

    Raises
    ------
    ValueError
        The model has a cast, or a weight that no half number can hold.
    """
    graph = model.graph
    scales = {node.input[2] for node in graph.node if node.op_type == "Resize"}
    for node in graph.node:
        if node.op_type == "Cast":
            raise ValueError(f"{node.name}: is a cast; a model is expected that has none")
        if node.op_type == "Constant" and node.output[0] not in scales:
            for attribute in node.attribute:
                _halve(attribute.t)
    for tensor in graph.initializer:
        if tensor.name not in scales:
            _halve(tensor)
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return model


def _halve(tensor: onnx.TensorProto) -> None:
    if tensor.data_type != TensorProto.FLOAT:
        return
    with np.errstate(over="ignore"):
        values = numpy_helper.to_array(tensor).astype(np.float16)
    if not np.isfinite(values).all():
        raise ValueError(f"{tensor.name}: holds numbers beyond 65504, the largest half")
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def main() -> None:
    """Convert and write."""
    model = halved(onnx.load(SOURCE))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, CASE / "model.onnx")


if __name__ == "__main__":
    main()
