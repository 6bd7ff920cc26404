"""Feeds as an engine wants them: its names, its dtypes, nothing cast that could lose a digit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable, Mapping

import numpy as np

from .dtypes import storage
from .errors import FeedRefused

if TYPE_CHECKING:
    from .bindings import Binding
    from .tensor import Tensor


def fit_feed(tensors: Mapping[str, Tensor], bindings: Iterable[Binding]) -> dict[str, np.ndarray]:
    """Give row-major arrays in the engine's dtypes, by input.

    An integer is cast to another integer type where every value fits: TensorRT 8.6 has no INT64 and takes INT32 where
    the model says int64. No other dtype is cast.

    Raises
    ------
    FeedRefused
        A name is missing or unknown, a dtype is another, or an integer does not fit.
    """
    inputs = {binding.name: binding for binding in bindings if binding.is_input}
    _check_names(tensors, inputs)
    return {name: _fit(tensors[name], binding) for name, binding in inputs.items()}


def _check_names(tensors: Mapping[str, Tensor], inputs: Mapping[str, Binding]) -> None:
    missing, unknown = sorted(set(inputs) - set(tensors)), sorted(set(tensors) - set(inputs))
    found = [f"misses {', '.join(missing)}"] * bool(missing)
    found += [f"has {', '.join(unknown)}, which the engine does not take"] * bool(unknown)
    if found:
        raise FeedRefused(f"the feed {' and '.join(found)}; the engine's inputs are {', '.join(inputs) or 'none'}")


def _fit(tensor: Tensor, binding: Binding) -> np.ndarray:
    array = np.asarray(tensor.array, order="C")
    if tensor.dtype == binding.dtype:
        return array.view(storage(binding.dtype))
    return _narrow(array, tensor.dtype, binding)


def _narrow(array: np.ndarray, dtype: str, binding: Binding) -> np.ndarray:
    wanted = storage(binding.dtype)
    # By name, for raw arrays of bfloat16 and float8 are integers to NumPy.
    if not (_is_integer(dtype) and _is_integer(binding.dtype)):
        raise FeedRefused(f"{binding.name} is {dtype}, the engine takes {binding.dtype}; cast it in the feed")
    bounds = np.iinfo(wanted)
    if array.size and not (bounds.min <= int(array.min()) and int(array.max()) <= bounds.max):
        raise FeedRefused(
            f"{binding.name} holds values from {array.min()} to {array.max()}; the engine takes {binding.dtype}, "
            f"{bounds.min} to {bounds.max}: feed smaller numbers, or use a TensorRT that has {dtype}"
        )
    return array.astype(wanted)


def _is_integer(dtype: str) -> bool:
    return dtype.startswith(("int", "uint"))
