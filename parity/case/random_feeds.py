"""Seeded random tensors for a model's inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from parity.case.model import RandomTensor
from parity.errors import FeedError

if TYPE_CHECKING:
    from parity.case.model import RandomSource
    from parity.graph import ModelInterface, TensorInfo

# Floats around 0; uint8 as images; other integers 0 and 1, which every vocabulary and every mask has.
_DEFAULT_FLOAT = RandomTensor()
_DEFAULT_UINT8 = RandomTensor(0, 255)
_DEFAULT_INTEGER = RandomTensor(0, 1)


def draw_feed(source: RandomSource, interface: ModelInterface, batch_size: int, index: int) -> dict[str, np.ndarray]:
    """Draw feed number ``index``: it depends on the seed and the index, not on how many are drawn.

    Raises
    ------
    FeedError
        A dynamic axis has no size, a dtype cannot be drawn, or memory does not suffice.
    """
    generator = np.random.Generator(np.random.PCG64([source.seed, index]))
    try:
        return {info.name: _draw(generator, source, info, batch_size) for info in interface.inputs}
    except MemoryError as error:
        shapes = "; ".join(map(str, interface.inputs))
        raise FeedError(
            f"inputs {shapes}: do not fit into memory ({error}); choose a smaller batch or shape"
        ) from error


def _draw(generator: np.random.Generator, source: RandomSource, info: TensorInfo, batch_size: int) -> np.ndarray:
    shape = tuple(_size(source, info, axis, batch_size) for axis in range(len(info.shape)))
    try:
        dtype = _dtype(info.dtype)
    except (TypeError, AttributeError) as error:
        raise FeedError(f"input {info}: cannot be drawn at random; give it by npz or python inputs") from error
    if dtype == np.bool_:
        return generator.integers(0, 2, shape).astype(dtype)
    settings = source.tensors.get(info.name)
    if dtype.kind in "iu":
        bounds = settings or (_DEFAULT_UINT8 if dtype == np.uint8 else _DEFAULT_INTEGER)
        return generator.integers(int(bounds.low), int(bounds.high), shape, dtype, endpoint=True)
    bounds = settings or _DEFAULT_FLOAT
    return generator.uniform(bounds.low, bounds.high, shape).astype(dtype)


def _dtype(name: str) -> np.dtype[np.generic]:
    if name in {"bfloat16", "float8_e4m3fn", "float8_e5m2"}:
        import ml_dtypes

        extension: np.dtype[np.generic] = np.dtype(getattr(ml_dtypes, name))
        return extension
    dtype: np.dtype[np.generic] = np.dtype(name)
    if dtype.kind not in "biuf":
        raise TypeError(name)
    return dtype


def _size(source: RandomSource, info: TensorInfo, axis: int, batch_size: int) -> int:
    dim = info.shape[axis]
    if isinstance(dim, int):
        return dim
    profile = source.profiles.get(info.name)
    if axis == 0 and (profile is None or profile.min[0] != profile.max[0]):
        return batch_size
    if profile is None:
        raise FeedError(
            f"input {info}: axis {axis} is dynamic and has no size; give [shapes.{info.name}] with min, opt and max"
        )
    return profile.opt[axis]
