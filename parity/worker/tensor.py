"""An array with the name of its dtype, because NumPy has no bfloat16 and no float8."""

from __future__ import annotations

from typing import Any


class Tensor:
    """An array and its dtype's name.

    Attributes
    ----------
    array
        Raw ``uint16`` for ``bfloat16``, raw ``uint8`` for ``float8_e4m3fn``; else of the named dtype.
    dtype
        NumPy's name, or ml_dtypes'.
    """

    def __init__(self, array: Any, dtype: str) -> None:
        self.array = array
        self.dtype = dtype
