"""Operations for tests of the conversation; travels to the worker as ``parity_worker.toys``."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from . import errors

_KINDS = {
    kind.kind: kind
    for kind in (
        errors.WorkerError,
        errors.ModelRefused,
        errors.PrecisionMissing,
        errors.FeedRefused,
        errors.Unavailable,
        errors.CudaLost,
    )
}


def echo(state, request):
    return request


def allocated(state, request):
    """Return a copy of each tensor, made in the answer's own memory."""
    copies = {}
    for name, tensor in request["tensors"].items():
        copies[name] = state.exchange.allocate(tensor.array.shape, tensor.dtype)
        copies[name].array[...] = tensor.array
    return {"tensors": copies}


def make(state, request):
    """Return ones, in an array of the worker's own that is kept, as buffers of an engine are."""
    import numpy as np

    from .tensor import Tensor

    if request["size"] not in state.engines:
        state.engines[request["size"]] = np.ones(request["size"], np.uint8)
    return {"ones": Tensor.plain(state.engines[request["size"]])}


def sleep(state, request):
    time.sleep(request["s"])
    return {}


def spin(state, request):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pass


def crash(state, request):
    os.kill(os.getpid(), getattr(signal, request["signal"]))
    return {}


def leave(state, request):
    os._exit(request["code"])


def fail(state, request):
    raise _KINDS[request["kind"]](request["text"])


def stumble(state, request):
    raise KeyError("an unknown key")


def exit_politely(state, request):
    sys.exit("enough")


def answer_object(state, request):
    return {"inner": [object()]}


def say(state, request):
    state.log(request["severity"], f"{request['text']} \udc80")
    return {}


def advance(state, request):
    for done in request["shares"]:
        state.tell_share(done)
    return {}


def print_lines(state, request):
    for i in range(request["count"]):
        sys.stdout.write(f"printed {i}\n")
    sys.stdout.flush()
    os.system("echo from another process")
    os.write(2, b"an error line\n")
    return {}


def facts(state, request):
    return {
        "pid": os.getpid(),
        "session": os.getsid(0),
        "version": list(sys.version_info[:2]),
        "path": sys.path,
        "parity": "parity" in sys.modules,
        "folder": state.folder,
        "open": sorted(path.name for path in Path("/dev/fd").iterdir()),
        "engine": state.add_engine(object()),
    }


def write_file(state, request):
    text = Path(request["source"]).read_text(encoding="utf-8") if request["source"] else ""
    if request["target"]:
        known = Path(request["target"])
        known.write_text((known.read_text(encoding="utf-8") if known.exists() else "") + text, encoding="utf-8")
    return {"seen": text, "source": request["source"], "neighbours": _neighbours(request["source"])}


def _neighbours(path):
    return sorted(item.name for item in Path(path).parent.iterdir()) if path else []


HANDLERS = {
    function.__name__: function
    for function in (
        *(echo, allocated, make, sleep, spin, crash, leave, fail, stumble, exit_politely, answer_object),
        *(say, advance, print_lines, facts, write_file),
    )
}
