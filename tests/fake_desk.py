"""A worker's handlers with a shop of toy engines behind them, on the stand-ins of TensorRT and CUDA."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.worker import cuda, engine, run
from parity.worker.exchange import Exchange
from parity.worker.heard import listener
from parity.worker.pagelock import PageLocks
from parity.worker.tensor import Stack, Tensor
from parity.worker.transport import MappedTransport
from tests.fake_cuda import ExecutingGpu
from tests.fake_engine import Shop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pytest

    from tests.toy_engines import Arrays, Toy


class ToyState:
    """What the dispatcher hands to every handler, as far as engines need it."""

    def __init__(self, folder: Path) -> None:
        self.exchange = Exchange(MappedTransport([str(folder)]))
        self.page_locks = PageLocks()
        self.engines: dict[int, object] = {}
        self.lines: list[tuple[str, str]] = []

    def log(self, severity: str, text: str) -> None:
        self.lines.append((severity, text))

    def add_engine(self, engine: object) -> int:
        self.engines[len(self.lines) + len(self.engines) + 7] = engine
        return max(self.engines)


class Desk:
    """A worker's handlers with a shop behind them, each request one call."""

    def __init__(self, gpu: ExecutingGpu, release: str, folder: Path) -> None:
        self.gpu = gpu
        self.shop = Shop(gpu, release)
        self.state = ToyState(folder)
        self.folder = folder

    def load(self, toy: Toy, **fields: Any) -> dict[str, Any]:
        """Write a plan for a toy and load it."""
        plan = f"plan {len(self.shop.toys)}".encode()
        self.shop.toys[plan] = toy
        return self.load_bytes(plan, **fields)

    def load_bytes(self, plan: bytes, **fields: Any) -> dict[str, Any]:
        """Load a file of these bytes."""
        path = self.folder / "model.plan"
        path.write_bytes(plan)
        return engine.load(self.state, {"plan": str(path), "offset": 0, "options": {}, **fields})

    def infer(self, handle: int, feed: Arrays, **fields: Any) -> dict[str, Any]:
        """Infer, and give outputs as arrays of one's own."""
        request = {"engine": handle, "tensors": tensors(feed), "profile": 0, **fields}
        answer = run.infer(self.state, request)
        return {**answer, "tensors": {name: tensor.array.copy() for name, tensor in answer["tensors"].items()}}

    def infer_many(self, handle: int, feeds: Sequence[Arrays], **fields: Any) -> list[dict[str, np.ndarray]]:
        """Infer feeds that lie in mapped memory, stacked; give each one's outputs as arrays of one's own."""
        stacked = {}
        for name, first in feeds[0].items():
            stacked[name] = self.state.exchange.allocate((len(feeds), *first.shape), first.dtype.name)
            stacked[name].array[...] = np.stack([feed[name] for feed in feeds])
        answer = run.infer_many(self.state, {"engine": handle, "feeds": stacked, "profile": 0, **fields})
        assert len(answer["gpu_ms"]) == len(feeds)
        return [
            {name: _row(outputs, row).copy() for name, outputs in answer["tensors"].items()}
            for row in range(len(feeds))
        ]


def _row(outputs: Stack | list[Tensor], row: int) -> np.ndarray:
    return outputs.array[row, ...] if isinstance(outputs, Stack) else outputs[row].array


@contextmanager
def open_desk(release: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Give a worker with a stand-in of a TensorRT release and a GPU."""
    gpu = ExecutingGpu()
    gpu.install(monkeypatch)
    desk = Desk(gpu, release, folder)
    monkeypatch.setitem(sys.modules, "tensorrt", desk.shop.trt)
    listener.cache_clear()
    yield desk
    cuda.release()
    listener.cache_clear()


def tensors(feed: Arrays) -> dict[str, Tensor]:
    """Wrap arrays whose dtypes NumPy has."""
    return {name: Tensor(array, array.dtype.name) for name, array in feed.items()}
