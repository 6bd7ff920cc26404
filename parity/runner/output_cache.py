"""Outputs of ONNX Runtime kept between runs: a reference and a rounded graph answer equal feeds equally."""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import ml_dtypes  # noqa: F401 - teaches numpy.dtype() the names bfloat16 and float8_*
import numpy as np

from parity.case.files import load_npz, write_npz
from parity.environment import describe_environment
from parity.errors import FeedError, RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from parity.backends import Session
    from parity.options import SessionOptions

_NOTE_KEY = "__parity__"
"""The array that holds the note: JSON as bytes. No ONNX output is called so."""

_LIMIT_BYTES = 8 * 2**30

_LOG = logging.getLogger(__name__)


class OutputCache:
    """The outputs of one model under one runtime, by the hash of the feed.

    The key holds all that can change a figure: the model with its external data, the options, ONNX Runtime's version
    and the processor, whose instruction set chooses the kernels. A damaged or foreign file is a miss.

    Parameters
    ----------
    folder
        Where outputs are kept; nowhere if None.
    model_sha256
        The model's hash, by ``hash_model``.
    """

    def __init__(self, folder: Path | None, model_sha256: str, options: SessionOptions) -> None:
        self._folder = folder / "outputs" if folder is not None else None
        self._executed = "" if folder is None else _executed(model_sha256, options)
        self._has_grown = False

    def read(self, feed_sha256: str) -> dict[str, np.ndarray] | None:
        """Return the outputs for a feed, or None where they are not kept."""
        if self._folder is None:
            return None
        key = self._key(feed_sha256)
        path = self._folder / f"{key}.npz"
        try:
            # The archive holds a checksum of every array, and reading compares it.
            tensors = load_npz(path)
            note = json.loads(tensors.pop(_NOTE_KEY).tobytes())
            if note["key"] != key:
                return None
            outputs = {name: tensor.view(np.dtype(note["dtypes"][name])) for name, tensor in tensors.items()}
        except (FeedError, KeyError, ValueError, TypeError):
            return None
        # A cache that can only be read still serves; it merely does not know what was used last.
        with suppress(OSError):
            path.touch()
        return outputs

    def write(self, feed_sha256: str, outputs: Mapping[str, np.ndarray]) -> None:
        """Keep the outputs for a feed; a cache that cannot be written costs time, not the run."""
        if self._folder is None:
            return
        key = self._key(feed_sha256)
        note = {"key": key, "dtypes": {name: tensor.dtype.name for name, tensor in outputs.items()}}
        noted = {**outputs, _NOTE_KEY: np.frombuffer(json.dumps(note).encode(), np.uint8)}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_npz(self._folder / f"{key}.npz", noted, is_small=False)
            self._has_grown = True
        except (OSError, RunError) as error:
            _LOG.info("outputs are not kept: %s", error)

    def make_room(self, limit_bytes: int = _LIMIT_BYTES) -> None:
        """Remove what was not read for longest, down to the limit, if anything was written."""
        if self._folder is None or not self._has_grown:
            return
        try:
            drop_oldest(self._folder, "*.npz", limit_bytes)
        except OSError as error:
            _LOG.info("kept outputs are not thinned out: %s", error)

    def _key(self, feed_sha256: str) -> str:
        return hashlib.sha256(f"{self._executed}\n{feed_sha256}".encode()).hexdigest()


class CachedSession:
    """A session that is opened when a feed's outputs are not kept yet, and not before."""

    def __init__(self, cache: OutputCache, open_session: Callable[[], Session]) -> None:
        self._cache = cache
        self._open = open_session
        self._stack = ExitStack()
        self._session: Session | None = None

    def run(self, feed_sha256: str, inputs: Callable[[Session], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Return the outputs for a feed.

        Parameters
        ----------
        inputs
            Makes the feed as the session wants it; called where it has to be run.

        Raises
        ------
        ModelError, FeedError, BackendError
            As ``Backend.open`` and ``Session.run``.
        """
        outputs = self._cache.read(feed_sha256)
        if outputs is None:
            if self._session is None:
                self._session = self._stack.enter_context(self._open())
            outputs = self._session.run(inputs(self._session))
            self._cache.write(feed_sha256, outputs)
        return outputs

    def __enter__(self) -> CachedSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cache.make_room()
        self._stack.close()


def _executed(model_sha256: str, options: SessionOptions) -> str:
    environment = describe_environment()
    packages = sorted(item for item in environment["packages"].items() if item[0].startswith(("onnxruntime", "ort-")))
    return json.dumps([model_sha256, repr(options), packages, environment["processor"], environment["platform"]])


def drop_oldest(folder: Path, pattern: str, limit_bytes: int) -> None:
    """Remove the files of a folder that were not touched for longest, down to a limit.

    Raises
    ------
    OSError
        A file cannot be removed.
    """
    files = sorted(((path.stat(), path) for path in folder.glob(pattern)), key=lambda file: file[0].st_mtime)
    excess = sum(stat.st_size for stat, _ in files) - limit_bytes
    for stat, path in files:
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= stat.st_size
