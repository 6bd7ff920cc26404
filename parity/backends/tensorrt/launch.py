"""A worker's process: started through execnet with a time limit, watched, and ended for certain."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from parity.pace import tell_share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from execnet.gateway_base import ExecModel

    from parity.backends.tensorrt.interpreter import Interpreter

_LOGGER = logging.getLogger(__name__)
_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}

_TAIL_LINES = 16
_EXECNET_FRAME = 'File "<string>", line'  # its loop, which travels as text and stands below every Python stack
_TAIL_BYTES = 8 * 2**10
_LOG_BYTES = 4 * 2**20
_LOOK_S = 0.2
_ABORT_S = 0.7  # for Python to write where it stood
_END_S = 5.0
_SSH_LOST = 255  # also where a signal ended the program over there


class ProcessGone(Exception):  # noqa: N818 - a state, told to the conversation, which words it
    """The process does not answer and never will."""


class Watchdog:
    """Ends a process when a time limit passes, so that whatever waits for it wakes up.

    One thread that looks every moment: a timer for each request would cost more than a small request does.
    """

    def __init__(self, process: WorkerProcess) -> None:
        self.has_fired = False
        self._process = process
        self._deadline = math.inf
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="parity-watchdog", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_S):
            self._process.log.trim()
            with self._lock:
                if time.monotonic() > self._deadline:
                    self.has_fired = True
                    self._process.kill()
                    return

    @contextlib.contextmanager
    def limit(self, limit_s: float) -> Iterator[None]:
        """End the process if the block takes longer, in seconds."""
        self._deadline = time.monotonic() + limit_s
        try:
            yield
        finally:
            # With the lock: a kill that has begun is finished before anybody asks how the process ended.
            with self._lock:
                self._deadline = math.inf

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()


class WorkerLog:
    """What a worker says: lines sent by its handlers, and whatever its libraries print, kept as a bounded tail.

    The file has no name, so that nothing of it can be left behind.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_TAIL_LINES)
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open as long as the worker lives
        # The worker shares this open file: after a cut it goes on at the end, not where it was.
        fcntl.fcntl(self._file, fcntl.F_SETFL, fcntl.fcntl(self._file, fcntl.F_GETFL) | os.O_APPEND)

    def fileno(self) -> int:
        """Return the file that the process prints to."""
        return self._file.fileno()

    def note(self, severity: str, text: str) -> None:
        """Keep and log a line that a handler sent."""
        _LOGGER.log(_LEVELS.get(severity, logging.DEBUG), "%s", text)
        if severity != "verbose":
            self._lines.append(f"[{severity}] {text}")

    def tail(self) -> list[str]:
        """Return the last lines: first the handlers', then the libraries'."""
        size = os.fstat(self.fileno()).st_size
        printed = os.pread(self.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode("utf-8", "replace")
        lines = [line.rstrip() for line in printed.splitlines() if line.strip() and _EXECNET_FRAME not in line]
        return [*self._lines, *lines[-_TAIL_LINES:]]

    def trim(self) -> None:
        """Begin the file anew when it has grown large."""
        if os.fstat(self.fileno()).st_size > _LOG_BYTES:
            os.ftruncate(self.fileno(), 0)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


class WorkerProcess:
    """One process and the channel to it.

    ``start`` may be called once; ``kill`` and ``end`` at any time, from any thread.
    """

    def __init__(self, interpreter: Interpreter) -> None:
        import execnet

        self.log = WorkerLog()
        self._interpreter = interpreter
        self._popen: subprocess.Popen[bytes] | None = None
        self._group = execnet.Group(execmodel=_execution_model(self._launch))  # type: ignore[arg-type]  # it takes a model too
        self._channel: Any = None
        self.watchdog = Watchdog(self)

    def start(self, fields: dict[str, Any]) -> None:
        """Start the interpreter, and the worker's first function in it with ``fields``.

        Raises
        ------
        ProcessGone
            It did not start, or ended at once; the message is the reason where there is one beside the log.
        """
        import execnet

        from parity.worker.bootstrap import start_worker

        try:
            gateway = self._group.makegateway(self._interpreter.spec)
            self._channel = gateway.remote_exec(start_worker, **fields)
        except AssertionError:
            # execnet's check of the first byte.
            words = "something else was printed first (shell start-up files must print nothing)"
            raise ProcessGone(words) from None
        except (ValueError, execnet.RemoteError) as error:
            # A setting of the spec that execnet, or the process itself, cannot apply: nice=abc.
            raise ProcessGone(str(error).strip().splitlines()[-1]) from None
        except (OSError, EOFError, execnet.HostNotFound) as error:
            # Once there is a process, its exit code and its own words say more than the pipe to it.
            raise ProcessGone("" if self._popen else str(error)) from None

    def _launch(self, words: list[str], **pipes: Any) -> subprocess.Popen[bytes]:
        # execnet asks for compression, which slows a local network tenfold; ssh_config can still ask for it.
        words = ["ssh", *words[2:]] if words[:2] == ["ssh", "-C"] else words
        # In a session of its own, Ctrl-C in the terminal is the harness's alone, and all that it starts can be ended.
        self._popen = subprocess.Popen(words, stderr=self.log.fileno(), start_new_session=True, **pipes)
        return self._popen

    def send(self, item: object) -> None:
        """Send an item.

        Raises
        ------
        ProcessGone
            The process has ended.
        """
        try:
            self._channel.send(item)
        except OSError:
            raise ProcessGone from None

    def receive(self) -> Any:
        """Wait for an item; lines for the log are taken out, as are shares of work, which whoever looks on is told.

        Raises
        ------
        ProcessGone
            The process has ended, or its loop has.
        """
        while True:
            item = self._receive()
            match item:
                case ("log", severity, text):
                    self.log.note(severity, text)
                case ("share", done):
                    tell_share(done)
                case _:
                    return item

    def _receive(self) -> Any:
        try:
            return self._channel.receive()
        except EOFError:
            raise ProcessGone from None
        except self._channel.RemoteError as error:
            raise ProcessGone(str(error).strip().splitlines()[-1]) from None

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs, as far as this machine sees."""
        return self._popen is not None and self._popen.poll() is None and self._channel.gateway.hasreceiver()

    def kill(self) -> None:
        """End the process at once, and all that it has started; before that, have it write where it stood."""
        if self._popen is None or self._popen.poll() is not None:
            return
        self._signal(signal.SIGABRT, _ABORT_S)
        # Even where the first one has ended: a wrapper's child may be stopped, and then it ends by this only.
        self._signal(signal.SIGKILL, _END_S)

    def _signal(self, number: signal.Signals, patience_s: float) -> None:
        assert self._popen is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(patience_s)

    def end(self) -> None:
        """Close the channel, wait for the process a moment, end it if need be, and give everything back."""
        self.watchdog.stop()
        self._group.terminate(timeout=_END_S)
        self.kill()
        self._close_pipes()
        self.log.close()

    def _close_pipes(self) -> None:
        # Where the interpreter never became a gateway, nobody else does.
        for pipe in (self._popen.stdin, self._popen.stdout) if self._popen else ():
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def how_it_ended(self) -> str:
        """Say how the process ended: ``died with SIGSEGV``, ``ended with exit code 1``."""
        if self._popen is None:
            return "did not start"
        try:
            code = self._popen.wait(_ABORT_S)
        except subprocess.TimeoutExpired:
            return "does not answer"
        if code == _SSH_LOST and self._channel is not None and not self._interpreter.is_local:
            return f"was killed over there, or the connection broke (exit code {code} of ssh)"
        # A shell that stands between tells a signal as 128 more.
        number = -code if code < 0 else code - 128
        with contextlib.suppress(ValueError):
            return f"died with {signal.Signals(number).name}"
        return f"ended with exit code {code}"


def _execution_model(launch: Any) -> ExecModel:
    """Return execnet's threads with another way to start a process: execnet starts it through its execution model."""
    from execnet.gateway_base import ThreadExecModel

    class Model(ThreadExecModel):
        @property
        def subprocess(self) -> SimpleNamespace:
            return SimpleNamespace(PIPE=subprocess.PIPE, Popen=launch)

    return Model()
