"""Arrays as Polygraphy writes them into JSON: NumPy's ``.npy`` in base64. Nothing in them is executed."""

from __future__ import annotations

import base64
import io
from math import prod
from tokenize import TokenError
from typing import Any

import numpy as np

MARKER = "polygraphy_class"
"""The key that names the class which an object stands for."""

_LAZY = frozenset({"LazyArray", "LazyNumpyArray"})
_PLAIN_KINDS = frozenset("biufcV")
_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def encode_array(array: np.ndarray) -> dict[str, str]:
    """Return an array as Polygraphy encodes ``numpy.ndarray``; bfloat16 and float8 become float32, exactly.

    ``.npy`` has no name for these, and readers would meet raw bytes.
    """
    content = io.BytesIO()
    np.lib.format.write_array(content, widened(array), allow_pickle=False)
    return {"array": base64.b64encode(content.getvalue()).decode("ascii"), MARKER: "ndarray"}


def widened(array: np.ndarray) -> np.ndarray:
    """Return an array in float32 where its dtype is one that NumPy itself does not have (bfloat16, float8)."""
    return np.asanyarray(array).astype(np.float32) if array.dtype.kind == "V" else np.asanyarray(array)


def decode_array(value: Any) -> np.ndarray:
    """Return the array that an object stands for.

    Returns
    -------
    Read-only; raw bytes (dtype kind V) where its maker had a dtype that NumPy cannot name.

    Raises
    ------
    ValueError
        It stands for something else, or is damaged: what is wrong is in the message.
    """
    if class_of(value) in _LAZY:
        value = value.get("values")
    kind = class_of(value)
    if kind == "Tensor":
        raise ValueError("is a PyTorch tensor, which PyTorch stores as a pickle; save it as a NumPy array")
    text = value.get("array") if kind == "ndarray" else None
    if not isinstance(text, str):
        raise ValueError(f"is {kind or type(value).__name__}; expected an array as Polygraphy writes numpy.ndarray")
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"is not base64 ({error}); load and save the file with a recent Polygraphy") from error
    return _parse_npy(content)


def class_of(value: Any) -> str:
    """Return the class that a JSON value stands for; empty where it names none."""
    found = value.get(MARKER) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _parse_npy(content: bytes) -> np.ndarray:
    """Return the array of an ``.npy`` file; its header is believed only where as many bytes follow as it says."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        if version not in _READ_HEADER:
            raise ValueError(f"version {version}")
        shape, is_fortran, dtype = _READ_HEADER[version](stream)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, TokenError) as error:
        raise ValueError(f"is not an .npy ({error}); expected what numpy.save writes") from error
    if dtype.hasobject:
        raise ValueError("holds pickled objects, which are not loaded because they can run code")
    if dtype.kind not in _PLAIN_KINDS or dtype.names is not None or not dtype.itemsize:
        raise ValueError(f"has dtype {dtype}; expected numbers or truth values")
    data = memoryview(content)[stream.tell() :]
    if any(size < 0 for size in shape) or prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"says {dtype} {shape} and has {len(data)} bytes; the file is damaged")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")
