"""Which elements of an output were never written: they keep whatever their buffer was filled with."""

from __future__ import annotations

import numpy as np

PATTERNS: tuple[int, int] = (0xA5, 0xFF)
"""The bytes that buffers are filled with, one a run. The second is NaN in every float type, and is what stays."""


def keeps_pattern(array: np.ndarray, pattern: int) -> np.ndarray:
    """Tell for each element whether every byte of it equals the pattern.

    Parameters
    ----------
    array
        Row-major; any shape.
    pattern
        0 to 255.

    Returns
    -------
    bool, the array's shape.
    """
    word = int.from_bytes(bytes([pattern]) * array.itemsize, "little")
    flat = array.reshape(-1).view(f"u{array.itemsize}")
    return np.asarray(flat == flat.dtype.type(word)).reshape(array.shape)


def count_unwritten(kept_first: np.ndarray, second: np.ndarray) -> int:
    """Count elements that kept the first pattern in one run and the second in the next.

    A written element cannot: the same computation would have to give two values.

    Parameters
    ----------
    kept_first
        What ``keeps_pattern`` said of the first run.
    second
        The array of the second run, of the same shape.
    """
    return int(np.count_nonzero(kept_first & keeps_pattern(second, PATTERNS[1])))
