"""Frozen options that cases fill and that the precision and backend floors read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from parity.tolerance import Precision


class Rounding(StrEnum):
    """Where a rounded graph rounds activations."""

    FUSED = "fused"
    """After folding what TensorRT folds, at the boundaries of what it fuses."""
    EVERY_NODE = "every-node"
    """Behind every node of the graph as it stands, without folding."""


class CalibrationMethod(StrEnum):
    """How the range of an activation is read from calibration feeds."""

    MIN_MAX = "minmax"
    ENTROPY = "entropy"
    PERCENTILE = "percentile"


@dataclass(frozen=True, slots=True)
class CalibrationOptions:
    """How activations are calibrated for int8 and fp8.

    ``percentile`` (0 to 100) is read by the percentile method only.
    """

    method: CalibrationMethod = CalibrationMethod.MIN_MAX
    percentile: float = 99.99


@dataclass(frozen=True, slots=True)
class PrecisionOptions:
    """How a model is rewritten for a precision.

    Attributes
    ----------
    keep
        Nodes that stay at ``keep_precision``: node names or wildcards (``/model/23/*``), or op types (``op:Softmax``).
    io_precision
        The dtype of floating inputs and outputs: fp32 by default, else fp16 or bf16 as the variant's own.
    """

    precision: Precision
    keep: tuple[str, ...] = ()
    keep_precision: Precision = Precision.FP32
    io_precision: Precision = Precision.FP32
    rounding: Rounding = Rounding.FUSED
    calibration: CalibrationOptions = CalibrationOptions()


class Provider(StrEnum):
    """Where ONNX Runtime executes."""

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How a backend executes a model.

    Attributes
    ----------
    provider
        ONNX Runtime's execution provider; TF32 is off on CUDA.
    provider_options
        Further options of the provider, by ONNX Runtime's names; they win over this project's defaults.
    graph_optimizations
        Off by default: they fold the casts and Q/DQ pairs that a forecast lives on.
    thread_count
        Threads for one operator; 0 lets the environment variable ``PARITY_THREADS`` choose, or else the runtime.
    timeout_s
        The longest that one feed may take.
    keeps_memory
        Whether the runtime keeps memory for the next tensor and the next feed, which is faster.
    """

    provider: Provider = Provider.CPU
    provider_options: tuple[tuple[str, str], ...] = ()
    graph_optimizations: bool = False
    thread_count: int = 0
    timeout_s: float = 600.0
    keeps_memory: bool = True
