"""A model as a file that TensorRT's parser reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import EncodeError

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto


def write_model(model: ModelProto, folder: Path) -> Path:
    """Write a model for the parser; above the 2 GiB of a protobuf message with its weights beside it."""
    path = folder / "model.onnx"
    try:
        path.write_bytes(model.SerializeToString())
    except (EncodeError, ValueError):
        # Which of the two depends on protobuf's release. Saving with external data rewrites the model it is given.
        separate = onnx.ModelProto()
        separate.CopyFrom(model)
        onnx.save_model(separate, path, save_as_external_data=True, location="weights.bin")
    return path
