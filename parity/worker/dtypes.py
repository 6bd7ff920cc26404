"""TensorRT's data types by the names of NumPy and ml_dtypes.

Never through ``trt.nptype``: it raises on bfloat16, float8 and the four-bit types in every release.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import WorkerError

_NAMES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
    "FP8": "float8_e4m3fn",
    "E8M0": "float8_e8m0fnu",
    "INT4": "int4",
    "FP4": "float4_e2m1fn",
}
_RAW = {"bfloat16": "uint16", "float8_e4m3fn": "uint8", "float8_e8m0fnu": "uint8"}
_PACKED = frozenset({"int4", "float4_e2m1fn"})


def name_of(dtype: Any) -> str:
    """Name a ``trt.DataType``.

    Raises
    ------
    WorkerError
        A later TensorRT has a type that is not known here.
    """
    member = str(dtype.name)
    if member not in _NAMES:
        raise WorkerError(f"TensorRT's data type {member} is not known here; known are {', '.join(sorted(_NAMES))}")
    return _NAMES[member]


def storage(name: str) -> np.dtype[Any]:
    """Give the NumPy dtype that carries tensors of a name, raw where NumPy has no such dtype.

    Raises
    ------
    WorkerError
        Two elements share a byte, so that no array can carry them one by one.
    """
    if name in _PACKED:
        raise WorkerError(
            f"tensors of {name} pack two elements into a byte and cannot be fed or read; build the engine with int8 or "
            "a float type at its inputs and outputs"
        )
    return np.dtype(_RAW.get(name, name))
