"""Toy engines behind the worker's own operations in a live process: travels there as ``parity_worker.stand_in``.

TensorRT and CUDA are the stand-ins of ``tests``; a plan is the name of a toy. Feeds tell a toy what goes wrong.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from tests.fake_cuda import ExecutingGpu
from tests.fake_engine import Shop
from tests.toy_engines import Port, Toy

from . import handlers

CRASHES, HANGS, FAILS, LOSES = -1.0, -2.0, -3.0, -4.0
"""First elements of feeds that end the process, never answer, fail alone, and lose the context."""


class _Modules:
    """What the stand-ins want of pytest's ``monkeypatch``."""

    setitem = staticmethod(dict.__setitem__)
    setattr = staticmethod(setattr)


gpu = ExecutingGpu()
driver = gpu.install(_Modules())
shop = Shop(gpu)
sys.modules["tensorrt"] = shop.trt


def _twice(feed):
    first = float(feed["x"].flat[0])
    if first == CRASHES:
        os.kill(os.getpid(), signal.SIGSEGV)
    if first == HANGS:
        time.sleep(60)
    if first in (FAILS, LOSES):
        raise driver.Error("an illegal memory access was encountered" if first == LOSES else "launch out of resources")
    time.sleep(0.001)
    return {"y": feed["x"] * 2}


def _found(feed):
    return {"y": feed["x"][feed["x"] > 0]}


_ROWS = [((1, 4), (2, 4), (4, 4)), ((5, 4), (6, 4), (8, 4))]
for _name in (b"twice", b"twice too"):
    shop.toys[_name] = Toy(
        [Port("x", (-1, 4), profiles=_ROWS), Port("y", (-1, 4), "OUTPUT")],
        _twice,
        lambda shapes, _: {"y": shapes["x"]},
        profile_count=2,
    )
shop.toys[b"found"] = Toy([Port("x", (2, 4)), Port("y", (-1,), "OUTPUT")], _found, lambda *_: {"y": (-1,)})


def hello(state, request):
    return {}


def counted(state, request):
    """Return how often an operation was asked, how often an engine ran, and how many segments are registered."""
    runs = sum(toy.runs for toy in shop.toys.values())
    return {"asked": dict(ASKED), "runs": runs, "locks": len(state.page_locks), "copies": len(gpu.page_locked)}


ASKED: dict = {}


def _counting(name, handler):
    def handle(state, request):
        ASKED[name] = ASKED.get(name, 0) + 1
        return handler(state, request)

    return handle


HANDLERS = {
    **{name: _counting(name, handler) for name, handler in handlers.HANDLERS.items()},
    "hello": hello,
    "counted": counted,
}
