"""Raising a model's opset where a precision's operators need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from parity.errors import PrecisionError
from parity.precision.scope import opset_imports

if TYPE_CHECKING:
    from onnx import ModelProto

# The first IR version whose checker takes the opset.
_IR_VERSION = {9: 4, 13: 7, 19: 9, 22: 10}


def raise_opset(model: ModelProto, opset: int) -> ModelProto:
    """Return a model of at least an opset of the default domain: the model itself where it is new enough.

    Raises
    ------
    PrecisionError
        The ONNX version converter cannot bring the model there.
    """
    found = opset_imports(model).get("", 1)
    if found >= opset:
        return model
    try:
        raised = onnx.version_converter.convert_version(model, opset)
    except (RuntimeError, ValueError, onnx.version_converter.ConvertError) as error:
        raise PrecisionError(
            f"the model has opset {found} and the precision needs {opset}, to which it does not convert "
            f"({str(error).strip().splitlines()[0]}); export it with opset {opset}"
        ) from error
    raised.ir_version = max(raised.ir_version, _IR_VERSION[opset])
    return raised
