"""The worker's loop: one request at a time, in the main thread, because a CUDA context belongs to a thread.

Messages to the harness are tuples: ``("ready", facts)`` once, ``("log", severity, text)`` and ``("share", done)`` at
any time, and for each request ``("answer", message)`` or ``("failure", kind, text, traceback)``.
"""

from __future__ import annotations

import faulthandler
import os
import shutil
import sys
import traceback
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from .errors import WorkerError

if TYPE_CHECKING:
    from typing import Any, Callable, NoReturn, Sequence

    from .exchange import Exchange
    from .handlers import Handler
    from .state import State

_GONE = object()
# Past the harness's own limit: a process that holds the interpreter's lock sees neither its end nor its signals.
_GRACE_S = 10.0


def serve(channel: Any, handlers: str, folder: str, shared: Sequence[str]) -> None:
    """Answer requests until the harness closes its end.

    Parameters
    ----------
    channel
        execnet's.
    handlers
        The module that has ``HANDLERS``.
    folder
        The worker's own; it and the ``shared`` ones are removed when the harness goes.
    shared
        Folders for mapped files; the channel carries arrays if there are none, or none of them is seen from here.
    """
    _show_crashes()
    _sweep(Path(folder))
    requests: SimpleQueue[Any] = SimpleQueue()
    # A thread of execnet's calls this, so that the harness's end is noticed in the middle of a request too.
    channel.setcallback(partial(_take, requests, (folder, *shared)), endmarker=_GONE)
    is_mapped = bool(shared) and all(Path(path).is_dir() for path in shared)
    try:
        lanes, table = _prepare(handlers, shared if is_mapped else ())
    except WorkerError as error:
        channel.send(("failure", error.kind, str(error), ""))
        return
    from .state import State

    state = State(partial(_log, channel), partial(_tell_share, channel), lanes[0], folder)
    channel.send(("ready", {"pid": os.getpid(), "python": sys.version.split()[0], "is_mapped": is_mapped}))
    while True:
        _answer(channel, state, lanes, table, requests.get)


def _show_crashes() -> None:
    """Have the Python stack in the log when the process dies by a signal, and no core file of a CUDA process's size."""
    faulthandler.enable(all_threads=True)
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _sweep(folder: Path) -> None:
    """Remove the folders of workers that were ended before they could do it; ``bootstrap`` names them."""
    for other in folder.parent.glob("parity-worker-*"):
        pid = other.name.split("-")[2]
        if pid.isdigit() and not _runs(int(pid)):
            shutil.rmtree(other, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs, and is another user's
    return True


def _take(requests: SimpleQueue[Any], folders: Sequence[str], item: object) -> None:
    if item is _GONE:
        _end(folders)
    requests.put(item)


def _end(folders: Sequence[str]) -> NoReturn:
    """Leave nothing behind, and end at once: TensorRT and CUDA may crash while an interpreter is taken down."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _prepare(handlers: str, shared: Sequence[str]) -> tuple[list[Exchange], dict[str, Handler]]:
    try:
        import numpy  # noqa: F401, ICN001 - asked for by name, so that its absence can be told
    except ImportError as error:
        from .errors import Unavailable

        raise Unavailable(
            f"NumPy cannot be imported in this interpreter ({error}); run: {sys.executable} -m pip install numpy"
        ) from error
    from .exchange import LANES, Exchange
    from .files import HANDLERS as FILE_HANDLERS
    from .transport import ChannelTransport, MappedTransport

    lanes = [Exchange(MappedTransport(shared) if shared else ChannelTransport()) for _ in range(LANES)]
    return lanes, {**FILE_HANDLERS, **import_module(handlers).HANDLERS}


def _log(channel: Any, severity: str, text: str) -> None:
    channel.send(("log", severity, _unicode(text)))


def _tell_share(channel: Any, done: float) -> None:
    try:
        channel.send(("share", done))
    except OSError:
        # The harness is gone and this process about to end; a library that calls this takes no exception.
        return


def _unicode(text: str) -> str:
    """Return text that execnet can carry: names that come from files need not be Unicode."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _answer(
    channel: Any, state: State, lanes: Sequence[Exchange], table: dict[str, Handler], receive: Callable[[], Any]
) -> None:
    """Take a request and answer it."""
    message = receive()
    faulthandler.dump_traceback_later(message["limit_s"] + _GRACE_S, exit=True)
    try:
        state.exchange = lanes[message["lane"]]
        request = state.exchange.read(receive, message)
        answer = _handler(table, message["operation"])(state, request)
        state.exchange.write(lambda item: channel.send(("answer", item) if isinstance(item, dict) else item), answer)
    except WorkerError as error:
        _fail(channel, error.kind, str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a library or a case's function raises is an answer
        _fail(channel, WorkerError.kind, f"{type(error).__name__}: {error}")
    finally:
        faulthandler.cancel_dump_traceback_later()


def _fail(channel: Any, kind: str, text: str) -> None:
    channel.send(("failure", kind, _unicode(text), _unicode(traceback.format_exc())))


def _handler(table: dict[str, Handler], operation: str) -> Handler:
    if operation not in table:
        raise WorkerError(f"operation {operation!r}: not known to this worker; expected one of {', '.join(table)}")
    return table[operation]
