"""Decoded results kept until they are asked for again: small ones as they are, large ones on disk or compressed."""

from __future__ import annotations

import zlib
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from parity.decoded import Detections

if TYPE_CHECKING:
    from collections.abc import Callable

    from parity.decoded import Decoded
    from parity.runner.store import TensorStore

_MEMORY_BYTES = 2**16
"""Up to this size an image's result stays in memory: boxes do, masks and label maps do not."""
_FAST = 1


def set_aside(result: Decoded, store: TensorStore) -> Callable[[], Decoded]:
    """Return what gives a result again: from memory where it is small, else from disk.

    Raises
    ------
    RunError
        There is no space on disk.
    """
    arrays = _arrays(result)
    if sum(array.nbytes for array in arrays.values()) <= _MEMORY_BYTES:
        return lambda: result
    kind, flaws, stored = type(result), result.flaws, store.put(arrays)
    # Mapped anew each time: a file stays open for as long as its mapping lives.
    return lambda: kind(**stored, flaws=flaws)


def packed(result: Decoded, score_threshold: float) -> Callable[[], Decoded]:
    """Return what gives again as much of a result as a picture shows, held compressed.

    Parameters
    ----------
    score_threshold
        Detections below it are left out.
    """
    shown = result.take(result.scores >= score_threshold) if isinstance(result, Detections) else result
    kind, flaws = type(shown), shown.flaws
    held = {
        name: (zlib.compress(array.tobytes(), _FAST), array.dtype, array.shape)
        for name, array in _arrays(shown).items()
    }

    def unpack() -> Decoded:
        arrays = {
            name: np.frombuffer(zlib.decompress(data), dtype).reshape(shape)
            for name, (data, dtype, shape) in held.items()
        }
        return kind(**arrays, flaws=flaws)

    return unpack


def _arrays(result: Decoded) -> dict[str, np.ndarray]:
    values = {field.name: getattr(result, field.name) for field in fields(result)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
