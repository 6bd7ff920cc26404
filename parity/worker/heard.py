"""What TensorRT logs while a request is answered, kept so that a failure can quote its own line."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Callable

from .logger import Messages, make_logger


class Listener:
    """The process's one logger of TensorRT, which hears for one request after the other.

    Attributes
    ----------
    heard
        The messages of the present request.
    logger
        The ``trt.ILogger``.
    """

    def __init__(self, trt: Any) -> None:
        self.heard = Messages(_drop)
        self.logger = make_logger(trt, self._hear)

    def begin(self, log: Callable[[str, str], None]) -> None:
        """Forget what was heard: what follows belongs to another request.

        Parameters
        ----------
        log
            Takes severity and text of every line.
        """
        self.heard = Messages(log)

    def quote(self) -> str:
        """Quote the errors of this request; the first names the cause, the last what was given up."""
        errors = self.heard.errors()
        shown = errors if len(errors) <= 3 else [errors[0], "…", errors[-1]]
        return "TensorRT: " + " | ".join(shown) if shown else "TensorRT logged no error"

    def _hear(self, severity: str, text: str) -> None:
        self.heard.hear(severity, text)


def _drop(_severity: str, _text: str) -> None:
    """Take a message that no request waits for."""


@lru_cache(maxsize=1)
def listener(trt: Any) -> Listener:
    """Give the process's listener: TensorRT keeps the first logger that it is given, and ignores others."""
    return Listener(trt)
