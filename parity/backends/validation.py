"""Checks a feed against a model's inputs before a runtime sees it, so that every backend says the same sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.errors import FeedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from parity.graph import TensorInfo


def check_feed(inputs: Sequence[TensorInfo], feed: Mapping[str, np.ndarray]) -> None:
    """Check a feed's names, dtypes, ranks and fixed dimensions; a symbol must have one size in the whole feed.

    Raises
    ------
    FeedError
        The first thing that does not fit, with what the model expects.
    """
    _check_names(inputs, feed)
    sizes: dict[str, tuple[int, str]] = {}
    for info in inputs:
        array = feed[info.name]
        if info.dtype not in {"unknown", array.dtype.name}:
            raise FeedError(f"input {info.name!r}: is {array.dtype.name}; the model expects {info}")
        if not info.shape:
            # A scalar, or a model that leaves the shape open: the runtime tells them apart.
            continue
        if array.ndim != len(info.shape):
            raise FeedError(f"input {info.name!r}: has shape {array.shape}; the model expects {info}")
        _check_dims(info, array.shape, sizes)


def _check_names(inputs: Sequence[TensorInfo], feed: Mapping[str, np.ndarray]) -> None:
    expected = [info.name for info in inputs]
    missing = [name for name in expected if name not in feed]
    unknown = [name for name in feed if name not in expected]
    if missing or unknown:
        found = ", ".join(feed) or "nothing"
        raise FeedError(f"feed: has the inputs {found}; the model expects {', '.join(expected)}")


def _check_dims(info: TensorInfo, shape: tuple[int, ...], sizes: dict[str, tuple[int, str]]) -> None:
    for axis, (size, dim) in enumerate(zip(shape, info.shape, strict=True)):
        if isinstance(dim, int) and size != dim:
            raise FeedError(f"input {info.name!r}: has shape {shape}, {size} on axis {axis}; the model expects {info}")
        if isinstance(dim, str):
            other, where = sizes.setdefault(dim, (size, info.name))
            if size != other:
                raise FeedError(
                    f"input {info.name!r}: has {size} on axis {axis}, but {where!r} has {other} for the same "
                    f"dimension {dim!r}; the model expects one size for both"
                )
