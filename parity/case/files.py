"""Tensors in ``.npz`` files: read without pickles, written whole or not at all."""

from __future__ import annotations

import os
import tokenize
import zipfile
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.lib.npyio import NpzFile

from parity.errors import FeedError, RunError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


# What reading raises: the archive's own, encrypted and unknown members (RuntimeError), and NumPy's reader of headers.
_DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, MemoryError, OverflowError, RuntimeError),
    *(SyntaxError, TypeError, zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """Read every array of an ``.npz`` file by name.

    Raises
    ------
    FeedError
        The file is missing, damaged, no ``.npz``, empty, or holds pickled objects.
    """
    try:
        # Opened here: NumPy leaves a file open that turns out to be damaged.
        with path.open("rb") as stream, _open_archive(path, stream) as archive:
            tensors: dict[str, Any] = {name: archive[name] for name in archive.files}
    except _DAMAGE as error:
        raise FeedError(f"{path}: cannot be read as .npz ({_reason(error)}); expected plain arrays by name") from error
    if not tensors:
        raise FeedError(f"{path}: holds no array; expected one for every input")
    bare = [name for name, tensor in tensors.items() if not isinstance(tensor, np.ndarray)]
    if bare:
        raise FeedError(f"{path}: {bare[0]!r} is not an array; expected arrays written by numpy.savez")
    return tensors


def _open_archive(path: Path, stream: BinaryIO) -> NpzFile:
    content = np.load(stream, allow_pickle=False)
    if not isinstance(content, NpzFile):
        raise FeedError(f"{path}: holds one bare array; expected an .npz of arrays by input name (numpy.savez)")
    return content


def _reason(error: BaseException) -> str:
    # NumPy offers allow_pickle for a header that is too long as well.
    if "max_header_size" not in str(error) and ("allow_pickle" in str(error) or "pickled" in str(error)):
        return "it holds pickled objects, which are not loaded because they can run code"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def write_npz(path: Path, tensors: Mapping[str, np.ndarray], *, is_small: bool = True) -> None:
    """Write arrays by name, so that the file is whole or not there; equal arrays give equal bytes.

    ``is_small`` compresses, at some 100 MB/s.

    Not ``numpy.savez``: its own parameters (``file``) are names that a model's input may have.

    Raises
    ------
    RunError
        The file cannot be written: no space, no permission.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    method = zipfile.ZIP_DEFLATED if is_small else zipfile.ZIP_STORED
    try:
        with zipfile.ZipFile(temporary, "w", method, compresslevel=1) as archive:
            for name, tensor in tensors.items():
                entry = zipfile.ZipInfo(f"{name}.npy")
                entry.compress_type = method
                with archive.open(entry, "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, np.asanyarray(tensor), allow_pickle=False)
        temporary.replace(path)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror or error}); free space or choose --out") from error
    finally:
        # After a failure or Ctrl-C the half-written file is still there; after success it is not.
        with suppress(OSError):
            temporary.unlink()
