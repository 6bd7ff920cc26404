"""TensorRT's log: its listener, and its warnings and errors sorted by what they mean for an engine."""

from __future__ import annotations

import re
from typing import Any, Callable

_MOST_TEXTS = 2000
"""Different messages kept of one build; numbers of further ones are told, not their texts."""

# The first pattern that a text contains names its kind: the narrower stand before the wider. TensorRT 8.6, 10 and 11.
_KINDS = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("weights-clamped", r"would overflow in FP16|closest finite FP16|outside the range of FLOAT was clamped"),
        (
            "subnormal-weights",
            (
                r"subnormal|smallest positive FP16|had the following issues when converted to FP16"
                r"|issues when converting weights between types|please modify the weights or retrain"
                r"|list of affected weights"
            ),
        ),
        (
            "int64-clamped",
            r"weights outside the range of INT32|INT64 weights|is out of range\. Clamping to|narrow.*INT64",
        ),
        ("missing-scales", r"Missing scale and zero-point|no scaling factors detected"),
        ("missing-dynamic-range", r"must provide dynamic range|must have dynamic range set|dynamic range should be"),
        ("calibration", r"calibrat"),
        ("timing-cache", r"timing cache"),
        (
            "tactic-skipped",
            r"skipping tactic|insufficient to use tactic|do not have sufficient workspace|Tactic Device request",
        ),
        ("memory", r"out ?of ?memory|insufficient memory|could not be allocated|GPU memory usage"),
        ("overflow-risk", r"layer ?norm\w* (nodes )?(in|after).*FP16|may cause overflow"),
        (
            "fallback",
            (
                r"fall(ing)? ?back|not supported on DLA|cannot run on DLA|obeys (the )?(requested|reformatting-free)"
                r"|requested layer computation precision and output precision types are ignored"
            ),
        ),
        ("deprecated", r"deprecated"),
        ("plugin", r"plugin"),
        ("lazy-loading", r"lazy loading"),
        ("foreign-plan", r"engine plan file across different models|compute capability"),
        ("myelin", r"myelin"),
    )
)


def classify(text: str) -> str:
    """Return the kind of a message of TensorRT, ``other`` where none is known."""
    return next((kind for kind, pattern in _KINDS if pattern.search(text)), "other")


class Messages:
    """Counts warnings and errors, each text once, and passes every line on.

    Parameters
    ----------
    log
        Takes severity and text of every line.
    """

    def __init__(self, log: Callable[[str, str], None]) -> None:
        self._log = log
        self._counts: dict[tuple[str, str], int] = {}
        self._beyond = 0

    def hear(self, severity: str, text: str) -> None:
        """Take a line: ``error``, ``warning``, ``info`` or ``verbose``."""
        self._log(severity, text)
        if severity not in {"error", "warning"}:
            return
        key = (severity, text.strip())
        if key not in self._counts and len(self._counts) >= _MOST_TEXTS:
            self._beyond += 1
            return
        self._counts[key] = self._counts.get(key, 0) + 1

    def errors(self) -> list[str]:
        """Give the different texts of errors, in the order in which they came."""
        return [text for severity, text in self._counts if severity == "error"]

    def told(self) -> list[dict[str, Any]]:
        """Give ``severity``, ``kind``, ``text`` and ``count`` of every message, in the order in which they came."""
        told = [
            {"severity": severity, "kind": classify(text), "text": text, "count": count}
            for (severity, text), count in self._counts.items()
        ]
        if self._beyond:
            text = f"{self._beyond} further messages, of more than {_MOST_TEXTS} different ones, are in the log alone"
            told.append({"severity": "warning", "kind": "other", "text": text, "count": self._beyond})
        return told


def make_logger(trt: Any, log: Callable[[str, str], None], is_verbose: bool = False) -> Any:
    """Return a ``trt.ILogger`` that tells ``log`` severity and text.

    TensorRT keeps the first logger that a process gives it and ignores later ones: make one, and change what ``log``
    does with a line.

    Parameters
    ----------
    log
        Called from TensorRT's threads; severities are ``error``, ``warning``, ``info`` and ``verbose``.
    is_verbose
        Whether ``verbose`` lines are told, tens of thousands in a build.
    """
    severity = trt.ILogger.Severity
    names = {
        severity.INTERNAL_ERROR: "error",
        severity.ERROR: "error",
        severity.WARNING: "warning",
        severity.INFO: "info",
    }
    if is_verbose:
        names[severity.VERBOSE] = "verbose"

    class Logger(trt.ILogger):  # type: ignore[misc]  # the class of whichever TensorRT is given
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            name = names.get(severity)
            if name is None:
                return
            try:
                log(name, msg)
            except Exception as error:  # noqa: BLE001 - it would cross TensorRT's frames, which end the process then
                _tell_lost_line(name, msg, error)

    return Logger()


def _tell_lost_line(name: str, text: str, error: Exception) -> None:
    """Write a line that could not be told to standard error, the last place that is left."""
    import sys

    sys.stderr.write(f"[{name}] {text} (not told: {error})\n")
