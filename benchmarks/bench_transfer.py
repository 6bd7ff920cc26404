"""How fast an inference's outputs come from the worker's process to arrays of the caller's own.

Usage: ``python benchmarks/bench_transfer.py`` moves 1 GiB through mapped files and 128 MiB through the channel, tells
what a small request costs, and exits with 1 below the target; ``--smoke`` moves little, where rates say nothing, and
always exits with 0. The floor is NumPy's copy of the same bytes to a new array, in the same run. ``--through`` times
the channel to another interpreter as well, such as ``ssh=HOST//python=PATH``, which needs NumPy there.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from parity.backends.tensorrt.interpreter import parse_interpreter
from parity.backends.tensorrt.process import LiveConversation

if TYPE_CHECKING:
    from collections.abc import Callable

FULL_SIZE, SMOKE_SIZE = 2**30, 2**20
CHANNEL_SHARE = 8
TARGET_GBS = 1.5
LIMIT_S = 300.0

# "keep" answers with an array of the worker's own, as one that was copied from the GPU before; "place" fills memory
# that the answer takes along.
OPERATIONS = b"""
from __future__ import annotations

import numpy as np

from .tensor import Tensor


def keep(state, request):
    size = request["size"]
    if size not in state.engines:
        state.engines[size] = np.ones(size, np.uint8)
    return {"output": Tensor.plain(state.engines[size])}


def place(state, request):
    output = state.exchange.allocate((request["size"],), "uint8")
    output.array.fill(1)
    return {"output": output}


HANDLERS = {"keep": keep, "place": place}
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """The best time of a transfer, and of NumPy's copy of as many bytes, in seconds."""

    name: str
    size: int
    transfer_s: float
    copy_s: float

    @property
    def gb_per_s(self) -> float:
        """In 1e9 bytes."""
        return self.size / self.transfer_s / 1e9

    def __str__(self) -> str:
        ratio = self.transfer_s / self.copy_s
        return f"{self.name:26} {self.size / 2**20:6.0f} MiB  {self.gb_per_s:6.2f} GB/s  {ratio:6.2f} x a copy's time"


def best_of(repeats: int, contestants: list[Callable[[], object]]) -> list[float]:
    """Return each contestant's shortest time in seconds; they take turns, after a turn that only touches memory."""
    best = [float("inf")] * len(contestants)
    for turn in range(repeats + 1):
        for i, contestant in enumerate(contestants):
            start = time.perf_counter()
            contestant()
            if turn:
                best[i] = min(best[i], time.perf_counter() - start)
    return best


def receive(conversation: LiveConversation, operation: str, size: int) -> None:
    """Ask for an output, and look at it."""
    output = conversation.ask(operation, {"size": size}, LIMIT_S)["output"]
    if output.size != size or not output[-1]:
        raise AssertionError(f"{operation}: the output did not arrive")


def time_transfers(size: int, repeats: int, way: str, *, mapped: bool, where: str = sys.executable) -> list[Rate]:
    """Time both operations and the copy."""
    source = np.ones(size, np.uint8)
    conversation = make_conversation(mapped=mapped, where=where)
    contestants: list[Callable[[], object]] = [partial(receive, conversation, name, size) for name in ("keep", "place")]
    *transfers, copy = best_of(repeats, [*contestants, source.copy])
    conversation.close()
    names = (way, f"{way}, placed")
    return [Rate(name, size, transfer, copy) for name, transfer in zip(names, transfers, strict=True)]


def time_small_request(count: int, *, mapped: bool) -> float:
    """Return the mean of many requests with an answer of 1 kB, in seconds."""
    conversation = make_conversation(mapped=mapped)
    receive(conversation, "keep", 1000)
    start = time.perf_counter()
    for _ in range(count):
        receive(conversation, "keep", 1000)
    took = time.perf_counter() - start
    conversation.close()
    return took / count


def make_conversation(*, mapped: bool, where: str = sys.executable) -> LiveConversation:
    """Return a conversation with the operations above."""
    interpreter = parse_interpreter(where)
    sources = {"bench.py": OPERATIONS}
    return LiveConversation(interpreter, handlers="parity_worker.bench", extra_sources=sources, mapped=mapped)


def main() -> int:
    """Print a line a transfer; return 1 where a full run misses the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="small arrays, always exit code 0")
    parser.add_argument("--through", metavar="SPEC", help="another interpreter, as --tensorrt-python takes it")
    words = parser.parse_args()
    smoke: bool = words.smoke
    size, repeats, count = (SMOKE_SIZE, 1, 20) if smoke else (FULL_SIZE, 5, 500)
    share = size // CHANNEL_SHARE
    local = time_transfers(size, repeats, "mapped files", mapped=True)
    for rate in (*local, *time_transfers(share, repeats, "channel", mapped=False)):
        print(rate)
    if words.through:
        for rate in time_transfers(share, repeats, "channel through", mapped=False, where=words.through):
            print(rate)
    for mapped in (True, False):
        took = time_small_request(count, mapped=mapped)
        print(f"a small request, {'mapped files' if mapped else 'channel'}: {took * 1e3:.2f} ms")
    print(f"target: {TARGET_GBS} GB/s through mapped files")
    return 0 if smoke or min(rate.gb_per_s for rate in local) >= TARGET_GBS else 1


if __name__ == "__main__":
    sys.exit(main())
