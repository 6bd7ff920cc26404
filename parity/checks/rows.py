"""Batches of rows for the ``invariants`` check: feeds are cut, repeated and turned along axis 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.backends import Tensors
    from parity.graph import TensorInfo


def batch_size(tensors: Tensors) -> int | None:
    """Return the size of axis 0 that all tensors share; None where they have none in common."""
    sizes = {array.shape[0] if array.ndim else None for array in tensors.values()}
    return sizes.pop() if len(sizes) == 1 else None


def no_rows(feed: Tensors, outputs: Tensors) -> str:
    """Return why nothing can be said of rows, or an empty text: every input and output must have one batch axis 0."""
    size = batch_size(feed)
    if size is None:
        return f"the inputs have no batch axis in common ({_shapes(feed)})"
    if batch_size(outputs) != size:
        return f"the outputs have no batch axis of {size} as the inputs have ({_shapes(outputs)})"
    return ""


def has_dynamic_rows(inputs: Sequence[TensorInfo]) -> bool:
    """Whether axis 0 of every input takes more than one size."""
    return all(info.shape and not isinstance(info.shape[0], int) for info in inputs)


def take(tensors: Tensors, rows: Sequence[int]) -> dict[str, np.ndarray]:
    """Return the named rows of every tensor, in that order."""
    return {name: np.ascontiguousarray(array[list(rows)]) for name, array in tensors.items()}


def resized(feed: Tensors, shapes: Mapping[str, Sequence[int]]) -> tuple[dict[str, np.ndarray], list[int] | None]:
    """Return a feed in other shapes, and which rows of ``feed`` it holds.

    Where axis 0 alone changes, rows are repeated in order, and their numbers are returned. Otherwise values are
    repeated along every axis, and there is no row to compare with: None.

    Parameters
    ----------
    shapes
        The shapes wanted, by input; inputs that are not named keep theirs.
    """
    wanted = {name: tuple(shapes.get(name, array.shape)) for name, array in feed.items()}
    sizes = {shape[0] if shape else None for shape in wanted.values()}
    keeps_rows = all(wanted[name][1:] == array.shape[1:] and array.ndim for name, array in feed.items())
    if keeps_rows and len(sizes) == 1 and batch_size(feed):
        rows = [i % int(batch_size(feed) or 1) for i in range(int(sizes.pop() or 0))]
        return take(feed, rows), rows
    return {name: np.resize(array, wanted[name]) for name, array in feed.items()}, None


def _shapes(tensors: Tensors) -> str:
    return ", ".join(f"{name} {array.shape}" for name, array in tensors.items())
