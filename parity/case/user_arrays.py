"""Arrays that user code gives: converted, and held against the shapes that are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["number", "whole", "truth"]

_KINDS: dict[Kind, tuple[str, type[np.generic], str]] = {
    "number": ("fiu", np.float64, "numbers"),
    "whole": ("iu", np.int64, "whole numbers"),
    "truth": ("b", np.bool_, "truth values"),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """What an array must be: equal names in ``dims`` stand for equal sizes, across all arrays of one result."""

    dims: tuple[int | str, ...]
    kind: Kind = "number"
    optional: bool = False

    def __str__(self) -> str:
        dims = ", ".join(map(str, self.dims)) + ("," if len(self.dims) == 1 else "")
        return f"{_KINDS[self.kind][2]} ({dims})"


def convert(found: Mapping[str, object], layouts: Mapping[str, Layout]) -> dict[str, np.ndarray | None]:
    """Return arrays by name with the dtypes of their kinds, None for optional ones that are not there.

    Raises
    ------
    ValueError
        One is missing, holds something else, or has another shape; found and expected are in the message.
    """
    sizes: dict[str, int] = {}
    converted: dict[str, np.ndarray | None] = {}
    for name, layout in layouts.items():
        value = found.get(name)
        if value is None and not layout.optional:
            raise ValueError(f"{name!r} is missing; expected {layout}")
        converted[name] = None if value is None else _converted(name, value, layout, sizes)
    return converted


def _converted(name: str, value: object, layout: Layout, sizes: dict[str, int]) -> np.ndarray:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{name!r} is no array ({error}); expected {layout}") from error
    letters, dtype, _ = _KINDS[layout.kind]
    # An empty list is float64 and (0,) to NumPy, whatever it would have held.
    if array.shape == (0,) and isinstance(layout.dims[0], str):
        array = np.zeros([0, *(_size(dim, sizes) for dim in layout.dims[1:])], dtype)
    if array.dtype.kind not in letters or not _fits(array.shape, layout.dims, sizes):
        known = f" with {', '.join(f'{dim} = {size}' for dim, size in sizes.items())}" if sizes else ""
        raise ValueError(f"{name!r}: found {array.dtype} {array.shape}, expected {layout}{known}")
    return array.astype(dtype)


def _size(dim: int | str, sizes: Mapping[str, int]) -> int:
    return dim if isinstance(dim, int) else sizes.get(dim, 0)


def _fits(shape: tuple[int, ...], dims: tuple[int | str, ...], sizes: dict[str, int]) -> bool:
    if len(shape) != len(dims):
        return False
    return all(
        size == (dim if isinstance(dim, int) else sizes.setdefault(dim, size))
        for size, dim in zip(shape, dims, strict=True)
    )
