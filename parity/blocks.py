"""Two tensors of one shape, read side by side in blocks of float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import EllipsisType

    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Doubles = npt.NDArray[np.float64]

Region = tuple[slice, ...]
"""One slice for each leading axis; axes without one are whole."""

BLOCK_SIZE = 1 << 18
"""Elements of a block: large enough that NumPy's fixed cost of a call vanishes, small enough for a core's cache."""

_EXACT_IN_FLOAT64 = 4  # bytes: every integer of this width, signed or not, has its own float64


@dataclass(frozen=True, slots=True)
class View:
    """A region of a tensor, and the way from a place in it to an index of the whole tensor."""

    array: Array
    shape: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]

    def index(self, box: Region, local: int) -> tuple[int, ...]:
        """Return the whole tensor's index of an element, given by its flat place within a box of ``array``."""
        within = np.unravel_index(local, tuple(part.stop - part.start for part in box))
        place = tuple(part.start + int(i) for part, i in zip(box, within, strict=True))
        if len(place) != len(self.shape) or self.array.shape != self.shape:
            place = tuple(int(i) for i in np.unravel_index(place[0], self.shape))
        return tuple(start + step * i for (start, step), i in zip(self.offsets, place, strict=True))


@dataclass(frozen=True, slots=True)
class Pair:
    """The same region of two tensors of one shape; ``is_wide`` says that float64 cannot hold all their integers."""

    actual: View
    expected: View
    is_wide: bool


def pair(actual: Array, expected: Array, region: Region, *, same_dtype: bool) -> Pair:
    """Return the same region of two tensors.

    Raises
    ------
    StructureError
        The shapes differ (nothing is broadcast), the dtypes differ although ``same_dtype`` asks for one, or have
        no common exact type, or the region holds nothing.
    """
    actual, expected = _plain(actual, "actual"), _plain(expected, "expected")
    if actual.shape != expected.shape:
        raise StructureError(
            f"shapes differ: actual {actual.shape}, expected {expected.shape}; nothing is broadcast, give one shape"
        )
    _check_dtypes(actual.dtype, expected.dtype, same_dtype=same_dtype)
    flat = not region and actual.flags.c_contiguous and expected.flags.c_contiguous
    is_wide = actual.dtype.kind in "iu" and max(actual.itemsize, expected.itemsize) > _EXACT_IN_FLOAT64
    return Pair(_select(actual, region, flat=flat), _select(expected, region, flat=flat), is_wide)


def single(array: Array, region: Region) -> View:
    """Return a region of one tensor.

    Raises
    ------
    StructureError
        The dtype holds no plain numbers, or the region holds nothing.
    """
    array = _plain(array, "the tensor")
    return _select(array, region, flat=not region and array.flags.c_contiguous)


def boxes(shape: tuple[int, ...], limit: int = BLOCK_SIZE) -> Iterator[Region]:
    """Cut a shape into boxes of at most ``limit`` elements, in C order."""
    row = math.prod(shape[1:])
    step = max(1, limit // row)
    # Equal steps: cutting 65537 rows into 65536 and 1 would double the number of calls.
    step = -(-shape[0] // -(-shape[0] // step))
    for start in range(0, shape[0], step):
        head = slice(start, min(start + step, shape[0]))
        if row <= limit:
            yield (head, *(slice(0, length) for length in shape[1:]))
        else:
            yield from ((head, *rest) for rest in boxes(shape[1:], limit))


def read(view: View, box: Region, buffer: Doubles) -> Doubles:
    """Copy a box into the front of a buffer as float64, in C order; returns that part of the buffer (1-D)."""
    source = view.array[box]
    target = buffer[: source.size]
    np.copyto(target.reshape(source.shape), source, casting="unsafe")
    return target


def read_wide_difference(tensors: Pair, box: Region, buffer: Doubles) -> Doubles:
    """Write ``actual - expected`` of 64-bit integers into a buffer, rounded once: 2**53 and 2**53 + 1 differ."""
    dtype = np.result_type(tensors.actual.array, tensors.expected.array)
    actual = tensors.actual.array[box].astype(dtype).reshape(-1)
    expected = tensors.expected.array[box].astype(dtype).reshape(-1)
    # Modulo 2**64 the distance of any two 64-bit integers is exact.
    larger, smaller = np.maximum(actual, expected), np.minimum(actual, expected)
    target = buffer[: actual.size]
    np.copyto(target, larger.astype(np.uint64) - smaller.astype(np.uint64), casting="unsafe")
    np.negative(target, out=target, where=actual < expected)
    return target


def _plain(array: Array, side: str) -> Array:
    if isinstance(array, np.ma.MaskedArray):
        raise StructureError(f"{side} is a masked array; the mask would be lost, give plain arrays")
    if not _is_number(array.dtype):
        raise StructureError(f"{side} holds {array.dtype}; expected booleans, integers or floats of at most 64 bits")
    if not array.size:
        raise StructureError(f"{side} is empty (shape {array.shape}); nothing would be compared")
    return np.asarray(array)


def _is_number(dtype: np.dtype[Any]) -> bool:
    # bfloat16, the float8 and the 4-bit types are ml_dtypes'; NumPy calls some of them void.
    return dtype.type.__module__ == "ml_dtypes" or (dtype.kind in "biuf" and dtype.itemsize <= np.dtype(float).itemsize)


def _check_dtypes(actual: np.dtype[Any], expected: np.dtype[Any], *, same_dtype: bool) -> None:
    if same_dtype and actual != expected:
        raise StructureError(f"dtypes differ: actual {actual}, expected {expected}; allow it by same_dtype=False")
    if kind_of(actual) != kind_of(expected) or {actual, expected} == {np.dtype(np.int64), np.dtype(np.uint64)}:
        raise StructureError(f"actual {actual} and expected {expected} have no common exact type; convert one of them")


def kind_of(dtype: np.dtype[Any]) -> str:
    """Return ``bool``, ``integer`` or ``float``."""
    if dtype.kind in "biu":
        return "bool" if dtype.kind == "b" else "integer"
    return "integer" if dtype.name.startswith(("int", "uint")) else "float"


def _select(array: Array, region: Region, *, flat: bool) -> View:
    if len(region) > array.ndim:
        raise StructureError(f"the region has {len(region)} axes, the tensor {array.ndim} (shape {array.shape})")
    whole = tuple(slice(None) for _ in range(array.ndim - len(region)))
    steps = [part.indices(length) for part, length in zip((*region, *whole), array.shape, strict=True)]
    # The ellipsis keeps a tensor without axes an array.
    index: tuple[slice | EllipsisType, ...] = (*region, *whole, ...)
    view = array[index]
    if not view.size:
        raise StructureError(f"the region {region} of shape {array.shape} holds no element; nothing would be compared")
    shape = view.shape
    return View(
        view.reshape(-1) if flat or not shape else view, shape, tuple((start, step) for start, _, step in steps)
    )
