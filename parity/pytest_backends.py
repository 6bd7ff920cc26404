"""The backends of a pytest run: opened by the first item that needs them, closed when pytest ends."""

from __future__ import annotations

import os
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING

import pytest

from parity.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parity.backends import Backend
    from parity.backends.nvml import Watch
    from parity.pytest_settings import Settings
    from parity.results import Environment
    from parity.runner.baseline_latency import BaselineLatency


class SessionBackends:
    """What executes variants; one for each interpreter that has TensorRT."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = ExitStack()
        self._opened: Sequence[Backend] = ()
        self._watch: Watch | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What stands behind the @ of an item's name.

        Asking an interpreter for its TensorRT takes seconds, so a single one is not asked before an item runs.

        Raises
        ------
        BackendError
            One of several interpreters is not there, or has no TensorRT.
        """
        if self._has_several:
            return tuple(backend.name for backend in self._open())
        return (self._settings.backend,)

    @property
    def _has_several(self) -> bool:
        from parity.backends.tensorrt.interpreter import names_of_interpreters

        settings = self._settings
        return settings.backend == "tensorrt" and len(names_of_interpreters(settings.tensorrt_pythons, os.environ)) > 1

    @property
    def watch(self) -> Watch | None:
        """Who looks at the GPU while variants are timed; None where no GPU is used, or nothing is timed."""
        self._open()
        return self._watch

    def find(self, name: str) -> Backend:
        """Return the backend of an item.

        Raises
        ------
        BackendError
            It is missing.
        """
        opened = self._open()
        if len(opened) == 1 and name == self._settings.backend:
            # A single interpreter's item is called by its backend, since nobody has asked for its release.
            return opened[0]
        named = {backend.name: backend for backend in opened}
        if name not in named:
            raise BackendError(
                f"backend {name!r}: is not open; expected one of {', '.join(named)}; "
                "name its interpreter by --parity-tensorrt-python"
            )
        return named[name]

    @property
    def environment(self) -> Environment:
        """Where the backends that are open run."""
        from parity.runner.selection import environment_of

        return environment_of(self._opened)

    def _open(self) -> Sequence[Backend]:
        from parity.backends import open_backends

        if not self._opened:
            settings = self._settings
            if settings.times or settings.baseline != "off":
                from parity.backends.nvml import open_watch
                from parity.runner.watching import watched

                looking = watched((settings.backend,), settings.tensorrt(), open_watch)
                self._watch = self._stack.enter_context(looking)
            self._opened = self._stack.enter_context(open_backends((settings.backend,), settings.tensorrt()))
        return self._opened

    def latency_of(self, backend: Backend) -> BaselineLatency:
        """Return what measures latency on a backend that is open."""
        from parity.backends.nvml import Blind
        from parity.runner import RunSettings
        from parity.runner.baseline_latency import BaselineLatency
        from parity.runner.settings import LatencyProtocol

        settings = self._settings
        asked = RunSettings(
            backends=(settings.backend,),
            tensorrt=settings.tensorrt(),
            allow_python=settings.allow_python,
            judging=settings.judging(),
        )
        return BaselineLatency(
            asked,
            LatencyProtocol(),
            open_backends=lambda _names, _where: nullcontext((backend,)),
            open_watch=lambda _number, gpu: nullcontext(self._watch or Blind(gpu, "nobody looked at the GPU")),
        )

    def close(self) -> None:
        """End the workers of TensorRT."""
        self._opened = ()
        self._watch = None
        self._stack.close()


BACKENDS = pytest.StashKey[SessionBackends]()
