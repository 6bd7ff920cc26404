"""Proves that a TensorRT engine still computes what its ONNX model computes.

This module stays light, because the pytest plugin imports it on every pytest start of the environment: the public
names load their module at first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parity.assertions import assert_close, assert_detections_agree
    from parity.compare import compare_tensors
    from parity.detect.given import compare_detections
    from parity.errors import ParityError
    from parity.tolerance import Precision, Tolerance

__version__ = "0.1.0"

_HOMES = {
    "ParityError": "parity.errors",
    "Precision": "parity.tolerance",
    "Tolerance": "parity.tolerance",
    "assert_close": "parity.assertions",
    "assert_detections_agree": "parity.assertions",
    "compare_detections": "parity.detect.given",
    "compare_tensors": "parity.compare",
}

__all__ = [
    "ParityError",
    "Precision",
    "Tolerance",
    "__version__",
    "assert_close",
    "assert_detections_agree",
    "compare_detections",
    "compare_tensors",
]


def __getattr__(name: str) -> object:
    """Load a public name from its module at first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'parity' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
