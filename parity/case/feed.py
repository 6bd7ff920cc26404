"""A feed: the named input tensors of one batch, checked against the model and hashed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.errors import FeedError
from parity.preprocess.geometry import Geometry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parity.graph import ModelInterface, TensorInfo


@dataclass(frozen=True, slots=True)
class Feed:
    """The input tensors of one batch.

    Attributes
    ----------
    name
        A file name's stem: the ``.npz`` file's, else ``feed0000`` and so on.
    tensors
        Every input of the model by name, batch axis included.
    geometry
        Of images, one for each row; else None.
    sha256
        Over names, dtypes, shapes and values.
    sources
        Of images, the file's name or the image's number, one for each row.
    """

    name: str
    tensors: Mapping[str, np.ndarray]
    geometry: tuple[Geometry, ...] | None
    sha256: str
    sources: tuple[str, ...] = ()


def make_feed(name: str, tensors: Mapping[str, np.ndarray], interface: ModelInterface, where: str) -> Feed:
    """Return a feed of tensors that are the model's inputs.

    Raises
    ------
    FeedError
        They are not the model's inputs. ``where`` stands before the message.
    """
    check_tensors(tensors, interface, where)
    return Feed(name, tensors, None, hash_tensors(tensors))


def check_tensors(tensors: Mapping[str, np.ndarray], interface: ModelInterface, where: str) -> None:
    """Check that tensors are the model's inputs: names, dtypes, ranks and fixed dimensions.

    Raises
    ------
    FeedError
        They are not; every difference is in the message, found and expected. ``where`` stands before it.
    """
    expected = {info.name: info for info in interface.inputs}
    problems = [f"input {name!r} is missing; expected {info}" for name, info in expected.items() if name not in tensors]
    problems += [
        f"{name!r} is no input of the model; expected {', '.join(expected)}" for name in tensors if name not in expected
    ]
    problems += [
        f"input {name!r}: found {tensor.dtype} {tensor.shape}, expected {expected[name]}"
        for name, tensor in tensors.items()
        if name in expected and not _fits(tensor, expected[name])
    ]
    problems += [
        f"input {name!r} holds Python objects; expected numbers or truth values"
        for name, tensor in tensors.items()
        if tensor.dtype.hasobject
    ]
    if problems:
        raise FeedError(f"{where}: {'; '.join(problems)}")


def hash_tensors(tensors: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of tensors by name; the order of the names does not matter."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}\0{tensor.dtype}\0{tensor.shape}\0".encode())
        # A view, not tobytes(): hashing needs no second copy of the batch.
        digest.update(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def tensor_geometry(tensors: Mapping[str, np.ndarray], interface: ModelInterface) -> tuple[Geometry, ...]:
    """Return geometry for a feed that was made of no images: tensor pixels stand for image pixels.

    Returns
    -------
    One identity for each row, of the size of the largest input with four axes (NCHW or NHWC; the fewer are the
    channels); of 1 x 1 pixels, in which normalized boxes stay as they are, where there is none.
    """
    given = [tensors[info.name] for info in interface.inputs]
    images = [tensor for tensor in given if tensor.ndim == 4]
    if not images:
        rows = next((len(tensor) for tensor in given if tensor.ndim), 1)
        return (Geometry(1, 1),) * rows
    shape: tuple[int, ...] = max(images, key=lambda tensor: tensor.size).shape
    rows, first, second, third = shape
    height, width = (second, third) if first <= third else (first, second)
    return (Geometry(height, width),) * rows


def _fits(tensor: np.ndarray, info: TensorInfo) -> bool:
    if info.dtype not in {"unknown", str(tensor.dtype)}:
        return False
    # An interface has () for a scalar and for a model that leaves the shape open alike: the runtime judges those.
    if not info.shape:
        return True
    if tensor.ndim != len(info.shape):
        return False
    return all(size == dim for size, dim in zip(tensor.shape, info.shape, strict=True) if isinstance(dim, int))
