"""What the reference says of inputs that are handed over wrongly."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from parity.backends import get_backend
from parity.errors import BackendError
from parity.options import SessionOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onnx import ModelProto

    Tensors = Mapping[str, np.ndarray]


def altered_feeds(model: ModelProto, feed: Tensors) -> Iterator[tuple[str, Tensors]]:
    """Yield ways to hand a feed over wrongly, each with the reference's outputs of it.

    One that ONNX Runtime refuses is left out.
    """
    with get_backend("onnxruntime").open(model, SessionOptions()) as session:
        for what, altered in _mistakes(feed):
            try:
                outputs = session.run(altered)
            except BackendError:
                # A token beyond the vocabulary, say: no engine would have answered either.
                continue
            yield what, outputs


def _mistakes(feed: Tensors) -> Iterator[tuple[str, Tensors]]:
    for name, array in feed.items():
        if array.dtype == np.float32:
            for what, changed in _of_one(array):
                yield f"{name} {what}", {**feed, name: changed}
    for first, second in combinations(feed, 2):
        if (feed[first].shape, feed[first].dtype) == (feed[second].shape, feed[second].dtype):
            yield f"{first} and {second} exchanged", {**feed, first: feed[second], second: feed[first]}


def _of_one(array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    yield "not divided by 255", array * np.float32(255)
    yield "divided by 255 once more", array / np.float32(255)
    if array.ndim == 4:
        count, first, second, third = array.shape
        axis = 1 if first <= third else 3
        yield "with its channels reversed (BGR for RGB)", np.ascontiguousarray(np.flip(array, axis))
        last = np.ascontiguousarray(array.transpose(0, 2, 3, 1))
        yield "with its channels last in memory (NHWC for NCHW, or not contiguous)", last.reshape(array.shape)
        early = array.reshape(count, second, third, first).transpose(0, 3, 1, 2)
        yield "with its channels first in memory (NCHW for NHWC)", np.ascontiguousarray(early)
    yield "as float32 where half is read", _read_as_half(array)


def _read_as_half(array: np.ndarray) -> np.ndarray:
    # An engine with half inputs reads the first half of a float32 buffer, two numbers for each one.
    halves = np.ascontiguousarray(array).reshape(-1).view(np.float16)[: array.size]
    return halves.astype(np.float32).reshape(array.shape)
