"""Implicit INT8 calibration: batches that TensorRT asks for while it builds, and its cache file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from . import cuda
from .atomic import write_atomically
from .errors import FeedRefused, PrecisionMissing, WorkerError

if TYPE_CHECKING:
    from .tensor import Tensor

_CLASSES = {"entropy": "IInt8EntropyCalibrator2", "minmax": "IInt8MinMaxCalibrator"}


class Batches:
    """What a calibrator answers, apart from TensorRT: batches in device memory, and the cache.

    A callback must not raise into TensorRT: what fails is kept, the batches end, and ``check`` raises it after the
    build.

    Attributes
    ----------
    served
        Number of batches that were given.
    has_read_cache
        Whether a cache was given instead.
    """

    def __init__(self, feeds: Sequence[Mapping[str, np.ndarray]], cache_path: str | None) -> None:
        self._feeds = feeds
        self._cache_path = cache_path
        self._memory: dict[str, Any] = {}
        self._failure: Exception | None = None
        self.served = 0
        self.has_read_cache = False

    @property
    def size(self) -> int:
        """Rows of a batch: the first axis of the first input; 1 for one without axes."""
        first = next(iter(self._feeds[0].values()))
        return int(first.shape[0]) if first.ndim else 1

    def next(self, names: Sequence[str]) -> list[int] | None:
        """Return the device addresses of the next batch, in the order of ``names``; None at the end."""
        if self._failure is not None or self.served == len(self._feeds):
            return None
        try:
            addresses = self._upload(names, self._feeds[self.served])
        except Exception as error:  # noqa: BLE001 - it would cross TensorRT's frames; ``check`` raises it
            self._failure = error
            return None
        self.served += 1
        return addresses

    def _upload(self, names: Sequence[str], feed: Mapping[str, np.ndarray]) -> list[int]:
        from pycuda import driver

        absent = sorted(set(names) - set(feed))
        if absent:
            raise FeedRefused(f"calibration: the feeds lack {', '.join(absent)}; they have {', '.join(feed)}")
        with cuda.mapped_errors("the buffers of calibration"):
            for name in names:
                if name not in self._memory:
                    self._memory[name] = driver.mem_alloc(max(feed[name].nbytes, 1))
                driver.memcpy_htod(self._memory[name], np.ascontiguousarray(feed[name]))
        return [int(self._memory[name]) for name in names]

    def read_cache(self) -> bytes | None:
        """Return the cache's content; None where there is no such file."""
        if self._cache_path is None:
            return None
        try:
            content = Path(self._cache_path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._failure = WorkerError(f"the calibration cache {self._cache_path} cannot be read: {error.strerror}")
            return None
        self.has_read_cache = True
        return content

    def write_cache(self, content: Any) -> None:
        """Write the cache, whole or not at all."""
        if self._cache_path is None:
            return
        try:
            write_atomically(self._cache_path, content)
        except WorkerError as error:
            self._failure = error

    def check(self) -> None:
        """Raise what failed in a callback.

        Raises
        ------
        FeedRefused, WorkerError, CudaLost
            A feed lacks an input; the cache or the device failed.
        """
        if self._failure is not None:
            raise self._failure

    def release(self) -> None:
        """Free the device memory."""
        from pycuda import driver

        # A lost context frees nothing, and has been told already.
        with suppress(driver.Error):
            for allocation in self._memory.values():
                allocation.free()
        self._memory.clear()


def make_calibrator(trt: Any, kind: str, batches: Batches) -> Any:
    """Return a ``trt.IInt8Calibrator``.

    Parameters
    ----------
    kind
        ``entropy`` or ``minmax``.

    Raises
    ------
    PrecisionMissing
        This TensorRT has no calibrators.
    """
    base: Any = getattr(trt, _CLASSES[kind], None)
    if base is None:
        raise PrecisionMissing(
            f"TensorRT {trt.__version__} has no calibrators: quantize the model with Q/DQ pairs, or take TensorRT 8.6 "
            "to 10.16"
        )

    class Calibrator(base):  # type: ignore[misc]  # the class of whichever TensorRT is given
        def __init__(self) -> None:
            base.__init__(self)

        def get_batch_size(self) -> int:
            return batches.size

        def get_batch(self, names: list[str]) -> list[int] | None:
            return batches.next(names)

        def read_calibration_cache(self) -> bytes | None:
            return batches.read_cache()

        def write_calibration_cache(self, cache: Any) -> None:
            batches.write_cache(cache)

    return Calibrator()


def calibration_feeds(trt: Any, network: Any, feeds: Sequence[Mapping[str, Tensor]]) -> list[dict[str, np.ndarray]]:
    """Return feeds as a network's inputs take them.

    Raises
    ------
    FeedRefused
        There are none, they differ in shape, lack an input, or have a dtype that the network does not take.
    """
    if not feeds:
        raise FeedRefused("calibration: there are no feeds; name images or arrays in [calibration]")
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    taken = [{tensor.name: _taken(trt, tensor, feed) for tensor in inputs} for feed in feeds]
    for number, feed in enumerate(taken):
        for name, array in feed.items():
            if array.shape != taken[0][name].shape:
                raise FeedRefused(
                    f"calibration: {name} has shape {taken[0][name].shape} in the first feed and {array.shape} in feed "
                    f"{number + 1}; TensorRT calibrates at one shape"
                )
    return taken


def _taken(trt: Any, tensor: Any, feed: Mapping[str, Tensor]) -> np.ndarray:
    if tensor.name not in feed:
        raise FeedRefused(f"calibration: the feeds lack {tensor.name}; they have {', '.join(sorted(feed))}")
    given = feed[tensor.name]
    wanted = _dtype_name(trt, tensor.dtype)
    if given.dtype == wanted:
        return given.array
    # 8.6 has no 64-bit integers and narrows those of a model.
    limits = np.iinfo(np.int32)
    if (given.dtype, wanted) == ("int64", "int32") and np.all(
        (given.array >= limits.min) & (given.array <= limits.max)
    ):
        return given.array.astype(np.int32)
    raise FeedRefused(f"calibration: {tensor.name} is {given.dtype}, and the network takes {wanted}")


def _dtype_name(trt: Any, dtype: Any) -> str:
    if hasattr(trt.DataType, "BF16") and dtype == trt.DataType.BF16:
        return "bfloat16"
    return str(np.dtype(trt.nptype(dtype)).name)
