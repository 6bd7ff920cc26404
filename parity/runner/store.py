"""Tensors set aside in a temporary folder and mapped back, so that memory does not grow with the number of feeds."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from parity.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType


class StoredTensors(Mapping[str, np.ndarray]):
    """Named tensors on disk; each access maps one into memory, read-only."""

    def __init__(self, files: Mapping[str, tuple[Path, np.dtype]]) -> None:
        self._files = dict(files)

    def __getitem__(self, name: str) -> np.ndarray:
        path, dtype = self._files[name]
        mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        # NumPy's format has no name for bfloat16 and float8 and gives plain bytes back.
        return mapped.view(dtype) if mapped.dtype != dtype else mapped

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


class TensorStore:
    """A temporary folder of tensors, gone when it is closed."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="parity-")
        self._count = 0

    def put(self, tensors: Mapping[str, np.ndarray]) -> StoredTensors:
        """Write tensors and return them as they lie on disk.

        Raises
        ------
        RunError
            No space in the temporary folder.
        """
        return StoredTensors({name: (self._write(array), array.dtype) for name, array in tensors.items()})

    def _write(self, array: np.ndarray) -> Path:
        # Numbers for names: a tensor's name may hold slashes.
        path = Path(self._folder.name) / f"{self._count}.npy"
        self._count += 1
        try:
            np.save(path, array, allow_pickle=False)
        except OSError as error:
            reason = error.strerror or error
            raise RunError(
                f"{path}: cannot be written ({reason}); free space, set TMPDIR to a larger disk, or use --limit"
            ) from error
        return path

    def __enter__(self) -> TensorStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()
